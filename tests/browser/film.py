"""Makes the moving picture of the README from a walk through the real App: ``python -m tests.browser.film docs/app.gif``.

The walk types words into *ResCLIP: segment* and ends with masks in the grid. FiftyOne, its database and its plugin are the tests'
own; see ``tests/conftest.py``.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import tests.conftest  # noqa: F401  # a FiftyOne of our own, before anything reads its settings

import fiftyone as fo  # isort: skip

from fiftyone_resclip.tiny.scenes import dense_scene  # isort: skip
from tests.browser.conftest import opened_page, served  # isort: skip
from tests.browser.walk import mean_colour, open_dataset, open_form, run_form, type_words  # isort: skip

#: Width of the picture, and colours of each frame: small enough for a README.
WIDTH_PX, COLOURS = 900, 96
LARGEST_BYTES = 2 * 2**20
_IMAGES, _IMAGE_HW = 12, (240, 320)
_WORDS = ("red cloth", "blue cloth", "green cloth", "ground: snow, gravel, asphalt")


def film(frames: list[tuple[Image.Image, int]], path: Path) -> None:
    """Joins screenshots to a GIF.

    Args:
        frames: screenshots of one size, each with the time it is shown, in milliseconds
        path: the file to write

    Raises:
        ValueError: if the file would be too large for a README
    """
    shown = [_small(picture) for picture, _ in frames]
    rest = {"append_images": shown[1:], "duration": [time for _, time in frames], "loop": 0, "optimize": True}
    content = io.BytesIO()
    shown[0].save(content, "GIF", save_all=True, **rest)
    if content.tell() > LARGEST_BYTES:
        raise ValueError(f"{path} must have at most {LARGEST_BYTES} bytes, but would have {content.tell()}; show fewer frames")
    path.write_bytes(content.getvalue())


def _small(picture: Image.Image) -> Image.Image:
    small = picture.convert("RGB").resize((WIDTH_PX, round(WIDTH_PX * picture.height / picture.width)), Image.Resampling.LANCZOS)
    return small.quantize(COLOURS, dither=Image.Dither.NONE)


def walk(page: Any, address: str, name: str) -> Iterator[int]:
    """Walks through the App; yields how long the page is to be shown as it is then, in milliseconds."""
    open_dataset(page, address, name)
    page.wait_for_timeout(3000)
    bare = _grid(page)
    yield 1200
    form = open_form(page, "ResCLIP: segment")
    page.wait_for_timeout(1500)
    yield 800
    for word in _WORDS:
        type_words(page, form, word)
        yield 500
    page.wait_for_selector(f"text=/{_IMAGES} images → /")
    yield 1500
    run_form(page, form)
    form.wait_for(state="detached", timeout=300_000)
    page.wait_for_selector(f"text=/{_IMAGES} of {_IMAGES} images labelled/", timeout=600_000)
    for _ in range(60):  # until the grid shows the masks
        page.wait_for_timeout(2000)
        if np.abs(_grid(page) - bare).max() > 10:
            break
    page.wait_for_timeout(2000)
    yield 3000


def _grid(page: Any) -> NDArray[np.float64]:
    return mean_colour(page.locator('[data-cy="looker"]').first)


def main(path: Path) -> None:
    """Draws scenes, walks through the App and writes the GIF."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = fo.Dataset("scenes")
        for number in range(_IMAGES):
            file = Path(folder) / f"{number}.png"
            Image.fromarray(dense_scene(20_000 + number).image).resize(_IMAGE_HW[::-1]).save(file)
            dataset.add_sample(fo.Sample(filepath=str(file)))
        frames = []
        with served(Path(folder)) as address, opened_page(address) as page:
            page.set_default_timeout(300_000)  # nobody waits for it, and the machine may be busy
            for time in walk(page, address, dataset.name):
                with Image.open(io.BytesIO(page.screenshot())) as picture:
                    frames.append((picture.copy(), time))
        film(frames, path)
    print(f"{path}: {len(frames)} frames, {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
