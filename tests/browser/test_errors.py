"""A user evaluates in the App, clicks a confusion and sees its images, worst first, with those pixels drawn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
from PIL import Image

from fiftyone_resclip.evaluation.evaluate import evaluate
from fiftyone_resclip.fields import masks, schema
from fiftyone_resclip.labeling.label import label
from fiftyone_resclip.model import ResCLIPModel
from tests.browser.walk import click_plot, open_dataset, open_form, open_panel, screenshot
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
    form.get_by_text("classes in both").wait_for(timeout=20_000)
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
    matrix = page.locator(".js-plotly-plot").first
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


N_CLASSES, N_IMAGES, SIDE_PX = 150, 24, 120
LOST, TAKER = "river", "road"


def make_150_classes(folder: Path) -> fo.Dataset:
    """Makes images of fifteen stripes, each a class. A tenth of the pixels is confused at random; most of a river is road."""
    rng = np.random.default_rng(15)
    names = [LOST, TAKER, *(f"class {number:03d}" for number in range(3, N_CLASSES + 1))]
    dataset = fo.Dataset()
    for field in ("ground_truth", "resclip"):
        schema.declare_field(dataset, field, dict(enumerate(names, start=1)))
    for index in range(N_IMAGES):
        stripes = np.repeat(rng.permutation(N_CLASSES)[:15] + 1, SIDE_PX // 15)
        stripes[: SIDE_PX // 5] = 1 + (index % 2)
        truth = np.repeat(stripes[None], SIDE_PX, axis=0).astype(np.uint8)
        wrong = rng.random(truth.shape) < 0.1
        prediction = np.where(wrong, rng.integers(1, N_CLASSES + 1, truth.shape), truth).astype(np.uint8)
        prediction[(truth == 1) & (rng.random(truth.shape) < 0.7)] = 2
        path = folder / f"{index:02d}.png"
        Image.fromarray(np.stack([truth, 255 - truth, 80 + truth // 2], axis=-1)).save(path)
        labels = {"ground_truth": fo.Segmentation(mask=truth), "resclip": fo.Segmentation(mask=prediction)}
        dataset.add_sample(fo.Sample(str(path), **labels))
    return dataset


def test_among_150_classes_the_worst_confusion_is_named_at_a_glance(page: Any, server: str, tmp_path: Path) -> None:
    dataset = make_150_classes(tmp_path)
    dataset.name = "app-errors-150"
    results = evaluate(dataset, "resclip", "ground_truth", "many", progress=False)
    open_dataset(page, server, dataset.name)
    page.set_viewport_size({"width": 1600, "height": 1000})
    open_panel(page, "error_explorer")
    row = page.locator("table tbody tr").first
    row.wait_for(timeout=120_000)
    assert row.locator("td").all_inner_texts()[:2] == [LOST, TAKER]
    page.get_by_text("The 30 classes of 150 that are confused the most").wait_for(timeout=60_000)
    page.wait_for_timeout(3000)
    screenshot(page, "errors-150")
    matrix = page.locator(".js-plotly-plot").first
    matrix.scroll_into_view_if_needed()
    matrix.hover()
    page.wait_for_timeout(1500)
    screenshot(page, "errors-150-matrix")
    thumbnails = page.locator('img[alt*="wrong pixels"]')
    thumbnails.first.scroll_into_view_if_needed(timeout=60_000)
    page.wait_for_timeout(1500)
    screenshot(page, "errors-150-below")
    assert thumbnails.count() == 6
    sample, pixels = results.images_wrong_on(LOST)[0]
    assert thumbnails.first.get_attribute("alt") == f"{pixels:,} wrong pixels"
    thumbnails.first.click()
    page.wait_for_function(f"() => document.querySelector('[data-cy=modal]')?.innerText.includes('{sample}')", timeout=60_000)
    dataset.delete()
