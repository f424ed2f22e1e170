"""A user opens a dataset in the App, types words, sees masks and stops a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import fiftyone as fo
import numpy as np
from PIL import ImageColor

from fiftyone_resclip.fields.colour_scheme import colours_of
from tests.browser.walk import advanced, box_below, choose, mean_colour, open_dataset, open_form, run_form, screenshot, type_words

WORDS = ("red cloth", "blue cloth", "ground: snow, gravel, asphalt")
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
    screenshot(page, "segment-empty-form")
    type_words(page, form, *WORDS)
    page.wait_for_selector(
        "text=/3 images → 'resclip'; replaces nothing; by resclip-tiny, .*; 3 classes in 5 phrases/", timeout=240_000
    )
    screenshot(page, "segment-form")
    advanced(page, form)
    choose(page, form, "full: RCS and SFR", "fast: RCS alone")
    form.get_by_text("Estimate the time").click()
    page.wait_for_selector("text=/3 classes in 5 phrases; About .* s on /", timeout=240_000)
    screenshot(page, "segment-advanced")
    run_form(page, form)
    form.wait_for(state="detached", timeout=240_000)
    page.wait_for_selector("text=/3 of 3 images labelled/", timeout=240_000)
    dataset.reload()
    assert dataset.mask_targets["resclip"] == {1: "red cloth", 2: "blue cloth", 3: "ground"}
    values = [np.unique(sample.resclip.mask) for sample in dataset]
    assert len(values) == 3 and all(set(v) <= {1, 2, 3} for v in values)
    page.wait_for_timeout(3000)
    screenshot(page, "segment-masks")
    value = Counter(dataset.first().resclip.mask.ravel().tolist()).most_common(1)[0][0]
    painted = np.array(ImageColor.getrgb(colours_of(dataset, "resclip")[dataset.mask_targets["resclip"][value]]))
    assert np.abs(mean_colour(first) - painted).sum() < np.abs(bare - painted).sum() - 50


def test_stopping_in_the_middle_keeps_what_is_done(page: Any, server: str, make_dataset: Callable[..., fo.Dataset]) -> None:
    dataset = make_dataset(60, sizes=((288, 384),))
    dataset.name = "app-stop"
    open_dataset(page, server, dataset.name)
    form = open_form(page, SEGMENT)
    type_words(page, form, *WORDS)
    run_form(page, form)
    page.wait_for_selector("text=/ of 60 images, .* per second, about/", timeout=240_000)
    screenshot(page, "segment-progress")
    page.get_by_role("button", name="Stop and keep what is done").click()
    page.wait_for_selector("text=/stopped. .* of 60 images labelled/", timeout=240_000)
    screenshot(page, "segment-stopped")
    dataset.reload()
    done = dataset.exists("resclip")
    assert 0 < len(done) < 60
    assert all(sample.resclip.mask.shape == (288, 384) for sample in done)


def test_a_mistake_is_shown_beside_its_input_before_it_runs(
    page: Any, server: str, make_dataset: Callable[..., fo.Dataset]
) -> None:
    dataset = make_dataset(2)
    dataset.name = "app-mistake"
    page.set_viewport_size({"width": 1600, "height": 1000})
    open_dataset(page, server, dataset.name)
    page.get_by_text("format_paint", exact=True).first.click()  # the button's icon is a ligature
    form = page.locator('[data-cy="operators-prompt-modal"]')
    form.wait_for(timeout=240_000)
    type_words(page, form, "road", "Road")
    page.wait_for_selector("text=/CLIP ignores capitals/", timeout=240_000)
    button = form.locator("button", has_text="Segment")
    button.and_(page.locator(":disabled")).wait_for(timeout=60_000)  # the App disables it a moment after it shows the message
    assert button.is_disabled()
    screenshot(page, "segment-mistake")
    form.get_by_placeholder("Type and press enter to add a value").press("Backspace")
    button.and_(page.locator(":enabled")).wait_for(timeout=240_000)
    advanced(page, form)
    box_below(form, "Field for the masks").fill("a.b")
    page.wait_for_selector("text=/the name of a field can't .* but got 'a.b'/", timeout=240_000)
    box_below(form, "Field for the masks").fill("ground_truth")
    form.get_by_text("replace their masks").click()
    page.wait_for_selector("text=/This replaces 2 masks of 'ground_truth'/", timeout=240_000)
    screenshot(page, "segment-replaces")
    assert button.is_disabled()
    box_below(form, "Type the name of the field to replace them").fill("ground_truth")
    button.and_(page.locator(":enabled")).wait_for(timeout=240_000)
    page.get_by_role("button", name="Cancel").click()
    dataset.reload()
    assert all(sample.ground_truth.mask_path for sample in dataset)
