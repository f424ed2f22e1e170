"""A user opens a dataset in the App, types words and sees masks."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from typing import Any

import fiftyone as fo
import numpy as np
from PIL import Image, ImageColor

from fiftyone_resclip import masks
from tests.browser.conftest import ARTEFACTS

WORDS = "red cloth, blue cloth\nground: snow, gravel, asphalt"


def open_dataset(page: Any, address: str, name: str) -> None:
    from playwright.sync_api import TimeoutError as Late

    for _ in range(4):  # a cold server can hang on its splash screen
        page.goto(f"{address}/datasets/{name}", wait_until="domcontentloaded")
        try:
            page.wait_for_selector('[data-cy="looker"]', timeout=20_000)
            return
        except Late:
            continue
    raise AssertionError("the App never showed the dataset")


def open_form(page: Any) -> Any:
    page.keyboard.press("`")
    page.locator('input[placeholder*="operation" i]').first.fill("ResCLIP: segment")
    page.keyboard.press("Enter")
    form = page.locator('[data-cy="operators-prompt-modal"]')
    form.wait_for(timeout=30_000)
    return form


def screenshot(page: Any, name: str) -> None:
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=str(ARTEFACTS / f"{name}.png"))


def mean_colour(page: Any) -> np.ndarray:
    """The mean colour of the first picture of the grid, as the App draws it."""
    shot = page.locator('[data-cy="looker"]').first.screenshot()
    with Image.open(io.BytesIO(shot)) as image:
        return np.asarray(image.convert("RGB")).reshape(-1, 3).mean(axis=0)


def test_words_become_masks_in_the_app(page: Any, server: str, make_dataset: Callable[..., fo.Dataset]) -> None:
    dataset = make_dataset(3, sizes=((160, 208),))
    dataset.name = "app-segment"
    dataset.delete_sample_field("ground_truth")
    open_dataset(page, server, dataset.name)
    page.wait_for_timeout(2000)
    bare = mean_colour(page)
    form = open_form(page)
    form.locator("textarea").first.fill(WORDS)
    form.get_by_text("resclip-vit-b-16").first.click()
    page.get_by_role("option", name="resclip-tiny").click()
    page.wait_for_timeout(1500)  # the form is resolved anew after each change
    screenshot(page, "segment-form")
    form.get_by_role("button", name="Execute").click()
    form.wait_for(state="detached", timeout=30_000)
    page.wait_for_selector("text=/3 of 3 images labelled/", timeout=90_000)
    dataset.reload()
    assert dataset.mask_targets["resclip"] == {1: "red cloth", 2: "blue cloth", 3: "ground"}
    values = [np.unique(sample.resclip.mask) for sample in dataset]
    assert len(values) == 3 and all(set(v) <= {1, 2, 3} for v in values)
    page.get_by_role("button", name="Done").click()
    page.wait_for_timeout(3000)
    screenshot(page, "segment-masks")
    value = Counter(dataset.first().resclip.mask.ravel().tolist()).most_common(1)[0][0]
    painted = np.array(ImageColor.getrgb(masks.colours(3)[value - 1]))
    assert np.abs(mean_colour(page) - painted).sum() < np.abs(bare - painted).sum() - 50


def test_a_mistake_is_shown_before_it_runs(page: Any, server: str, make_dataset: Callable[..., fo.Dataset]) -> None:
    dataset = make_dataset(1)
    dataset.name = "app-mistake"
    open_dataset(page, server, dataset.name)
    form = open_form(page)
    form.locator("textarea").first.fill("road, road")
    page.wait_for_selector("text=/'road' is there twice; remove one/", timeout=20_000)
    screenshot(page, "segment-mistake")
