"""Prepares a reading of the playground for the browser: layers over the picture, shares by class, and attention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from fiftyone_resclip.drawing import pictures
from fiftyone_resclip.explore import layers
from fiftyone_resclip.explore.playground import ClassShare, Reading
from fiftyone_resclip.fields.colours import palette
from fiftyone_resclip.fields.values import resize

_PHRASES_NAMED = 4


def view_of(reading: Reading, colours: Mapping[str, str], most_classes: int) -> dict[str, Any]:
    """Prepares a reading.

    Args:
        reading: the reading
        colours: hex colour by class name
        most_classes: number of classes whose shares are listed, the largest first

    Returns:
        ``layers`` by name, ``shares``, the number of classes in ``more``, the share of pixels that are ``unlabelled``, and the
        ``ramp`` of colours for confidence from 0 to 1
    """
    return {
        "layers": _layers(reading, colours),
        "shares": [_share(row, colours[row.name]) for row in reading.shares[:most_classes]],
        "unlabelled": float((reading.labels < 0).mean()),
        "more": max(len(reading.shares) - most_classes, 0),
        "ramp": pictures.RAMP,
    }


def attention(reading: Reading, point: tuple[float, float]) -> list[dict[str, str]]:
    """Draws what the patch at a point, which gets a white frame, attends to.

    Args:
        reading: the reading
        point: row and column as shares of height and width, in [0, 1]

    Returns:
        ``title`` and ``png``, a data URI, for RCS, SFR and the last block; RCS and SFR are left out if they are off
    """
    rows = reading.attention_rows(point)
    photo = Image.fromarray(reading.image.permute(1, 2, 0).cpu().numpy())
    box = (rows.box.left, rows.box.top, rows.box.right, rows.box.bottom)
    parts = {"RCS: earlier blocks": rows.rcs, "SFR: first segmentation": rows.sfr, "last block": rows.final}
    return [
        {"title": title, "png": layers.data_uri(pictures.heat(photo, values.cpu().numpy(), box, rows.patch))}
        for title, values in parts.items()
        if values is not None
    ]


def _layers(reading: Reading, colours: Mapping[str, str]) -> dict[str, Any]:
    vocabulary = reading.segmenter.vocabulary
    of_phrases = palette(len(vocabulary.flat_phrases))

    def of_class(index: int) -> layers.Entry:
        return ("no class", None) if index < 0 else (vocabulary.class_names[index], colours[vocabulary.class_names[index]])

    percent = np.round(100 * reading.confidence).astype(np.uint8)
    return {
        "classes": layers.encoded(reading.labels, of_class),
        "phrases": layers.encoded(reading.phrases, lambda index: (vocabulary.flat_phrases[index], of_phrases[index])),
        # at network size, because a smooth layer is a large file and has no more detail than that
        "confidence": layers.encoded(
            resize(percent, tuple(reading.image.shape[1:])), lambda value: (f"{value / 100:.2f}", pictures.on_ramp(value / 100))
        ),
    }


def _share(row: ClassShare, colour: str) -> dict[str, Any]:
    best = sorted(row.phrases.items(), key=lambda item: -item[1])[:_PHRASES_NAMED]
    phrases = [f"{phrase} {100 * share:.1f} %" for phrase, share in best if share > 0] if len(row.phrases) > 1 else []
    return {"name": row.name, "colour": colour, "share": row.share, "confidence": row.confidence, "phrases": phrases}
