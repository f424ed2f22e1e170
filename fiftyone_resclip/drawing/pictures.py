"""Draws pictures from plain data: predictions next to the image, with a legend."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont
from plotly.colors import sample_colorscale

_MARGIN_PX, _TITLE_PX, _ENTRY_PX, _SWATCH_PX = 8, 26, 150, 20
_STEPS = 101
_INK, _PAPER = "#222222", "#ffffff"

#: From the lowest to the highest value; the same order in shades of grey, and for colour-blind people.
RAMP = [
    "#{:02x}{:02x}{:02x}".format(*(round(255 * part) for part in rgb))
    for rgb in sample_colorscale("Viridis", np.linspace(0, 1, _STEPS).tolist(), colortype="tuple")
]
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


def overlay(image: Image.Image, mask: NDArray[np.integer], colours: Sequence[str], opacity: float = 0.55) -> Image.Image:
    """Paints a mask over its image.

    Args:
        image: an RGB image
        mask: of the same size, ``(H, W)``, as for :func:`paint`; pixels without a class show the image alone
        colours: hex colours
        opacity (0.55): how much of the colour shows, in [0, 1]

    Returns:
        an RGB image
    """
    strength = Image.fromarray(np.where(mask > 0, round(255 * opacity), 0).astype(np.uint8))
    return Image.composite(paint(mask, colours), image, strength)


def on_ramp(value: float) -> str:
    """Returns the hex colour of a value in [0, 1] on :data:`RAMP`."""
    return RAMP[round(value * (len(RAMP) - 1))]


def heat(
    photo: Image.Image,
    values: NDArray[np.floating],
    box: tuple[int, int, int, int],
    marked: tuple[int, int],
    opacity: float = 0.75,
) -> Image.Image:
    """Draws a heat map over part of a picture.

    Args:
        photo: the picture
        values: ``(h, w)``, not negative; the largest gets the brightest colour
        box: left, top, right and bottom edge in pixels of the picture
        marked: row and column of the value that gets a white frame
        opacity (0.75): opacity of the heat map, in [0, 1]

    Returns:
        an RGB image as large as the picture
    """
    steps = np.round(values / max(float(values.max()), 1e-12) * (len(RAMP) - 1)).astype(int)
    colours = np.array([ImageColor.getrgb(colour) for colour in RAMP], dtype=np.uint8)[steps]
    size = (box[2] - box[0], box[3] - box[1])
    result = photo.convert("RGB")
    cover = Image.fromarray(colours).resize(size, Image.Resampling.NEAREST)
    result.paste(Image.blend(result.crop(box), cover, opacity), box)
    width, height = size[0] / values.shape[1], size[1] / values.shape[0]
    left, top = box[0] + marked[1] * width, box[1] + marked[0] * height
    ImageDraw.Draw(result).rectangle((left, top, left + width, top + height), outline="white", width=2)
    return result


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
    table = Image.new("RGB", (_MARGIN_PX + len(titles) * step_x, _TITLE_PX + len(rows) * step_y), _PAPER)
    canvas = with_legend(table, legend)
    draw = ImageDraw.Draw(canvas)
    for column, title in enumerate(titles):
        draw.text((_MARGIN_PX + column * step_x, 5), title, fill=_INK, font=_font())
        for row, cells in enumerate(rows):
            cell = cells[column].resize((cell_width, height), Image.Resampling.NEAREST)
            canvas.paste(cell, (_MARGIN_PX + column * step_x, _TITLE_PX + row * step_y))
    return canvas


def with_legend(picture: Image.Image, legend: Sequence[tuple[str, str]]) -> Image.Image:
    """Puts a colour legend below a picture.

    Args:
        picture: an RGB image
        legend: name and hex colour of each class

    Returns:
        a higher RGB image
    """
    width = max([_ENTRY_PX, *(_SWATCH_PX + round(_font().getlength(name)) + _MARGIN_PX for name, _ in legend)])
    per_line = max(picture.width // width, 1)
    lines = -(-len(legend) // per_line)
    canvas = Image.new("RGB", (picture.width, picture.height + lines * _TITLE_PX + _MARGIN_PX), _PAPER)
    canvas.paste(picture)
    draw = ImageDraw.Draw(canvas)
    for index, (name, colour) in enumerate(legend):
        x, y = _MARGIN_PX + index % per_line * width, picture.height + index // per_line * _TITLE_PX
        draw.rectangle((x, y + 4, x + 14, y + 18), fill=colour)
        draw.text((x + _SWATCH_PX, y + 3), name, fill=_INK, font=_font())
    return canvas


@cache
def _font() -> Any:
    return ImageFont.load_default(size=14)
