from __future__ import annotations

from typing import Any

import fiftyone as fo

from fiftyone_resclip.app.layout import with_panel


def grid() -> fo.Panel:
    return fo.Panel(type="Samples", pinned=True)


def names(space: Any) -> Any:
    """Returns the names of the panels, nested as they are."""
    return space.type if isinstance(space, fo.Panel) else [names(child) for child in space.children]


def in_front(space: fo.Space) -> list[str]:
    """Returns the name of the panel in front in each pane."""
    if isinstance(space.children[0], fo.Panel):
        return [panel.type for panel in space.children if panel.component_id == space.active_child]
    return [name for child in space.children for name in in_front(child)]


def test_the_panel_gets_a_column_beside_the_grid() -> None:
    alone = fo.Space(children=[grid()])
    for spaces in (None, alone):
        arranged = with_panel(spaces, fo.Panel(type="runs"), {"runs", "errors"})
        assert names(arranged) == [["Samples"], ["runs"]] and arranged.orientation == "horizontal"
        assert in_front(arranged) == ["Samples", "runs"]


def test_it_takes_the_place_of_those_that_are_closed_and_others_stay() -> None:
    tabs = [grid(), errors := fo.Panel(type="errors"), fo.Panel(type="words")]
    spaces = fo.Space(
        orientation="horizontal",
        sizes=[0.7, 0.3],
        children=[fo.Space(children=tabs, active_child=errors.component_id), fo.Space(children=[fo.Panel(type="runs")])],
    )
    arranged = with_panel(spaces, fo.Panel(type="review"), {"runs", "errors", "review"})
    assert names(arranged) == [["Samples", "words"], ["review"]]
    assert in_front(arranged) == ["Samples", "review"]
    assert arranged.children[0].children[1].component_id == tabs[2].component_id  # so that it keeps its state
    assert names(with_panel(spaces, fo.Panel(type="review"), {"review"})) == [
        ["Samples", "errors", "words"],
        ["runs"],
        ["review"],
    ]


def test_panes_above_each_other_stay_so() -> None:
    above = [fo.Space(children=[grid()]), fo.Space(children=[fo.Panel(type="words")])]
    spaces = fo.Space(orientation="vertical", children=above, sizes=[0.7, 0.3])
    arranged = with_panel(spaces, fo.Panel(type="runs"), {"runs"})
    assert names(arranged) == [[["Samples"], ["words"]], ["runs"]]
    assert (arranged.orientation, arranged.children[0].orientation) == ("horizontal", "vertical")
    assert arranged.children[0].sizes == [0.7, 0.3]
