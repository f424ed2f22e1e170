"""A user tries words on an image and opens Segment with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fiftyone as fo
import numpy as np

from tests.browser.walk import click_plot, mean_colour, open_dataset, open_panel, screenshot
from tests.conftest import CLASSES


def test_words_change_the_mask_and_reach_segment(page: Any, server: str, make_dataset: Callable[..., fo.Dataset]) -> None:
    dataset = make_dataset(3, sizes=((144, 192),))
    dataset.name = "app-playground"
    open_dataset(page, server, dataset.name)
    open_panel(page, "playground")
    words = page.locator("textarea").first
    words.wait_for(timeout=30_000)
    words.fill("cloth\nground: snow, gravel, asphalt")
    picture = page.locator(".js-plotly-plot").first
    picture.wait_for(timeout=60_000)
    page.wait_for_timeout(2500)
    screenshot(page, "playground-words")
    before = mean_colour(picture)
    words.fill(f"{', '.join(CLASSES[:6])}\nground: {', '.join(CLASSES[6:])}")
    page.wait_for_timeout(4000)
    screenshot(page, "playground-other-words")
    assert np.abs(mean_colour(picture) - before).sum() > 10
    page.set_viewport_size({"width": 1500, "height": 1520})
    click_plot(page, picture, 0.55, 0.5)
    page.wait_for_selector("text=SFR: first segmentation", timeout=30_000)
    page.wait_for_timeout(1500)
    screenshot(page, "playground-attention")
    page.get_by_role("button", name="Apply to view").click()
    form = page.locator('[data-cy="operators-prompt-modal"]')
    form.wait_for(timeout=30_000)
    assert "green cloth" in form.locator("textarea").first.input_value()
    screenshot(page, "playground-apply")
