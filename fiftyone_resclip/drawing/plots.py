"""Builds figures for FiftyOne's plotly view: bars and a matrix. Does not import FiftyOne.

Plotly renders some HTML in its texts, such as links, so all texts from outside are escaped here; see :func:`name_of`.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

#: Colours of a matrix, from few to many, and its ground: bright stands out on dark, in the App's light mode, too.
_MATRIX = [[0, "rgb(59,15,112)"], [0.4, "rgb(182,54,121)"], [0.75, "rgb(251,136,97)"], [1, "rgb(252,253,191)"]]
_GROUND = "rgb(18,16,28)"
#: The least length of a bar, in [0, 1], that has room for its note; that of a shorter one stands beside it.
_ROOM_FOR_NOTE = 0.12


class Figure(NamedTuple):
    """Data and layout for FiftyOne's plotly view."""

    data: list[dict[str, Any]]
    layout: dict[str, Any]


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
    fits = [share >= _ROOM_FOR_NOTE for share in shares]
    inner, outer = ([text if fit == wanted else "" for text, fit in zip(notes, fits, strict=True)] for wanted in (True, False))
    look = {"y": _escaped(names), "orientation": "h"}
    figure = go.Figure()
    figure.add_bar(x=percent, text=_escaped(inner), textposition="inside", marker_color=colours, hoverinfo="text", **look)
    outside = {"text": _escaped(outer), "textposition": "inside", "insidetextanchor": "start"}
    figure.add_bar(x=rest, marker_color="rgba(128,128,128,0.12)", hoverinfo="none", **outside, **look)
    figure.update_xaxes(title_text=title, range=[0, 100], fixedrange=True)
    figure.update_yaxes(type="category", autorange="reversed", automargin=True, fixedrange=True)
    return _plain(figure.update_layout(barmode="stack", showlegend=False, margin={"l": 10, "r": 10, "t": 5, "b": 35}))


def matrix(rows: Sequence[str], columns: Sequence[str], values: NDArray[np.floating], titles: tuple[str, str]) -> Figure:
    """Draws a table of numbers as a heat map, the first row at the top. Its colours have a logarithmic scale; a drag zooms.

    Args:
        rows: row names
        columns: column names
        values: ``(rows, columns)``, at least 0; zeros and NaN stay empty
        titles: titles of the rows and of the columns

    Returns:
        the figure; a click reports the row and column name as ``y`` and ``x``, see :func:`name_of`
    """
    hover = f"{titles[0]}: %{{y}}<br>{titles[1]}: %{{x}}<br>%{{customdata}}<extra></extra>"
    axis = {"type": "category", "automargin": True, "showgrid": False, "dtick": 1}
    shown = np.where(values > 0, values, np.nan)
    powers = np.log10(shown)
    low, high = (math.floor(np.nanmin(powers)), math.ceil(np.nanmax(powers))) if np.isfinite(powers).any() else (0, 0)
    bar = {"tickvals": list(range(low, high + 1)), "ticktext": [f"{10.0**power:,g}" for power in range(low, high + 1)]}
    cells = {"z": _numbers(powers), "customdata": _numbers(shown), "x": _escaped(columns), "y": _escaped(rows)}
    look = {"colorscale": _MATRIX, "colorbar": bar, "hovertemplate": hover, "hoverongaps": False, "xgap": 1, "ygap": 1}
    figure = go.Figure(go.Heatmap(**cells, **look))
    figure.update_xaxes(title_text=titles[1], tickangle=-45, **axis)
    figure.update_yaxes(title_text=titles[0], autorange="reversed", **axis)
    return _plain(figure.update_layout(margin={"l": 10, "r": 10, "t": 30, "b": 10}, plot_bgcolor=_GROUND))


def name_of(clicked: str) -> str:
    """Returns the name behind the text that a click on :func:`bars` or :func:`matrix` reports."""
    return html.unescape(clicked.replace("<br>", "\n"))


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
