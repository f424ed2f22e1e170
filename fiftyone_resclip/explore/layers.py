"""Encodes layers over a picture for the browser: at each pixel the index of an entry, which has a name and a colour."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fiftyone_resclip.fields.values import Mask, value_codes

#: Name and hex colour of a value; without a colour, its pixels stay clear.
Entry = tuple[str, str | None]


def encoded(values: Mask, entry: Callable[[int], Entry]) -> dict[str, Any]:
    """Encodes a layer.

    Args:
        values: ``(H, W)`` integers
        entry: returns what a value means

    Returns:
        ``png``, a data URI; ``wide``, whether an index takes two channels; and ``entries``, those that occur, by index
    """
    candidates, codes = value_codes(values)
    present = np.flatnonzero(np.bincount(codes.ravel(), minlength=len(candidates)))
    table = np.zeros(len(candidates), dtype=np.uint16)
    table[present] = np.arange(len(present))
    entries = [dict(zip(("name", "colour"), entry(int(candidates[code])), strict=True)) for code in present]
    wide = len(entries) > 256
    return {"png": data_uri(_picture(table[codes], wide=wide)), "wide": wide, "entries": entries}


def data_uri(picture: Image.Image) -> str:
    """Encodes a picture as PNG in a data URI."""
    file = io.BytesIO()
    picture.save(file, format="PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def _picture(indices: NDArray[np.uint16], *, wide: bool) -> Image.Image:
    low = indices.astype(np.uint8)  # the low byte
    return Image.fromarray(np.stack([low, (indices >> 8).astype(np.uint8), np.zeros_like(low)], axis=-1) if wide else low)
