from __future__ import annotations

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fiftyone_resclip.drawing import plots

PHOTO = Image.new("RGB", (40, 20), (200, 0, 0))
TEXTS = np.array([["a", "b", "c", "d"], ["e", "f", "g", "h"]])
VALUES = np.array([[0.123456, 0.5, np.nan, 1.0], [0.0, 0.25, 0.75, 0.1]], dtype=np.float32)
FIGURES = {
    "covered": plots.covered(PHOTO, Image.new("RGB", (40, 20)), TEXTS),
    "heats": plots.heats(PHOTO, [plots.Heat("one", VALUES, (0, 0, 20, 40), (0, 0))]),
    "bars": plots.bars(("cat", "dog"), np.array([0.25, 0.5]), ("#ff0000", "#00ff00"), ("few", "many")),
    "matrix": plots.matrix(("cat", "dog"), ("a", "b", "c", "d"), VALUES, ("true", "predicted")),
}


def of_type(figure: plots.Figure, kind: str) -> list[dict[str, Any]]:
    return [trace for trace in figure.data if trace["type"] == kind]


def image_in(placed: dict[str, Any]) -> Image.Image:
    start, _, content = placed["source"].partition(",")
    assert start == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


def two_heats() -> plots.Figure:
    return plots.heats(
        PHOTO, [plots.Heat("left", VALUES, (10, 20, 20, 40), (1, 2)), plots.Heat("right", VALUES, (0, 0, 20, 40), (0, 3))]
    )


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_plain_data_of_lists_and_no_template(name: str) -> None:
    data, layout = FIGURES[name]
    assert json.loads(json.dumps([data, layout], allow_nan=False)) == [data, layout]
    assert "bdata" not in json.dumps(data)
    assert "template" not in layout
    assert type(layout) is dict and {type(trace) for trace in data} == {dict}


def test_the_picture_shines_through_its_cover() -> None:
    figure = plots.covered(PHOTO, Image.new("L", (40, 20), 100), TEXTS, opacity=0.25)
    (placed,) = figure.layout["images"]
    with image_in(placed) as blend:
        assert blend.size == (40, 20)
        assert blend.getpixel((7, 7)) == (175, 25, 25)  # three parts (200, 0, 0), one part (100, 100, 100)


def test_the_picture_fills_its_axes_below_what_is_drawn() -> None:
    (placed,) = FIGURES["covered"].layout["images"]
    assert {name: placed[name] for name in ("x", "y", "sizex", "sizey")} == {"x": 0, "y": 0, "sizex": 40, "sizey": 20}
    assert (placed["sizing"], placed["layer"], placed["xref"], placed["yref"]) == ("stretch", "below", "x", "y")


def test_axes_of_a_picture_are_its_pixels_counted_from_the_top() -> None:
    layout = FIGURES["covered"].layout
    assert (layout["xaxis"]["range"], layout["yaxis"]["range"]) == ([0, 40], [20, 0])
    assert (layout["xaxis"]["domain"], layout["yaxis"]["scaleanchor"]) == ([0, 1], "x")
    for axis in (layout["xaxis"], layout["yaxis"]):
        assert (axis["visible"], axis["fixedrange"], axis["constrain"]) == (False, True, "domain")


def test_texts_lie_where_their_cells_have_their_centres() -> None:
    (grid,) = FIGURES["covered"].data
    assert grid["x"] == [5, 15, 25, 35]
    assert grid["y"] == [5, 15]
    assert grid["text"] == [["a", "b", "c", "d"], ["e", "f", "g", "h"]]
    assert grid["hoverinfo"] == "text"


def test_the_grid_of_texts_is_not_seen_and_a_drag_does_nothing() -> None:
    (grid,) = FIGURES["covered"].data
    assert np.shape(grid["z"]) == TEXTS.shape
    assert (grid["opacity"], grid["showscale"], FIGURES["covered"].layout["dragmode"]) == (0, False, False)


def test_a_picture_has_no_margin_and_a_heat_map_room_for_its_title() -> None:
    assert FIGURES["covered"].layout["margin"] == {"l": 0, "r": 0, "t": 0, "b": 0}
    assert FIGURES["heats"].layout["margin"] == {"l": 0, "r": 0, "t": 24, "b": 0}
    assert {FIGURES[name].layout["paper_bgcolor"] for name in ("covered", "heats")} == {"rgba(0,0,0,0)"}


def test_cells_of_a_heat_map_lie_in_its_box() -> None:
    left, right = of_type(two_heats(), "heatmap")
    assert (left["x"], left["y"]) == ([22.5, 27.5, 32.5, 37.5], [12.5, 17.5])
    assert (right["x"], right["y"]) == ([5, 15, 25, 35], [5, 15])


def test_centres_are_rounded() -> None:
    (heat,) = of_type(plots.heats(PHOTO, [plots.Heat("", np.zeros((3, 3)), (0, 0, 20, 40), (0, 0))]), "heatmap")
    assert (heat["x"], heat["y"]) == ([6.67, 20, 33.33], [3.33, 10, 16.67])


