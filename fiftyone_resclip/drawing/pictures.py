"""Draws pictures from plain data: predictions next to the image, with a legend."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont

_MARGIN_PX, _TITLE_PX = 8, 26
_INK, _PAPER = "#222222", "#ffffff"

#: Colour that :func:`paint` uses for pixels without a class.
VOID = "#d8d8d8"


def paint(mask: NDArray[np.integer], colours: Sequence[str]) -> Image.Image:
    """Colours a mask.

    Args:
        mask: ``(H, W)``; value ``i + 1`` gets ``colours[i]``, anything else light grey
        colours: hex colours

    Returns:
        an RGB image
    """
    palette = np.array([ImageColor.getrgb(VOID), *map(ImageColor.getrgb, colours)], dtype=np.uint8)
    return Image.fromarray(palette[np.where((mask > 0) & (mask <= len(colours)), mask, 0)])


def overview(
    rows: Sequence[Sequence[Image.Image]], titles: Sequence[str], legend: Sequence[tuple[str, str]], cell_width: int = 192
) -> Image.Image:
    """Arranges images in a table with column titles, and a colour legend below it.

    Args:
        rows: images of one size, row by row
        titles: column titles
        legend: name and hex colour of each class
        cell_width (192): width of a column in pixels

    Returns:
        an RGB image
    """
    height = round(cell_width * rows[0][0].height / rows[0][0].width)
    step_x, step_y = cell_width + _MARGIN_PX, height + _MARGIN_PX
    font = ImageFont.load_default(size=14)
    per_line = max(len(titles) * step_x // 150, 1)
    lines = -(-len(legend) // per_line)
    size = (_MARGIN_PX + len(titles) * step_x, _TITLE_PX + len(rows) * step_y + lines * _TITLE_PX + _MARGIN_PX)
    canvas = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(canvas)
    for column, title in enumerate(titles):
        draw.text((_MARGIN_PX + column * step_x, 5), title, fill=_INK, font=font)
        for row, cells in enumerate(rows):
            cell = cells[column].resize((cell_width, height), Image.Resampling.NEAREST)
            canvas.paste(cell, (_MARGIN_PX + column * step_x, _TITLE_PX + row * step_y))
    for index, (name, colour) in enumerate(legend):
        x, y = _MARGIN_PX + index % per_line * 150, _TITLE_PX + len(rows) * step_y + index // per_line * _TITLE_PX
        draw.rectangle((x, y + 4, x + 14, y + 18), fill=colour)
        draw.text((x + 20, y + 3), name, fill=_INK, font=font)
    return canvas
