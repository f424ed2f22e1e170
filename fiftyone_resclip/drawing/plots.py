"""Plotly figures as plain data: a picture with a cover that is seen through, heat maps over it, bars. No FiftyOne, no plotly."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_MARGIN = {"l": 0, "r": 0, "t": 0, "b": 0}
_TITLE_PX = 24


class Figure(NamedTuple):
    """What FiftyOne's plotly view takes."""

    data: list[dict[str, Any]]
    layout: dict[str, Any]


class Heat(NamedTuple):
    """A heat map over a part of a picture.

    Attributes:
        title: above it
        values: ``(h, w)``
        box: top, left, bottom, right in pixels of the picture
        marked: row and column of the cell it is about
    """

    title: str
    values: NDArray[np.floating]
    box: tuple[int, int, int, int]
    marked: tuple[int, int]


def covered(photo: Image.Image, cover: Image.Image, texts: NDArray[np.str_], opacity: float = 0.6) -> Figure:
    """Shows a picture under a cover; texts appear where the mouse is, and a click gives the point.

    Args:
        photo: the picture
        cover: of the same size
        texts: a grid over the picture, ``(h, w)``
        opacity (0.6): of the cover, in [0, 1]

    Returns:
        the figure; its axes are pixels
    """
    rows, columns = _centres((0, 0, photo.height, photo.width), texts.shape)
    grid = {
        "type": "heatmap",
        "z": np.zeros(texts.shape, dtype=int).tolist(),
        "x": columns,
        "y": rows,
        "text": texts.tolist(),
        "hoverinfo": "text",
        "opacity": 0,
        "showscale": False,
    }
    blend = Image.blend(photo, cover.convert("RGB"), opacity)
    layout = {
        "images": [_placed(blend)],
        "margin": _MARGIN,
        **_axes(photo, ""),
        "paper_bgcolor": "rgba(0,0,0,0)",
        "dragmode": False,
    }
    return Figure([grid], layout)


def heats(photo: Image.Image, maps: Sequence[Heat]) -> Figure:
    """Shows heat maps side by side, each over the picture.

    Args:
        photo: the picture
        maps: from left to right

    Returns:
        the figure
    """
    data: list[dict[str, Any]] = []
    layout: dict[str, Any] = {"images": [], "annotations": [], "margin": {**_MARGIN, "t": _TITLE_PX}, "showlegend": False}
    layout["paper_bgcolor"] = "rgba(0,0,0,0)"
    for number, heat in enumerate(maps, start=1):
        suffix = "" if number == 1 else str(number)
        rows, columns = _centres(heat.box, heat.values.shape)
        here = {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}
        values = np.round(heat.values, 4).tolist()
        colours = {"colorscale": "Hot", "showscale": False, "opacity": 0.7, "hovertemplate": "%{z}<extra></extra>"}
        data.append({"type": "heatmap", "z": values, "x": columns, "y": rows, **colours, **here})
        mark = {"mode": "markers", "marker": {"symbol": "x", "size": 10, "color": "#00e5ff"}, "hoverinfo": "skip"}
        data.append({"type": "scatter", "x": [columns[heat.marked[1]]], "y": [rows[heat.marked[0]]], **mark, **here})
        layout["images"].append(_placed(photo, suffix))
        layout |= _axes(photo, suffix, ((number - 1) / len(maps), (number - 0.05) / len(maps)))
        title = {
            "text": heat.title,
            "xref": f"x{suffix} domain",
            "yref": f"y{suffix} domain",
            "x": 0,
            "y": 1,
            "yanchor": "bottom",
        }
        layout["annotations"].append({**title, "showarrow": False, "font": {"color": "#bbbbbb"}})
    return Figure(data, layout)


def bars(
    names: Sequence[str], shares: Sequence[float], colours: Sequence[str], notes: Sequence[str], title: str = "pixels in %"
) -> Figure:
    """Shows shares as horizontal bars, the first on top; what is left to the whole is faint, so that a click finds every bar.

    Args:
        names: of the bars
        shares: in [0, 1]
        colours: of the bars
        notes: beside each bar
        title ("pixels in %"): of the axis

    Returns:
        the figure
    """
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": [round(100 * share, 2) for share in shares],
        "y": list(names),
        "text": list(notes),
        "textposition": "auto",
        "marker": {"color": list(colours)},
        "hoverinfo": "text",
    }
    layout = {
        "xaxis": {"title": {"text": title}, "range": [0, 100], "fixedrange": True},
        "yaxis": {"autorange": "reversed", "automargin": True, "fixedrange": True, "type": "category"},
        "margin": {"l": 10, "r": 10, "t": 5, "b": 35},
        "showlegend": False,
    }
    rest = {
        "type": "bar",
        "orientation": "h",
        "x": [round(100 - 100 * share, 2) for share in shares],
        "y": list(names),
        "marker": {"color": "rgba(128,128,128,0.12)"},
        "hoverinfo": "skip",
    }
    return Figure([trace, rest], {**layout, "barmode": "stack"})


def matrix(rows: Sequence[str], columns: Sequence[str], values: NDArray[np.floating], titles: tuple[str, str]) -> Figure:
    """Shows a table of numbers as a heat map, the first row on top.

    Args:
        rows: names
        columns: names
        values: ``(rows, columns)``; NaN is left empty
        titles: of rows and columns

    Returns:
        the figure; a click gives the names as ``y`` and ``x``
    """
    cells = [[None if np.isnan(value) else round(float(value), 4) for value in row] for row in values]
    trace = {
        "type": "heatmap",
        "z": cells,
        "x": list(columns),
        "y": list(rows),
        "colorscale": "Oranges",
        "hovertemplate": f"{titles[0]}: %{{y}}<br>{titles[1]}: %{{x}}<br>%{{z}}<extra></extra>",
    }
    axis = {"type": "category", "automargin": True, "fixedrange": True}
    layout = {
        "xaxis": {**axis, "title": {"text": titles[1]}},
        "yaxis": {**axis, "title": {"text": titles[0]}, "autorange": "reversed"},
        "margin": {"l": 10, "r": 10, "t": 10, "b": 10},
    }
    return Figure([trace], layout)


def greys(values: NDArray[np.floating]) -> Image.Image:
    """Paints values in [0, 1] from black to white."""
    return Image.fromarray(np.round(255 * np.clip(values, 0, 1)).astype(np.uint8))


def _placed(image: Image.Image, suffix: str = "") -> dict[str, Any]:
    size = {"x": 0, "y": 0, "sizex": image.width, "sizey": image.height, "sizing": "stretch"}
    return {"source": _uri(image), "xref": f"x{suffix}", "yref": f"y{suffix}", "layer": "below", **size}


def _axes(photo: Image.Image, suffix: str, domain: tuple[float, float] = (0.0, 1.0)) -> Mapping[str, Any]:
    plain = {"visible": False, "fixedrange": True, "constrain": "domain"}
    across = {**plain, "range": [0, photo.width], "domain": list(domain)}
    return {f"xaxis{suffix}": across, f"yaxis{suffix}": {**plain, "range": [photo.height, 0], "scaleanchor": f"x{suffix}"}}


def _centres(box: tuple[int, int, int, int], grid_hw: tuple[int, ...]) -> tuple[list[float], list[float]]:
    """Where the cells of a grid over a box have their centres: rows, columns."""
    starts, sides = box[:2], (box[2] - box[0], box[3] - box[1])
    rows, columns = (
        [round(start + (i + 0.5) * side / count, 2) for i in range(count)]
        for start, side, count in zip(starts, sides, grid_hw, strict=True)
    )
    return rows, columns


def _uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
