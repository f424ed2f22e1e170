"""A class has one colour in all fields of a dataset, and what the user chose stays."""

from __future__ import annotations

from collections.abc import Iterator

import fiftyone as fo
import numpy as np
import pytest

from fiftyone_resclip.fields import schema
from fiftyone_resclip.fields.colour_scheme import class_colours, colours_of, completed


@pytest.fixture
def dataset() -> Iterator[fo.Dataset]:
    dataset = fo.Dataset()
    dataset.add_sample(fo.Sample("/nowhere/a.png", gt=fo.Segmentation(mask=np.ones((2, 2), np.uint8))))
    dataset.mask_targets = {"gt": {1: "road", 2: "car", 255: "void"}}
    dataset.save()
    yield dataset
    dataset.delete()


def test_ground_truth_and_predictions_share_the_colours_of_their_classes(dataset: fo.Dataset) -> None:
    schema.declare_field(dataset, "pred", {1: "car", 2: "sky", 3: "road"})
    truth, predicted = colours_of(dataset, "gt"), colours_of(dataset, "pred")
    assert {name: truth[name] for name in ("car", "road")} == {name: predicted[name] for name in ("car", "road")}
    assert len({*truth.values(), *predicted.values()}) == 4
    dataset.reload()
    assert {entry["path"] for entry in dataset.app_config.color_scheme.fields} == {"gt", "pred"}


def test_an_inserted_word_and_another_order_change_no_colour(dataset: fo.Dataset) -> None:
    schema.declare_field(dataset, "pred", {1: "road", 2: "car"})
    before = colours_of(dataset, "pred")
    schema.declare_field(dataset, "pred", {1: "car", 2: "tree", 3: "road"})
    schema.declare_field(dataset, "other", {1: "tree", 2: "road", 3: "lamp", 4: "car"})
    after, other = colours_of(dataset, "pred"), colours_of(dataset, "other")
    assert {name: after[name] for name in before} == {name: other[name] for name in before} == before
    assert after["tree"] == other["tree"] and len(set(other.values())) == 4


def test_what_the_user_chose_stays_and_holds_everywhere(dataset: fo.Dataset) -> None:
    mine = {"path": "gt", "fieldColor": "#00ff00", "maskTargetsColors": [{"intTarget": 2, "color": "rgb(1, 2, 3)"}]}
    dataset.app_config.color_scheme = fo.ColorScheme(color_by="field", fields=[mine], opacity=0.4, color_pool=["#111111"])
    dataset.save()
    schema.declare_field(dataset, "pred", {1: "car"})
    dataset.reload()
    scheme = dataset.app_config.color_scheme
    entries = {entry["path"]: entry for entry in scheme.fields}
    assert (scheme.opacity, list(scheme.color_pool), scheme.color_by) == (0.4, ["#111111"], "value")
    assert entries["gt"]["fieldColor"] == "#00ff00"
    assert {e["intTarget"]: e["color"] for e in entries["gt"]["maskTargetsColors"]}[2] == "rgb(1, 2, 3)"
    assert colours_of(dataset, "gt").keys() == {"road", "car", "void"}
    assert [dict(each) for each in entries["pred"]["maskTargetsColors"]] == [{"intTarget": 1, "color": "#010203"}]


def test_colours_that_are_masks_values_or_cannot_be_read(dataset: fo.Dataset) -> None:
    dataset.mask_targets = {**dataset.mask_targets, "rgb": {"#0a0b0c": "car"}}
    wrong = {"path": "gt", "maskTargetsColors": [{"intTarget": 1, "color": "#12"}]}
    dataset.app_config.color_scheme = fo.ColorScheme(
        fields=[{"path": "rgb", "maskTargetsColors": [{"intTarget": 9, "color": "red"}]}]
    )
    dataset.app_config.color_scheme.fields.append(wrong)
    colours = class_colours(dataset, ["car", "road"])
    assert colours["car"] == "#0a0b0c" and len(colours["road"]) == 7


def test_completing_saves_nothing(dataset: fo.Dataset) -> None:
    scheme = completed(dataset, ["gt"])
    assert scheme.color_by == "value" and scheme.fields[0]["path"] == "gt"
    dataset.reload()
    assert dataset.app_config.color_scheme is None
    assert class_colours(dataset, ["road"])["road"] == scheme.fields[0]["maskTargetsColors"][0]["color"]


def test_a_deleted_field_takes_its_colours_along(dataset: fo.Dataset) -> None:
    schema.declare_field(dataset, "pred", {1: "tree"})
    schema.forget_field(dataset, "pred")
    assert colours_of(dataset, "pred") == {}
