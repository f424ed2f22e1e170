"""Copies screenshots of the browser tests to the docs, in few colours: ``python -m tests.browser.pictures docs``.

``make pictures`` runs the tests first, so that the docs show the App as it is.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from tests.browser.conftest import ARTEFACTS

#: Screenshot by picture of the docs.
PICTURES: Mapping[str, str] = {
    "app-segment": "segment-masks",
    "app-words": "playground-attention",
    "app-errors": "errors-cell",
    "app-errors-150": "errors-150",
    "app-review": "review-verdicts",
}
_COLOURS = 256


def main(folder: Path) -> None:
    """Copies the screenshots."""
    for name, screenshot in PICTURES.items():
        with Image.open(ARTEFACTS / f"{screenshot}.png") as picture:
            small = picture.convert("RGB").quantize(_COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        small.save(folder / f"{name}.png", optimize=True)
        print(f"{folder / name}.png: {small.width}x{small.height}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
