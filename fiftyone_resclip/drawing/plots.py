"""Builds figures for FiftyOne's plotly view: pictures with an overlay, heat maps, bars and a matrix. Does not import FiftyOne.

Plotly renders some HTML in its texts, such as links, so all texts from outside are escaped here; see :func:`name_of`.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from PIL import Image
from plotly.subplots import make_subplots

_TITLE_PX = 24
_GAP = 0.05

#: The colour scale "Hot" of plotly.js; in plotly.py, that name stands for different colours.
_HOT = [[0, "rgb(0,0,0)"], [0.3, "rgb(230,0,0)"], [0.6, "rgb(255,210,0)"], [1, "rgb(255,255,255)"]]


class Figure(NamedTuple):
    """Data and layout for FiftyOne's plotly view."""

    data: list[dict[str, Any]]
    layout: dict[str, Any]


class Heat(NamedTuple):
    """Heat map over part of a picture.

    Attributes:
        title: text above it
        values: ``(h, w)``
        box: top, left, bottom and right edge in pixels of the picture
        marked: row and column of the cell to mark
    """

    title: str
    values: NDArray[np.floating]
    box: tuple[int, int, int, int]
    marked: tuple[int, int]


def covered(photo: Image.Image, cover: Image.Image, texts: NDArray[np.str_], opacity: float = 0.6) -> Figure:
    """Draws a picture with an overlay; hovering shows the text at the mouse, and a click reports its position.

    Args:
        photo: the picture
        cover: overlay of the same size
        texts: grid of texts over the picture, ``(h, w)``; they may have several lines
        opacity (0.6): opacity of the overlay, in [0, 1]

    Returns:
        the figure; its axes are in pixels
    """
    rows, columns = _centres((0, 0, photo.height, photo.width), texts.shape)
    nothing = np.zeros(texts.shape, dtype=int).tolist()
    figure = _pictures(Image.blend(photo, cover.convert("RGB"), opacity))
    figure.add_heatmap(
        z=nothing, x=columns, y=rows, text=[_escaped(row) for row in texts.tolist()], hoverinfo="text", opacity=0, showscale=False
    )
    return _plain(figure.update_layout(dragmode=False))


def heats(photo: Image.Image, maps: Sequence[Heat]) -> Figure:
    """Draws heat maps side by side, each over a copy of the picture.

    Args:
        photo: the picture
        maps: from left to right, at least one

    Returns:
        the figure
    """
    look = {"colorscale": _HOT, "showscale": False, "opacity": 0.7, "hovertemplate": "%{z}<extra></extra>"}
    mark = {"mode": "markers", "marker": {"symbol": "x", "size": 10, "color": "#00e5ff"}, "hoverinfo": "skip"}
    corner = {"x": 0, "y": 1, "xref": "x domain", "yref": "y domain", "yanchor": "bottom"}
    figure = _pictures(photo, len(maps), _GAP)
    for number, (title, values, box, (row, column)) in enumerate(maps, start=1):
        here = {"row": 1, "col": number}
        rows, columns = _centres(box, values.shape)
        figure.add_heatmap(z=_numbers(values), x=columns, y=rows, **look, **here)
        figure.add_scatter(x=[columns[column]], y=[rows[row]], **mark, **here)
        figure.add_annotation(text=title, showarrow=False, font_color="#bbbbbb", **corner, **here)
    return _plain(figure.update_layout(margin_t=_TITLE_PX, showlegend=False))


def bars(
    names: Sequence[str], shares: Sequence[float], colours: Sequence[str], notes: Sequence[str], title: str = "pixels in %"
) -> Figure:
    """Draws shares as horizontal bars, the first at the top. Faint bars extend them to 100 %, so that empty ones can be clicked.

    Args:
        names: name of each bar
        shares: length of each bar, in [0, 1]
        colours: colour of each bar
        notes: text on each bar
        title ("pixels in %"): title of the axis

    Returns:
        the figure; a click reports the name as ``y``, see :func:`name_of`
    """
    percent = [round(100 * share, 2) for share in shares]
    rest = [round(100 - 100 * share, 2) for share in shares]
    look = {"y": _escaped(names), "orientation": "h"}
    figure = go.Figure()
    figure.add_bar(x=percent, text=_escaped(notes), textposition="auto", marker_color=colours, hoverinfo="text", **look)
    figure.add_bar(x=rest, marker_color="rgba(128,128,128,0.12)", hoverinfo="none", **look)
    figure.update_xaxes(title_text=title, range=[0, 100], fixedrange=True)
    figure.update_yaxes(type="category", autorange="reversed", automargin=True, fixedrange=True)
    return _plain(figure.update_layout(barmode="stack", showlegend=False, margin={"l": 10, "r": 10, "t": 5, "b": 35}))


