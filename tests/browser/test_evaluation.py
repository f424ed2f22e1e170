"""One of our runs in FiftyOne's own Model Evaluation panel."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import fiftyone as fo
import numpy as np

from fiftyone_resclip.evaluation.evaluate import evaluate
from fiftyone_resclip.fields import masks
from fiftyone_resclip.labeling.label import label
from fiftyone_resclip.model import ResCLIPModel
from tests.browser.walk import open_dataset, open_panel, screenshot
from tests.conftest import CLASSES


def visible_plot(page: Any) -> Any:
    plots = page.locator(".js-plotly-plot:visible")
    plots.first.wait_for(timeout=20_000)
    page.wait_for_timeout(1500)
    return plots.last


def places(plot: Any, axis: str) -> dict[str, float]:
    """Returns the position of each class of an axis on the page; they are evenly spaced, the first at the left or bottom."""
    plot.scroll_into_view_if_needed()
    box = plot.locator(".nsewdrag").bounding_box()
    names = plot.locator(f".{axis}tick text").all_text_contents()
    shares = [(number + 0.5) / len(names) for number in range(len(names))]
    if axis == "x":
        return {name: box["x"] + share * box["width"] for name, share in zip(names, shares, strict=True)}
    return {name: box["y"] + (1 - share) * box["height"] for name, share in zip(names, shares, strict=True)}


def click(page: Any, x: float, y: float) -> None:
    """Clicks a point; moves the mouse there first, because plotly needs it."""
    page.mouse.move(x - 3, y - 3)
    page.wait_for_timeout(200)
    page.mouse.move(x, y)
    page.wait_for_timeout(400)
    page.mouse.click(x, y)


def wait_for_samples(page: Any, number: int) -> None:
    shown = f"() => /\\b{number} sample/.test(document.querySelector('[data-cy=\"entry-counts\"]')?.innerText || '')"
    page.wait_for_function(shown, timeout=15_000)


def pairs(dataset: fo.Dataset) -> list[set[tuple[str, str]]]:
    """Returns for each sample the pairs of true and predicted classes that occur at its pixels."""
    result = []
    for sample in dataset:
        truth, prediction = (masks.read_mask(sample[field]) for field in ("ground_truth", "resclip"))
        both = np.unique(np.stack([truth.ravel(), prediction.ravel()]), axis=1).T
        result.append({(CLASSES[true - 1], CLASSES[predicted - 1]) for true, predicted in both.tolist()})
    return result


def test_the_built_in_panel_opens_our_run(
    page: Any, server: str, make_dataset: Callable[..., fo.Dataset], fast_model: ResCLIPModel
) -> None:
    dataset = make_dataset(6)
    dataset.name = "app-builtin"
    label(dataset, fast_model, "resclip", progress=False)
    result = evaluate(dataset, "resclip", "ground_truth", "ours")
    counted = pairs(dataset)
    open_dataset(page, server, dataset.name)
    open_panel(page, "model_evaluation_panel_builtin")
    page.wait_for_timeout(2000)
    page.get_by_text("ours", exact=True).last.click()
    page.get_by_text("mIoU (%)").wait_for(timeout=120_000)
    assert re.search(rf"\b{result.miou:.2f}\b", page.inner_text("body"))
    screenshot(page, "builtin-run")

    page.get_by_text("Confusion Matrices").click()
    matrix = visible_plot(page)
    rows, columns = (places(matrix, axis) for axis in ("y", "x"))
    wrong = [(true, predicted) for true, predicted in sorted(set().union(*counted)) if true != predicted]
    shown = [p for p in wrong if p[0] in rows and p[1] in columns and sum(p in of_sample for of_sample in counted) < 6]
    true, predicted = shown[0]
    click(page, columns[predicted], rows[true])
    wait_for_samples(page, sum((true, predicted) in of_sample for of_sample in counted))
    screenshot(page, "builtin-matrix")
    page.get_by_text("Confusion Matrices").click()

    page.get_by_text("Class Performance").click()
    bars = visible_plot(page)
    name, x = next((name, x) for name, x in places(bars, "x").items() if sum(name in set().union(*c) for c in counted) < 6)
    bottom = bars.locator(".nsewdrag").bounding_box()
    click(page, x, bottom["y"] + bottom["height"] - 4)
    wait_for_samples(page, sum(any(name in pair for pair in of_sample) for of_sample in counted))
    screenshot(page, "builtin-class")