def test_the_marked_cell_has_a_cross_in_its_middle() -> None:
    left, right = of_type(two_heats(), "scatter")
    assert (left["x"], left["y"]) == ([32.5], [17.5])
    assert (right["x"], right["y"]) == ([35], [5])
    assert (left["mode"], left["marker"]["symbol"], left["hoverinfo"]) == ("markers", "x", "skip")


def test_heat_maps_stand_side_by_side_each_over_the_picture() -> None:
    figure = two_heats()
    assert [(trace["type"], trace["xaxis"], trace["yaxis"]) for trace in figure.data] == [
        ("heatmap", "x", "y"), ("scatter", "x", "y"), ("heatmap", "x2", "y2"), ("scatter", "x2", "y2"),
    ]  # fmt: skip
    assert [(image["xref"], image["yref"]) for image in figure.layout["images"]] == [("x", "y"), ("x2", "y2")]
    assert image_in(figure.layout["images"][1]).getpixel((3, 3)) == (200, 0, 0)
    assert [figure.layout[name]["domain"] for name in ("xaxis", "xaxis2")] == [[0, 0.475], [0.5, 0.975]]
    assert [figure.layout[name]["scaleanchor"] for name in ("yaxis", "yaxis2")] == ["x", "x2"]
    assert [figure.layout[name]["range"] for name in ("xaxis2", "yaxis2")] == [[0, 40], [20, 0]]


def test_titles_stand_on_the_left_above_their_heat_maps() -> None:
    titles = two_heats().layout["annotations"]
    assert [(title["text"], title["xref"], title["yref"]) for title in titles] == [
        ("left", "x domain", "y domain"), ("right", "x2 domain", "y2 domain"),
    ]  # fmt: skip
    assert {(title["x"], title["y"], title["yanchor"], title["showarrow"]) for title in titles} == {(0, 1, "bottom", False)}


def test_values_are_rounded_and_nan_is_left_empty() -> None:
    expected = [[0.1235, 0.5, None, 1.0], [0.0, 0.25, 0.75, 0.1]]
    assert FIGURES["heats"].data[0]["z"] == expected
    assert FIGURES["matrix"].data[0]["z"] == expected


def test_heat_goes_from_black_to_white_without_a_scale_or_a_legend() -> None:
    figure = FIGURES["heats"]
    colours = figure.data[0]["colorscale"]
    assert [colours[0], colours[-1]] == [[0, "rgb(0,0,0)"], [1, "rgb(255,255,255)"]]
    assert (figure.data[0]["opacity"], figure.data[0]["showscale"], figure.layout["showlegend"]) == (0.7, False, False)


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
    assert (bars["text"], bars["hoverinfo"]) == (["few", "many"], "text")
    assert "text" not in rest


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
    assert cells["hovertemplate"] == "true: %{y}<br>predicted: %{x}<br>%{z}<extra></extra>"


def test_the_first_row_of_a_matrix_is_on_top() -> None:
    layout = FIGURES["matrix"].layout
    assert layout["yaxis"]["autorange"] == "reversed" and "autorange" not in layout["xaxis"]
    assert (layout["yaxis"]["title"], layout["xaxis"]["title"]) == ({"text": "true"}, {"text": "predicted"})


def test_a_matrix_has_the_colours_that_plotly_chooses_for_counts() -> None:
    (cells,) = FIGURES["matrix"].data
    assert cells["autocolorscale"] and "colorscale" not in cells  # with neither, plotly goes from blue to red


def test_class_names_that_are_numbers_stay_names() -> None:
    figure = plots.matrix(["1", "2"], ["1", "2"], np.eye(2), ("true", "predicted"))
    assert figure.data[0]["x"] == ["1", "2"]
    assert {figure.layout[axis]["type"] for axis in ("xaxis", "yaxis")} == {"category"}


def test_greys_go_from_black_to_white_and_no_further() -> None:
    image = plots.greys(np.array([[-1.0, 0.0, 0.2, 1.0, 7.0]]))
    assert image.mode == "L"
    assert np.asarray(image).tolist() == [[0, 0, 51, 255, 255]]


def test_names_are_no_html_and_a_click_gives_them_back() -> None:
    names = ["<a href='http://x'>a</a>", "&lt;b&gt;", "cat & dog"]
    bars = plots.bars(names, [0.1] * 3, ["#fff"] * 3, names).data[0]
    matrix = plots.matrix(names, names, np.zeros((3, 3)), ("true", "predicted")).data[0]
    texts = plots.covered(PHOTO, PHOTO, np.array([["<b>\nc"]])).data[0]["text"]
    assert texts == [["&lt;b&gt;<br>c"]]
    for shown in (bars["y"], bars["text"], matrix["x"], matrix["y"]):
        assert not any("<" in text for text in shown)
        assert [plots.name_of(text) for text in shown] == names
