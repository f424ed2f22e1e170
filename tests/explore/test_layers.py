from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fiftyone_resclip.explore import layers


def decoded(layer: dict[str, Any]) -> NDArray[np.int64]:
    """Returns the index at each pixel, as the browser reads it."""
    scheme, data = layer["png"].split(",")
    assert scheme == "data:image/png;base64"
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).astype(int)
    return pixels[..., 0] + (256 * pixels[..., 1] if layer["wide"] else 0)


@pytest.mark.parametrize(
    "values",
    [
        np.array([[0, 1], [3, 3]], np.uint8),
        np.array([[-1, 5, 5]], np.int16),
        np.array([[7, 70_000]], np.int32),
        np.arange(1000, dtype=np.uint16).reshape(20, 50),
        np.zeros((3, 4), bool).astype(np.int64),
    ],
)
def test_each_pixel_keeps_the_entry_of_its_value(values: NDArray[np.integer]) -> None:
    layer = layers.encoded(values, lambda value: (f"name {value}", None if value == 0 else "#102030"))
    indices = decoded(layer)
    names = [entry["name"] for entry in layer["entries"]]
    assert [[names[i] for i in row] for row in indices] == [[f"name {value}" for value in row] for row in values.tolist()]
    assert len(names) == len(np.unique(values))  # a legend lists only what is there
    assert {entry["colour"] for entry in layer["entries"] if entry["name"] == "name 0"} <= {None}