def matrix(rows: Sequence[str], columns: Sequence[str], values: NDArray[np.floating], titles: tuple[str, str]) -> Figure:
    """Draws a table of numbers as a heat map, the first row at the top.

    Args:
        rows: row names
        columns: column names
        values: ``(rows, columns)``; NaN cells stay empty
        titles: titles of the rows and of the columns

    Returns:
        the figure; a click reports the row and column name as ``y`` and ``x``, see :func:`name_of`
    """
    hover = f"{titles[0]}: %{{y}}<br>{titles[1]}: %{{x}}<br>%{{z}}<extra></extra>"
    axis = {"type": "category", "automargin": True, "fixedrange": True}
    figure = go.Figure(
        go.Heatmap(z=_numbers(values), x=_escaped(columns), y=_escaped(rows), autocolorscale=True, hovertemplate=hover)
    )
    figure.update_xaxes(title_text=titles[1], **axis)
    figure.update_yaxes(title_text=titles[0], autorange="reversed", **axis)
    return _plain(figure.update_layout(margin={"l": 10, "r": 10, "t": 10, "b": 10}))


def name_of(clicked: str) -> str:
    """Returns the name behind the text that a click on :func:`bars` or :func:`matrix` reports."""
    return html.unescape(clicked.replace("<br>", "\n"))


def greys(values: NDArray[np.floating]) -> Image.Image:
    """Paints values in [0, 1] from black to white."""
    return Image.fromarray(np.round(255 * np.clip(values, 0, 1)).astype(np.uint8))


def _pictures(photo: Image.Image, count: int = 1, gap: float = 0.0) -> go.Figure:
    """Builds plots over the picture, with axes in its pixels; ``gap`` is the share of the width left empty after each."""
    figure = make_subplots(1, count)
    size = {"x": 0, "y": 0, "sizex": photo.width, "sizey": photo.height, "sizing": "stretch"}
    image = go.layout.Image(source=photo, layer="below", **size)
    axis = {"visible": False, "fixedrange": True, "constrain": "domain"}
    for column in range(1, count + 1):
        domain = [(column - 1) / count, (column - gap) / count]
        figure.add_layout_image(image, row=1, col=column)
        figure.update_xaxes(range=[0, photo.width], domain=domain, col=column, **axis)
        figure.update_yaxes(range=[photo.height, 0], scaleanchor=f"x{column}", col=column, **axis)
    return figure.update_layout(margin={"l": 0, "r": 0, "t": 0, "b": 0}, paper_bgcolor="rgba(0,0,0,0)")


def _centres(box: tuple[int, int, int, int], grid_hw: tuple[int, ...]) -> tuple[list[float], list[float]]:
    """Returns the centres of the rows and of the columns of a grid over a box."""
    top, left, bottom, right = box
    rows, columns = ((np.arange(count) + 0.5) / count for count in grid_hw)
    return (top + (bottom - top) * rows).round(2).tolist(), (left + (right - left) * columns).round(2).tolist()


def _escaped(texts: Sequence[str]) -> list[str]:
    """Escapes texts for plotly; each line end becomes a break."""
    return [html.escape(text, quote=False).replace("\n", "<br>") for text in texts]


def _numbers(values: NDArray[np.floating]) -> list[list[float | None]]:
    """Rounds numbers. NaN becomes None, because JSON has no NaN and plotly leaves None empty."""
    return [[None if np.isnan(value) else round(float(value), 4) for value in row] for row in values]


def _plain(figure: go.Figure) -> Figure:
    """Converts a figure to plain data, without plotly's template, because FiftyOne's App has its own colours."""
    parts = figure.to_plotly_json()
    parts["layout"].pop("template", None)
    return Figure(parts["data"], parts["layout"])
