"""A user opens a dataset in the App, types words, sees masks and stops a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import fiftyone as fo
import numpy as np
from PIL import ImageColor

from fiftyone_resclip.fields.colours import palette
from tests.browser.walk import choose, mean_colour, open_dataset, open_form, screenshot

WORDS = "red cloth, blue cloth\nground: snow, gravel, asphalt"
SEGMENT = "ResCLIP: segment"


def test_words_become_masks_in_the_app(page: Any, server: str, make_dataset: Callable[..., fo.Dataset]) -> None:
    dataset = make_dataset(3, sizes=((160, 208),))
    dataset.name = "app-segment"
    dataset.delete_sample_field("ground_truth")
    open_dataset(page, server, dataset.name)
    page.wait_for_timeout(2000)
    first = page.locator('[data-cy="looker"]').first
    bare = mean_colour(first)
    form = open_form(page, SEGMENT)
    form.locator("textarea").first.fill(WORDS)
    choose(page, form, "resclip-vit-b-16 (will be downloaded when it runs)", "resclip-tiny (ready)")
    choose(page, form, "full: RCS and SFR", "fast: RCS alone")
    form.get_by_text("Estimate the time").click()
    page.wait_for_selector(
        "text=/3 images will be labelled into 'resclip'. 3 classes, 5 phrases. About .* s on /", timeout=60_000
    )
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
    painted = np.array(ImageColor.getrgb(palette(3)[value - 1]))
    assert np.abs(mean_colour(first) - painted).sum() < np.abs(bare - painted).sum() - 50


def test_stopping_in_the_middle_keeps_what_is_done(page: Any, server: str, make_dataset: Callable[..., fo.Dataset]) -> None:
    dataset = make_dataset(60, sizes=((288, 384),))
    dataset.name = "app-stop"
    open_dataset(page, server, dataset.name)
    form = open_form(page, SEGMENT)
    form.locator("textarea").first.fill(WORDS)
    choose(page, form, "resclip-vit-b-16", "resclip-tiny")
    page.wait_for_timeout(1500)  # the form is resolved again after each change
    form.get_by_role("button", name="Execute").click()
    page.wait_for_selector("text=/ of 60 images, .* per second, about/", timeout=90_000)
    screenshot(page, "segment-progress")
    page.get_by_role("button", name="Stop and keep what is done").click()
    page.wait_for_selector("text=/Stopped: .* of 60 images labelled/", timeout=60_000)
    screenshot(page, "segment-stopped")
    dataset.reload()
    done = dataset.exists("resclip")
    assert 0 < len(done) < 60
    assert all(sample.resclip.mask.shape == (288, 384) for sample in done)


def test_a_mistake_is_shown_before_it_runs(page: Any, server: str, make_dataset: Callable[..., fo.Dataset]) -> None:
    dataset = make_dataset(1)
    dataset.name = "app-mistake"
    open_dataset(page, server, dataset.name)
    form = open_form(page, SEGMENT)
    form.locator("textarea").first.fill("road, road")
    page.wait_for_selector("text=/'road' is there twice; remove one/", timeout=20_000)
    screenshot(page, "segment-mistake")
