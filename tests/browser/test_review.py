"""A user reviews masks by key and by button, in the grid and in the modal, and copies the kept ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fiftyone as fo
import pytest

from fiftyone_resclip.labeling.label import label
from fiftyone_resclip.model import ResCLIPModel
from tests.browser.walk import box_below, open_dataset, open_panel, screenshot

MakeDataset = Callable[..., fo.Dataset]
N_IMAGES = 14


@pytest.fixture
def reviewed(request: pytest.FixtureRequest, make_dataset: MakeDataset, fast_model: ResCLIPModel) -> fo.Dataset:
    """A dataset with predictions, named after the test."""
    dataset = make_dataset(N_IMAGES, sizes=((144, 192),))
    dataset.name = request.node.name.replace("_", "-")
    label(dataset, fast_model, "pred", progress=False)
    return dataset


def open_review(page: Any, server: str, dataset: fo.Dataset) -> Any:
    open_dataset(page, server, dataset.name)
    open_panel(page, "review")
    review = page.locator('[data-cy="resclip-review"]')
    review.locator("canvas").first.wait_for(timeout=120_000)
    return review


def wait_for_counts(page: Any, counts: str) -> None:
    """Waits until the server has counted all verdicts."""
    shown = "counts => document.querySelector('[data-cy=resclip-review]')?.innerText.replace(/\\s+/g, ' ').startsWith(counts)"
    page.wait_for_function(shown, arg=counts, timeout=60_000)
    page.wait_for_selector('[data-cy="resclip-review"][data-waiting="0"]', timeout=30_000)


def type_fast(page: Any, key: str) -> None:
    for _ in range(10):
        page.keyboard.press(key)
        page.wait_for_timeout(100)


def test_ten_keys_in_a_second_are_ten_verdicts(page: Any, server: str, reviewed: fo.Dataset) -> None:
    open_review(page, server, reviewed)
    wait_for_counts(page, f"0 keep 0 discard 0 fix later {N_IMAGES} open")
    screenshot(page, "review-open")
    type_fast(page, "k")
    wait_for_counts(page, f"10 keep 0 discard 0 fix later {N_IMAGES - 10} open")
    reviewed.reload()
    assert reviewed.values("pred_review") == ["keep"] * 10 + [None] * (N_IMAGES - 10)
    type_fast(page, "u")
    wait_for_counts(page, f"0 keep 0 discard 0 fix later {N_IMAGES} open")
    for key in "kdufd":
        page.keyboard.press(key)
    wait_for_counts(page, f"1 keep 1 discard 1 fix later {N_IMAGES - 3} open")
    reviewed.reload()
    assert reviewed.values("pred_review")[:4] == ["keep", "fix later", "discard", None]
    screenshot(page, "review-verdicts")


def test_keys_in_the_modal_open_the_next_samples(page: Any, server: str, reviewed: fo.Dataset) -> None:
    ids = reviewed.values("id")
    open_dataset(page, server, reviewed.name)
    page.locator('[data-cy="looker"]').nth(2).click()
    modal = page.locator('[data-cy="modal"]')
    modal.locator('[data-cy="panel-tab-review"]').click()  # the App opens it there by itself
    modal.locator(f'[data-cy="resclip-review"][data-sample="{ids[2]}"] canvas').first.wait_for(timeout=120_000)
    for key in "kd":
        page.keyboard.press(key)
        page.wait_for_timeout(100)
    wait_for_counts(page, f"1 keep 1 discard 0 fix later {N_IMAGES - 2} open")
    modal.locator(f'[data-cy="resclip-review"][data-sample="{ids[4]}"]').wait_for(timeout=30_000)
    page.wait_for_function("id => document.querySelector('[data-cy=modal]').innerText.includes(id)", arg=ids[4], timeout=30_000)
    page.wait_for_timeout(2000)
    screenshot(page, "review-modal")
    reviewed.reload()
    assert reviewed.values("pred_review")[:5] == [None, None, "keep", "discard", None]


def test_only_kept_masks_are_copied(page: Any, server: str, reviewed: fo.Dataset) -> None:
    review = open_review(page, server, reviewed)
    for action in ("keep", "discard", "keep", "undo", "fix later"):
        review.get_by_role("button", name=action).click()
    wait_for_counts(page, f"1 keep 1 discard 1 fix later {N_IMAGES - 3} open")
    page.get_by_role("button", name="Copy kept labels").click()
    form = page.locator('[data-cy="operators-prompt-modal"]')
    form.wait_for(timeout=30_000)
    page.wait_for_selector("text=Kept labels: 1", timeout=30_000)
    box_below(form, "To field").fill("gold")
    page.wait_for_timeout(1500)
    form.get_by_role("button", name="Execute").click()
    page.wait_for_selector("text=/1 kept labels are now in 'gold'/", timeout=30_000)
    reviewed.reload()
    assert reviewed.values("pred_review") == ["keep", "discard", "fix later"] + [None] * (N_IMAGES - 3)
    assert [copy is not None for copy in reviewed.values("gold")] == [True] + [False] * (N_IMAGES - 1)
    assert (reviewed.first().gold.mask == reviewed.first().pred.mask).all()
    page.wait_for_timeout(2000)
    screenshot(page, "review-copied")
