"""Steps in the App that several tests share."""

from __future__ import annotations

import io
import re
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.browser.conftest import ARTEFACTS


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


def run_operator(page: Any, label: str) -> None:
    """Runs an operator from the operator browser, by keyboard."""
    page.keyboard.press("`")
    page.locator('input[placeholder*="operation" i]').first.fill(label)
    page.keyboard.press("Enter")


def open_form(page: Any, label: str) -> Any:
    run_operator(page, label)
    form = page.locator('[data-cy="operators-prompt-modal"]')
    form.wait_for(timeout=120_000)  # a cold server needs time to load torch
    return form


def choose(page: Any, form: Any, shown: str, wanted: str) -> None:
    """Selects another option in the drop-down of a form that shows a text."""
    form.get_by_text(shown).first.click()
    page.get_by_role("option", name=wanted).click()


def box_below(part: Any, label: str) -> Any:
    """Returns the input that follows a label."""
    return part.get_by_text(label).locator("xpath=following::input[1]")


def screenshot(page: Any, name: str) -> None:
    page.screenshot(path=str(ARTEFACTS / f"{name}.png"))


def mean_colour(element: Any) -> NDArray[np.float64]:
    """Returns the mean colour of a part of the page, as drawn."""
    return np.asarray(picture_of(element)).reshape(-1, 3).mean(axis=0)


def picture_of(element: Any) -> Image.Image:
    """Returns a part of the page as drawn; tries again if the App replaces the part meanwhile."""
    from playwright.sync_api import Error

    for attempt in range(5):
        try:
            with Image.open(io.BytesIO(element.screenshot())) as image:
                return image.convert("RGB")
        except Error:
            if attempt == 4:
                raise
            element.page.wait_for_timeout(1000)
    raise AssertionError


def open_panel(page: Any, name: str) -> None:
    page.locator('[data-cy="new-panel-btn"]').first.click()
    page.locator(f'[data-cy="new-panel-option-{name}"]').click()


def click_plot(page: Any, plot: Any, across: float, down: float) -> None:
    """Clicks a plotly figure at a point given as shares of its width and height."""
    box = plot.locator(".nsewdrag").first.bounding_box()
    x, y = box["x"] + across * box["width"], box["y"] + down * box["height"]
    page.mouse.move(x - 5, y - 5)
    page.wait_for_timeout(200)
    page.mouse.move(x, y)
    page.wait_for_timeout(400)
    page.mouse.click(x, y)


def type_words(page: Any, form: Any, *words: str) -> None:
    """Types classes into the form of *Segment*, one chip each."""
    from playwright.sync_api import TimeoutError as Late

    box = form.get_by_placeholder("Type and press enter to add a value")
    for word in words:
        for _ in range(5):  # a form that is resolved again just now forgets what was typed
            box.fill(word)
            page.keyboard.press("Enter")
            with suppress(Late):
                form.locator(".MuiChip-label", has_text=re.compile(f"^{re.escape(word)}$")).wait_for(timeout=15_000)
                break


def advanced(page: Any, form: Any) -> None:
    """Opens what is below *Advanced*."""
    form.get_by_text("Advanced: model").click()
    form.get_by_text("Field for the masks").wait_for(timeout=30_000)


def run_form(page: Any, form: Any) -> None:
    """Waits until the form accepts its values, and runs it."""
    button = form.locator("button", has_text=re.compile("^(Execute|Segment)$"))
    button.and_(page.locator(":enabled")).click(timeout=240_000)
