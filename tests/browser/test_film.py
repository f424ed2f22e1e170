"""The moving picture of the README: small, in order, and refused if it is too large. The walk itself is made by ``make gif``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.browser import film


def test_screenshots_become_a_small_picture_that_moves(tmp_path: Path) -> None:
    frames = [(Image.new("RGB", (1500, 950), colour), 400 + index) for index, colour in enumerate(("red", "green", "blue"))]
    film.film(frames, tmp_path / "app.gif")
    with Image.open(tmp_path / "app.gif") as made:
        assert (made.size, made.n_frames, made.info["loop"]) == ((900, 570), 3, 0)  # type: ignore[attr-defined]
        made.seek(2)
        assert made.convert("RGB").getpixel((10, 10)) == (0, 0, 255)


def test_a_picture_that_is_too_large_for_a_readme_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (950, 1500, 3)).astype(np.uint8)
    with pytest.raises(ValueError, match="must have at most 2097152 bytes, but would have"):
        film.film([(Image.fromarray(np.roll(noise, step, 0)), 100) for step in range(8)], tmp_path / "app.gif")
    assert not (tmp_path / "app.gif").exists()
