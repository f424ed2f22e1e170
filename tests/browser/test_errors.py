"""A user evaluates in the App, clicks a confusion and sees its images, worst first, with those pixels drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fiftyone as fo

from fiftyone_resclip.fields import masks
from fiftyone_resclip.labeling.label import label
from fiftyone_resclip.model import ResCLIPModel
from tests.browser.walk import click_plot, open_dataset, open_form, screenshot
from tests.conftest import CLASSES


def counted(dataset: fo.Dataset) -> dict[tuple[int, int], list[tuple[int, str]]]:
    """Counts, from the masks alone, the pixels of each pair of different values by sample, most first (as negative numbers)."""
    pairs: dict[tuple[int, int], list[tuple[int, str]]] = {}
    for sample in dataset:
        truth, prediction = (masks.read_mask(sample[field]) for field in ("ground_truth", "resclip"))
        for true in range(1, len(CLASSES) + 1):
            for predicted in range(1, len(CLASSES) + 1):
                pixels = int(((truth == true) & (prediction == predicted)).sum())
                if pixels and true != predicted:
                    pairs.setdefault((true, predicted), []).append((-pixels, sample.id))
    return {pair: sorted(samples) for pair, samples in pairs.items()}


def test_a_confusion_leads_to_its_images(
    page: Any, server: str, make_dataset: Callable[..., fo.Dataset], fast_model: ResCLIPModel
) -> None:
    dataset = make_dataset(6, sizes=((160, 208), (160, 160)))
    dataset.name = "app-errors"
    label(dataset, fast_model, "resclip", progress=False)
    open_dataset(page, server, dataset.name)
    form = open_form(page, "ResCLIP: evaluate")
    form.get_by_text("classes match by name").wait_for(timeout=20_000)
    screenshot(page, "evaluate-form")
    form.locator('input[type="string"]').last.fill("mine")
    page.wait_for_timeout(1500)
    form.get_by_role("button", name="Execute").click()
    page.get_by_text("frequency-weighted IoU").wait_for(timeout=60_000)
    page.wait_for_timeout(2500)
    screenshot(page, "errors-panel")
    dataset.reload()
    assert dataset.has_evaluation("mine")

    pairs = counted(dataset)
    (true, predicted), images = next((pair, s) for pair, s in sorted(pairs.items()) if 2 <= len(s) < len(dataset))
    matrix = page.locator(".js-plotly-plot").last
    matrix.scroll_into_view_if_needed()
    page.wait_for_timeout(1000)
    click_plot(page, matrix, (predicted - 0.5) / (len(CLASSES) + 1), (true - 0.5) / len(CLASSES))
    shown = f"() => /\\b{len(images)} samples?\\b/.test(document.querySelector('[data-cy=\"entry-counts\"]')?.innerText || '')"
    page.wait_for_function(shown, timeout=30_000)
    page.wait_for_timeout(3000)
    screenshot(page, "errors-cell")
    dataset.reload()
    assert dataset.mask_targets["mine_errors"] == {1: f"{CLASSES[true - 1]} taken for {CLASSES[predicted - 1]}"}
    for pixels, sample in images:
        assert int((masks.read_mask(dataset[sample]["mine_errors"]) == 1).sum()) == -pixels

    page.locator('[data-cy="looker"]').first.click()
    for _, sample in images:  # one after the other, in the order of their counts
        page.wait_for_function(f"() => document.querySelector('[data-cy=modal]').innerText.includes('{sample}')", timeout=15_000)
        screenshot(page, "errors-sample")
        page.keyboard.press("ArrowRight")
