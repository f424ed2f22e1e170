"""FiftyOne's own text search, filters and sorting, with what our model and its labelling give them."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import fiftyone as fo
import fiftyone.brain as fob
import numpy as np
from PIL import Image

from fiftyone_resclip.labeling.summarizing import summarize
from fiftyone_resclip.tiny.scenes import COLOURS
from tests.browser.walk import open_dataset, screenshot
from tests.conftest import CLASSES


def share_of(colour: str, tile: Any) -> float:
    """Returns the share of a tile's pixels that have the hue of a cloth."""
    with Image.open(io.BytesIO(tile.screenshot())) as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3).astype(int)
    return float((np.abs(pixels - np.array(COLOURS[colour])).sum(axis=1) < 90).mean())


def test_fiftyones_text_search_finds_scenes_by_words(page: Any, server: str, make_dataset: Callable[..., fo.Dataset]) -> None:
    dataset = make_dataset(12)
    dataset.name = "app-search"
    fob.compute_similarity(
        dataset, model="resclip-tiny", model_kwargs={"classes": ["cloth"]}, brain_key="by_words", backend="sklearn"
    )
    green = CLASSES.index("green cloth") + 1
    found = dataset.sort_by_similarity("green cloth", brain_key="by_words")
    has_it = [green in sample.ground_truth.get_mask() for sample in found]
    assert has_it[0] and 1 < sum(has_it) < 6 and not any(has_it[6:])  # found by its words, and not in the dataset's order
    open_dataset(page, server, dataset.name)
    page.wait_for_timeout(3000)
    tiles = page.locator('[data-cy="looker"]')
    assert share_of("green", tiles.first) < 0.01
    page.locator('svg[data-testid="SearchIcon"]').first.click()
    page.get_by_text("Type anything!").or_(page.get_by_placeholder("Type anything!")).first.click()
    page.keyboard.type("green cloth")
    page.keyboard.press("Enter")
    page.get_by_text("12 results").first.wait_for(timeout=50_000)
    # The list around the button says aria-disabled, because its rows can't be sorted.
    page.locator('button[aria-label="Show results"]:enabled').click(force=True)
    page.wait_for_timeout(6000)
    screenshot(page, "search")
    shares = [share_of("green", tiles.nth(place)) for place in range(12)]
    assert [share > 0.02 for share in shares] == has_it


def test_the_sidebar_filters_by_class_and_the_grid_sorts_by_share(
    page: Any, server: str, make_dataset: Callable[..., fo.Dataset]
) -> None:
    dataset = make_dataset(12)
    dataset.name = "app-shares"
    summarize(dataset, "ground_truth")
    shares = {
        sample.id: listed.share
        for sample in dataset
        for listed in sample.ground_truth_classes.classifications
        if listed.label == "orange cloth"
    }
    assert 3 < len(shares) < 12
    open_dataset(page, server, dataset.name)
    page.locator('[data-cy="sidebar-field-arrow-enabled-ground_truth_classes"]').click()
    labels = page.locator('[data-cy="categorical-filter-ground_truth_classes.classifications.label"]')
    labels.get_by_placeholder("+ filter by label").fill("orange cloth")
    page.locator('[data-cy^="selector-results-container"]').get_by_text("orange cloth").click()
    page.get_by_text(f"{len(shares)} samples").or_(page.get_by_text(f"{len(shares)} of 12 samples")).first.wait_for(
        timeout=50_000
    )
    screenshot(page, "shares-filtered")
    page.locator('[data-cy="selector-Sort by"]').click()
    page.locator('[data-cy="selector-result-ground_truth_classes.classifications.share"]').click()
    page.wait_for_timeout(4000)
    tiles = page.locator('[data-cy="looker"]')
    rising = [share_of("orange", tiles.nth(place)) for place in range(len(shares))]
    screenshot(page, "shares-rising")
    page.get_by_title("Ascending").first.click()
    page.wait_for_timeout(4000)
    falling = [share_of("orange", tiles.nth(place)) for place in range(len(shares))]
    screenshot(page, "shares-falling")
    assert rising[0] < rising[-1] and falling[0] > falling[-1]
