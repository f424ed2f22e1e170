"""A mask that can't be read costs an evaluation that mask, and is named with the reason."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from bson import Binary
from PIL import Image

from fiftyone_resclip.evaluation.evaluate import evaluate
from fiftyone_resclip.fields.private import database, stored
from tests.evaluation.conftest import Make, make

__all__ = ["make"]


def encoded(file_format: str, **settings: Any) -> bytes:
    out = BytesIO()
    Image.fromarray(np.ones((64, 64), np.uint8)).save(out, file_format, **settings)
    return out.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def huge_png() -> bytes:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def tiff_with(tag: bytes, other: bytes) -> bytes:
    whole = encoded("TIFF")
    assert tag in whole
    return whole.replace(tag, other, 1)


DAMAGED: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "text": lambda: b"no image",
    "half a PNG": lambda: encoded("PNG")[:60],
    "PNG with a wrong checksum": lambda: encoded("PNG").replace(b"IDAT", b"IDAX"),
    "PNG of 3.6 gigapixels": huge_png,
    "half a TIFF": lambda: encoded("TIFF")[:4000],
    "TIFF of text": lambda: tiff_with(struct.pack("<HHI", 256, 4, 1), struct.pack("<HHI", 256, 2, 1)),
    "TIFF with no width": lambda: tiff_with(struct.pack("<HHI", 256, 4, 1), struct.pack("<HHI", 65000, 4, 1)),
    "TIFF of unknown bits": lambda: tiff_with(struct.pack("<HHI", 258, 3, 1), struct.pack("<HHI", 258, 12, 1)),
    "DDS of unknown pixels": lambda: b"DDS " + struct.pack("<IIIIIII", 124, 0x1007, 4, 4, 0, 0, 0) + bytes(44)
    + struct.pack("<II", 32, 0x4) + b"ABCD" + bytes(40),
    "half a JPEG 2000": lambda: encoded("JPEG2000")[:80],
    "damaged WebP": lambda: encoded("WEBP", lossless=True)[:30] + b"\xff" * 20,
    "EPS": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\nshowpage\n",
    "BLP": lambda: b"BLP2" + struct.pack("<IBBBBII", 1, 9, 9, 9, 9, 4, 4) + bytes(2000),
}  # fmt: skip


@pytest.mark.parametrize("kind", [*DAMAGED, "directory", "FIFO", "missing"])
@pytest.mark.parametrize("field", ["pred", "gt"])
def test_a_damaged_mask_costs_only_itself(make: Make, tmp_path: Path, kind: str, field: str) -> None:
    path = tmp_path / "damaged.png"
    if kind in DAMAGED:
        path.write_bytes(DAMAGED[kind]())
    elif kind == "directory":
        path.mkdir()
    elif kind == "FIFO":
        os.mkfifo(path)
    dataset = make([([[1, 1]], [[1, 1]]), ([[1, 1]], [[1, 1]])], {1: "a"}, {1: "a"})
    sample = dataset.last()
    sample[field] = fo.Segmentation(mask_path=str(path))
    sample.save()
    results = evaluate(dataset, "pred", "gt", "ev")
    (reason,) = (results.without_prediction if field == "pred" else results.without_truth).values()
    assert str(path) in reason
    assert results.images == (2 if field == "pred" else 1)
    assert dataset.first().ev_miou == 100.0


@pytest.mark.parametrize(
    "mask", [np.zeros((0, 4), np.uint8), np.full((2, 2), np.nan), np.zeros((2, 2, 2), np.uint8), np.zeros(3)]
)
def test_so_does_a_damaged_mask_in_the_database(make: Make, mask: Any) -> None:
    dataset = make([([[1, 1]], [[1, 1]]), ([[1, 1]], None)], {1: "a"}, {1: "a"})
    dataset.set_values("pred", [dataset.first().pred, fo.Segmentation(mask=mask)])
    assert list(evaluate(dataset, "pred", "gt", "ev").without_prediction) == [dataset.last().filepath]


@pytest.mark.parametrize("content", [Binary(b"junk"), Binary(zlib.compress(b"junk")), Binary(b""), 5, "text"])
@pytest.mark.parametrize("field", ["pred", "gt"])
def test_so_does_a_mask_in_the_database_that_can_not_be_decoded(make: Make, content: Any, field: str) -> None:
    dataset = make([([[1, 1]], [[1, 1]])] * 3, {1: "a"}, {1: "a"})
    collection = database()[stored(dataset)["sample_collection_name"]]
    path = dataset.values("filepath")[1]
    collection.update_one({"filepath": path}, {"$set": {f"{field}.mask": content}})
    results = evaluate(dataset, "pred", "gt", "ev")
    reasons = results.without_prediction if field == "pred" else results.without_truth
    assert list(reasons) == [path] and f"its label in {field!r} can't be decoded" in reasons[path]
    assert results.images == (3 if field == "pred" else 2)
    assert dataset.values("ev_miou") == [100.0, 0.0 if field == "pred" else None, 100.0]
