from __future__ import annotations

import json

import numpy as np
import pytest

from fiftyone_resclip.drawing import plots

VALUES = np.array([[0.123456, 0.5, np.nan, 1.0], [0.0, 0.25, 0.75, 0.1]], dtype=np.float32)
FIGURES = {
    "bars": plots.bars(("cat", "dog"), np.array([0.25, 0.5]), ("#ff0000", "#00ff00"), ("few", "many")),
    "matrix": plots.matrix(("cat", "dog"), ("a", "b", "c", "d"), VALUES, ("true", "predicted")),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_plain_data_of_lists_and_no_template(name: str) -> None:
    data, layout = FIGURES[name]
    assert json.loads(json.dumps([data, layout], allow_nan=False)) == [data, layout]
    assert "bdata" not in json.dumps(data)
    assert "template" not in layout
    assert type(layout) is dict and {type(trace) for trace in data} == {dict}


def test_values_are_rounded_and_nan_is_left_empty() -> None:
    assert FIGURES["matrix"].data[0]["customdata"] == [[0.1235, 0.5, None, 1.0], [None, 0.25, 0.75, 0.1]]


def test_the_colours_of_a_matrix_are_logarithmic_and_its_scale_is_not() -> None:
    (cells,) = plots.matrix(("cat",), ("a", "b", "c"), np.array([[1.0, 0.0, 1000.0]]), ("true", "predicted")).data
    assert cells["z"] == [[0.0, None, 3.0]] and cells["customdata"] == [[1.0, None, 1000.0]]
    assert cells["colorbar"]["tickvals"] == [0, 1, 2, 3] and cells["colorbar"]["ticktext"] == ["1", "10", "100", "1,000"]
    (empty,) = plots.matrix(("cat",), ("a",), np.array([[0.0]]), ("true", "predicted")).data
    assert empty["z"] == [[None]]


def test_a_bar_and_its_rest_make_a_whole() -> None:
    figure = plots.bars(["a", "b", "c"], [0.25, 1 / 3, 0.0], ["#ff0000"] * 3, [""] * 3)
    bars, rest = figure.data
    assert bars["x"] == [25, 33.33, 0]
    assert rest["x"] == [75, 66.67, 100]
    assert figure.layout["barmode"] == "stack"
    assert {bars["orientation"], rest["orientation"]} == {"h"}


def test_a_click_on_a_bar_or_on_its_rest_gives_the_name() -> None:
    bars, rest = FIGURES["bars"].data
    assert bars["y"] == rest["y"] == ["cat", "dog"]
    assert rest["hoverinfo"] == "none"  # plotly sends no click for "skip"


def test_bars_have_their_colours_and_notes() -> None:
    bars, rest = FIGURES["bars"].data
    assert bars["marker"]["color"] == ["#ff0000", "#00ff00"]
    notes = [inner + outer for inner, outer in zip(bars["text"], rest["text"], strict=True)]
    assert (notes, bars["hoverinfo"]) == (["few", "many"], "text")


def test_the_note_of_a_short_bar_stands_beside_it() -> None:
    bars, rest = plots.bars(["cat", "dog"], [0.0, 0.5], ["#fff"] * 2, ["0.0", "50.0"]).data
    assert (bars["text"], rest["text"]) == (["", "50.0"], ["0.0", ""])


def test_the_first_bar_is_on_top_and_the_axis_goes_to_a_hundred() -> None:
    layout = plots.bars(["cat"], [0.5], ["#ff0000"], [""], "IoU in %").layout
    assert (layout["yaxis"]["autorange"], layout["yaxis"]["type"]) == ("reversed", "category")
    assert (layout["xaxis"]["range"], layout["xaxis"]["title"]) == ([0, 100], {"text": "IoU in %"})
    assert FIGURES["bars"].layout["xaxis"]["title"] == {"text": "pixels in %"}
    assert layout["xaxis"]["fixedrange"] and layout["yaxis"]["fixedrange"] and not layout["showlegend"]


def test_there_may_be_no_bars() -> None:
    assert [trace["x"] for trace in plots.bars([], [], [], []).data] == [[], []]


def test_a_click_on_a_cell_of_a_matrix_gives_row_and_column() -> None:
    (cells,) = FIGURES["matrix"].data
    assert (cells["y"], cells["x"]) == (["cat", "dog"], ["a", "b", "c", "d"])
    assert cells["hovertemplate"] == "true: %{y}<br>predicted: %{x}<br>%{customdata}<extra></extra>"


def test_the_first_row_of_a_matrix_is_on_top() -> None:
    layout = FIGURES["matrix"].layout
    assert layout["yaxis"]["autorange"] == "reversed" and "autorange" not in layout["xaxis"]
    assert (layout["yaxis"]["title"], layout["xaxis"]["title"]) == ({"text": "true"}, {"text": "predicted"})


def test_more_pixels_are_brighter_on_a_dark_ground() -> None:
    (cells,) = FIGURES["matrix"].data
    scale = [FIGURES["matrix"].layout["plot_bgcolor"], *(colour for _, colour in cells["colorscale"])]
    brightness = [sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(","))) for colour in scale]
    assert brightness == sorted(set(brightness))


def test_class_names_that_are_numbers_stay_names() -> None:
    figure = plots.matrix(["1", "2"], ["1", "2"], np.eye(2), ("true", "predicted"))
    assert figure.data[0]["x"] == ["1", "2"]
    assert {figure.layout[axis]["type"] for axis in ("xaxis", "yaxis")} == {"category"}


def test_names_are_no_html_and_a_click_gives_them_back() -> None:
    names = ["<a href='http://x'>a</a>", "&lt;b&gt;", "cat & dog"]
    bars = plots.bars(names, [0.5] * 3, ["#fff"] * 3, names).data[0]
    matrix = plots.matrix(names, names, np.zeros((3, 3)), ("true", "predicted")).data[0]
    for shown in (bars["y"], bars["text"], matrix["x"], matrix["y"]):
        assert not any("<" in text for text in shown)
        assert [plots.name_of(text) for text in shown] == names
