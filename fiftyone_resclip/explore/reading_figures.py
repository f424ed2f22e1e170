"""Draws a reading of the playground: the picture and its layers, the texts under the mouse, the legend and the attention."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fiftyone_resclip.drawing import pictures, plots
from fiftyone_resclip.errors import ConfigError, unknown
from fiftyone_resclip.explore.playground import Reading
from fiftyone_resclip.fields.colours import palette

_CELL_PX = 8


def photo(reading: Reading) -> Image.Image:
    """Returns the image at network size."""
    return Image.fromarray(reading.image.permute(1, 2, 0).cpu().numpy())


def cover(reading: Reading, layer: str) -> Image.Image:
    """Paints a layer of a reading.

    Args:
        reading: the reading
        layer: ``"classes"``, in the colours of the masks; ``"phrases"``, one colour each; or ``"confidence"``, where white is 1

    Returns:
        an image as large as that of :func:`photo`

    Raises:
        ConfigError: if there is no such layer
    """
    vocabulary = reading.segmenter.vocabulary
    if layer == "classes":
        return pictures.paint(reading.labels + 1, palette(len(vocabulary.class_names)))
    if layer == "phrases":
        return pictures.paint(reading.phrases + 1, palette(len(vocabulary.flat_phrases)))
    if layer == "confidence":
        return plots.greys(reading.confidence)
    raise ConfigError(unknown("layer", layer, ("classes", "phrases", "confidence")))


def texts(reading: Reading) -> NDArray[np.str_]:
    """Describes class, winning phrase and confidence for each cell of a grid over the image, from the pixel at its centre."""
    vocabulary, (height, width) = reading.segmenter.vocabulary, reading.image_hw
    rows, columns = _middles(height), _middles(width)
    names = [*vocabulary.class_names, "no class"]
    return np.array(
        [[_text(reading, names, vocabulary.flat_phrases, row, column) for column in columns] for row in rows], dtype=np.str_
    )


def legend(reading: Reading, limit: int) -> plots.Figure:
    """Shows the classes with the most pixels: their share, mean confidence and, if they have several, their phrases.

    Args:
        reading: the reading
        limit: maximum number of classes

    Returns:
        the figure
    """
    names = reading.segmenter.vocabulary.class_names
    colours = palette(len(names))
    rows = reading.shares[:limit]
    notes = [f"{100 * row.share:.1f} %, confidence {row.confidence:.2f}{_by_phrase(row.phrases)}" for row in rows]
    return plots.bars(
        [row.name for row in rows], [row.share for row in rows], [colours[names.index(row.name)] for row in rows], notes
    )


def attention(reading: Reading, point: tuple[float, float]) -> plots.Figure:
    """Shows what the patch at a point attends to.

    Args:
        reading: the reading
        point: row and column in pixels of :func:`photo`

    Returns:
        one heat map each for RCS, SFR and the last block; RCS and SFR are left out if they are off
    """
    rows = reading.attention_rows(point)
    parts = (("RCS: earlier blocks", rows.rcs), ("SFR: first segmentation", rows.sfr), ("last block", rows.final))
    maps = [plots.Heat(title, values.cpu().numpy(), rows.box, rows.patch) for title, values in parts if values is not None]
    return plots.heats(photo(reading), maps)


def _text(reading: Reading, names: Sequence[str], phrases: Sequence[str], row: int, column: int) -> str:
    name, phrase = names[reading.labels[row, column]], phrases[reading.phrases[row, column]]
    return f"{name}\nphrase: {phrase}\nconfidence: {reading.confidence[row, column]:.2f}"


def _middles(side: int) -> list[int]:
    count = max(side // _CELL_PX, 1)
    return [int((i + 0.5) * side / count) for i in range(count)]


def _by_phrase(phrases: dict[str, float]) -> str:
    if len(phrases) == 1:
        return ""
    best = sorted(phrases.items(), key=lambda item: -item[1])[:4]
    return " (" + ", ".join(f"{phrase} {100 * share:.1f} %" for phrase, share in best if share > 0) + ")"
