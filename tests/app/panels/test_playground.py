from __future__ import annotations

from typing import Any

import fiftyone as fo
import pytest
from fiftyone.operators.executor import ExecutionContext

from fiftyone_resclip.app import models
from fiftyone_resclip.app.panels.playground import Playground
from fiftyone_resclip.explore import saved_vocabularies
from tests.app.conftest import MakeContext, MakeDataset, asked, notices


def shown(context: ExecutionContext) -> dict[str, Any]:
    return dict(Playground().render(context).type.properties)


@pytest.fixture
def make_panel(make_context: MakeContext) -> Any:
    """Builds contexts of the panel with a state."""

    def make(view: Any, request: dict[str, Any] | None = None, params: dict[str, Any] | None = None, **state: Any) -> Any:
        given = {"panel_id": "words", "panel_state": {"model": "resclip-tiny", **state}, **(params or {})}
        return make_context(view, request, **given)

    return make


def test_it_opens_with_a_model_that_needs_no_download_and_a_hint(make_dataset: MakeDataset, make_panel: Any) -> None:
    context = make_panel(make_dataset(1), model=None)
    Playground().on_load(context)
    assert context.panel_state["model"] == "resclip-tiny"
    assert "hint" in shown(context) and "picture" not in shown(context)
    waiting = shown(make_panel(make_dataset(1), model="resclip-vit-b-16", classes="snow"))
    assert "download" in waiting and "picture" not in waiting


def test_words_give_picture_legend_and_after_a_click_attention(make_dataset: MakeDataset, make_panel: Any) -> None:
    dataset = make_dataset(2)
    context = make_panel(dataset, classes="cloth, snow", params={"x": 30.0, "y": 20.0})
    parts = shown(context)
    assert {"picture", "legend", "apply"} <= set(parts) and "attention" not in parts and "problem" not in parts
    Playground().on_point(context)
    assert "attention" in shown(context)
    runs = models.playground("resclip-tiny").trunks.runs
    other = shown(make_panel(dataset, classes="red cloth, gravel", tune=True, sfr_mix=0.2, layer="phrases"))
    assert models.playground("resclip-tiny").trunks.runs == runs
    assert other["picture"].view.layout["images"] != parts["picture"].view.layout["images"]


def test_it_shows_the_open_the_selected_or_the_first_sample(make_dataset: MakeDataset, make_panel: Any) -> None:
    dataset = make_dataset(3)
    ids = dataset.values("id")
    pictures = [
        shown(make_panel(dataset, request, classes="cloth, snow"))["picture"].view.layout["images"][0]["source"]
        for request in ({}, {"selected": [ids[1]]}, {"selected": [ids[1]], "current_sample": ids[2]}, {"current_sample": ids[0]})
    ]
    assert pictures[0] == pictures[3]
    assert len(set(pictures)) == 3


def test_mistakes_and_videos_are_declined_in_a_sentence(make_dataset: MakeDataset, make_panel: Any) -> None:
    dataset = make_dataset(1)
    assert "'road' is there twice" in shown(make_panel(dataset, classes="road, road"))["problem"].view.label
    videos = fo.Dataset()
    videos.add_sample(fo.Sample("/nowhere/a.mp4"))
    problem = shown(make_panel(videos, classes="road"))["problem"].view.label
    assert "shows images, but this sample has type 'video'" in problem
    videos.delete()


def test_a_slice_of_a_group_is_shown(make_dataset: MakeDataset, make_panel: Any) -> None:
    dataset = fo.Dataset()
    dataset.add_group_field("group", default="left")
    group = fo.Group()
    for sample, name in zip(make_dataset(2), ("left", "right"), strict=True):
        dataset.add_sample(fo.Sample(sample.filepath, group=group.element(name)))
    right = dataset.select_group_slices("right").first().id
    sources = [
        shown(make_panel(dataset, request, classes="cloth, snow"))["picture"].view.layout["images"][0]["source"]
        for request in ({"group_slice": "left"}, {"group_slice": "right"}, {"group_slice": "right", "current_sample": right})
    ]
    assert sources[0] != sources[1] == sources[2]
    dataset.delete()


def test_two_hundred_classes_and_one(make_dataset: MakeDataset, make_panel: Any) -> None:
    dataset = make_dataset(1)
    many = ", ".join(f"thing {number}" for number in range(200))
    parts = shown(make_panel(dataset, classes=many, mode="fast"))
    assert len(parts["legend"].view.data[0]["y"]) == 12
    assert "more" in parts
    assert shown(make_panel(dataset, classes="snow"))["legend"].view.data[0]["x"] == [100.0]


def test_words_are_saved_and_handed_to_segment(make_dataset: MakeDataset, make_panel: Any) -> None:
    dataset = make_dataset(1)
    context = make_panel(dataset, classes="car: car, taxi\nsky", name="streets", tune=True, prob_threshold=0.4, mode="fast")
    Playground().on_save(context)
    assert saved_vocabularies.load("streets").phrases == (("car", "taxi"), ("sky",))
    Playground().on_apply(context)
    request = dict(asked(context))["prompt_user_for_operation"]
    assert request["operator_uri"] == "@fiftyone-resclip/resclip/segment"
    assert request["params"] == {
        "classes": "car: car, taxi\nsky", "model": "resclip-tiny", "mode": "fast", "tune": True, "prob_threshold": 0.4,
    }  # fmt: skip
    nameless = make_panel(dataset, classes="sky")
    Playground().on_save(nameless)
    assert notices(nameless) == [("error", "a saved vocabulary needs a name, but the name is empty")]
