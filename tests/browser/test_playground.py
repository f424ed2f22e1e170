"""A user tries words on an image, looks at other images, clicks a patch and opens Segment with the words."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ImageColor

from fiftyone_resclip.fields import masks
from fiftyone_resclip.labeling.label import label
from fiftyone_resclip.model import load_model
from tests.browser.walk import choose, open_dataset, open_panel, screenshot
from tests.conftest import CLASSES

#: The mask as the browser painted it, a pixel of the canvas for each pixel of the image.
PAINTED = """() => {
  const canvas = document.querySelector('[data-cy="resclip-words"] canvas');
  const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  return [canvas.height, canvas.width, Array.from(new Uint32Array(data.buffer), value => value & 0xffffff)];
}"""


#: How long the panel waits for another letter.
PAUSE_MS = 400


def painted(page: Any) -> NDArray[np.int64]:
    height, width, colours = page.evaluate(PAINTED)
    return np.array(colours).reshape(height, width)


def expected(dataset: fo.Dataset, classes: list[str], field: str) -> NDArray[np.int64]:
    """Labels the first image and paints the mask in the colours of its field."""
    label(dataset.limit(1), load_model("resclip-tiny", classes, sfr=None, device="cpu"), field, progress=False)
    (scheme,) = (entry for entry in dataset.app_config.color_scheme.fields if entry["path"] == field)
    table = np.zeros(len(classes) + 1, int)
    for entry in scheme["maskTargetsColors"]:
        red, green, blue = ImageColor.getrgb(entry["color"])
        table[entry["intTarget"]] = red | green << 8 | blue << 16
    return table[masks.read_mask(dataset.first()[field])]


@pytest.fixture
def readings(page: Any) -> list[dict[str, Any]]:
    """The words that the page asked masks for."""
    asked: list[dict[str, Any]] = []

    def listen(request: Any) -> None:
        if request.url.endswith("/operators/execute"):
            params = json.loads(request.post_data)["params"]
            if params.get("__method__") == "on_read":
                asked.append(params)

    page.on("request", listen)
    return asked


def wait_until_read(page: Any) -> Any:
    panel = page.locator('[data-cy="resclip-words"][data-waiting="false"]')
    panel.wait_for(timeout=120_000)
    return panel


def test_fast_typing_asks_for_few_masks_and_the_last_is_right(
    page: Any, server: str, make_dataset: Callable[..., fo.Dataset], readings: list[dict[str, Any]]
) -> None:
    dataset = make_dataset(3, sizes=((300, 400),))
    dataset.name = "app-words"
    open_dataset(page, server, dataset.name)
    open_panel(page, "playground")
    words = page.locator("textarea").first
    words.wait_for(timeout=180_000)
    choose(page, page, "full: RCS and SFR", "fast: RCS alone")
    words.fill("gravel")
    page.locator('[data-cy="resclip-shares"]').wait_for(timeout=120_000)
    wait_until_read(page)
    words.press("End")
    readings.clear()
    page.evaluate("() => { window.typed = []; addEventListener('keydown', () => typed.push(performance.now()), true); }")
    page.keyboard.type(", yellow cloth", delay=80)
    page.wait_for_function(
        "() => document.querySelector('[data-cy=resclip-shares]').innerText.includes('yellow cloth')", timeout=180_000
    )
    wait_until_read(page)
    pauses = int((np.diff(page.evaluate("() => window.typed")) > PAUSE_MS / 2).sum())  # a busy machine types with pauses
    assert len([asked for asked in readings if asked["form"]["classes"] != "gravel"]) <= max(3, 1 + pauses)
    assert readings[-1]["form"]["classes"] == "gravel, yellow cloth"
    assert np.array_equal(painted(page), expected(dataset, ["gravel", "yellow cloth"], "right"))
    screenshot(page, "playground-typed")


def test_images_patches_and_words_reach_their_places(
    page: Any, server: str, make_dataset: Callable[..., fo.Dataset], readings: list[dict[str, Any]]
) -> None:
    dataset = make_dataset(3, sizes=((300, 400),))
    dataset.name = "app-playground"
    ids = dataset.values("id")
    page.set_viewport_size({"width": 1600, "height": 1000})
    open_dataset(page, server, dataset.name)
    open_panel(page, "playground")
    words = page.locator("textarea").first
    words.wait_for(timeout=180_000)
    words.fill(f"{', '.join(CLASSES[:6])}\nground: {', '.join(CLASSES[6:])}")
    panel = page.locator('[data-cy="resclip-words"]')
    page.locator('[data-cy="resclip-shares"]').wait_for(timeout=120_000)
    wait_until_read(page)
    picture, form = page.locator(".resclip-frame").bounding_box(), words.bounding_box()
    assert picture["x"] + picture["width"] <= form["x"] and picture["width"] > form["width"]
    assert page.locator('[data-cy="resclip-shares"]').bounding_box()["y"] < 1000
    page.locator(".resclip-frame").hover(position={"x": 40, "y": 40})
    page.locator(".resclip-hover", has_text="confidence: ").wait_for(timeout=30_000)
    screenshot(page, "playground-words")
    page.locator(".resclip-frame").click(position={"x": picture["width"] * 0.55, "y": picture["height"] * 0.5})
    page.locator('[data-cy="resclip-attention"] figure').nth(2).wait_for(timeout=60_000)
    page.wait_for_timeout(500)
    screenshot(page, "playground-attention")
    page.keyboard.press("ArrowRight")
    page.locator(f'[data-cy="resclip-words"][data-sample="{ids[1]}"]').wait_for(timeout=60_000)
    wait_until_read(page)
    assert panel.get_by_text("image 2 of 3").count() == 1
    page.get_by_role("button", name="Apply to view").click()
    form = page.locator('[data-cy="operators-prompt-modal"]')
    form.wait_for(timeout=30_000)
    assert "green cloth" in form.locator("textarea").first.input_value()
    screenshot(page, "playground-apply")
    form.get_by_role("button", name="Cancel").click()
    page.locator('[data-cy="looker"]').nth(2).click()
    modal = page.locator('[data-cy="modal"]')
    modal.locator('[data-cy="panel-tab-playground"]').click()  # the App opens it there by itself
    modal.locator(f'[data-cy="resclip-words"][data-sample="{ids[2]}"] canvas').wait_for(timeout=120_000)
    assert "green cloth" in modal.locator("textarea").first.input_value()
    page.wait_for_timeout(1500)
    screenshot(page, "playground-modal")
