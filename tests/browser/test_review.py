"""A user reviews masks by key and by button, and copies the kept ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fiftyone as fo

from fiftyone_resclip.labeling.label import label
from fiftyone_resclip.model import ResCLIPModel
from tests.browser.walk import box_below, open_dataset, open_panel, screenshot


def test_only_kept_masks_are_copied(
    page: Any, server: str, make_dataset: Callable[..., fo.Dataset], fast_model: ResCLIPModel
) -> None:
    dataset = make_dataset(5, sizes=((144, 192),))
    dataset.name = "app-review"
    label(dataset, fast_model, "pred", progress=False)
    dataset.delete_sample_field("ground_truth")
    open_dataset(page, server, dataset.name)
    open_panel(page, "review")
    key = box_below(page, "Type here: k keep")
    page.wait_for_selector("text=/5 open/", timeout=30_000)
    page.locator(".js-plotly-plot").first.wait_for(timeout=30_000)
    screenshot(page, "review-open")
    key.focus()
    page.keyboard.press("k")
    page.wait_for_selector("text=/1 keep.*4 open/", timeout=30_000)
    page.keyboard.press("d")
    page.wait_for_selector("text=/1 keep.*1 discard.*3 open/", timeout=30_000)
    page.get_by_role("button", name="fix later").click()
    page.wait_for_selector("text=/1 fix later.*2 open/", timeout=30_000)
    page.get_by_role("button", name="keep", exact=True).click()
    page.wait_for_selector("text=/2 keep.*1 open/", timeout=30_000)
    page.get_by_role("button", name="undo").click()
    page.wait_for_selector("text=/1 keep.*2 open/", timeout=30_000)
    screenshot(page, "review-verdicts")
    page.get_by_role("button", name="Copy kept labels").click()
    form = page.locator('[data-cy="operators-prompt-modal"]')
    form.wait_for(timeout=30_000)
    page.wait_for_selector("text=Kept labels: 1", timeout=30_000)
    box_below(form, "To field").fill("gold")
    page.wait_for_timeout(1500)
    form.get_by_role("button", name="Execute").click()
    page.wait_for_selector("text=/1 kept labels are now in 'gold'/", timeout=30_000)
    dataset.reload()
    assert dataset.values("pred_review") == ["keep", "discard", "fix later", None, None]
    assert [copy is not None for copy in dataset.values("gold")] == [True, False, False, False, False]
    assert (dataset.first().gold.mask == dataset.first().pred.mask).all()
    page.wait_for_timeout(2000)
    screenshot(page, "review-copied")
