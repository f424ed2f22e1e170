from __future__ import annotations

from typing import Any

import fiftyone as fo
import numpy as np
import pytest

from fiftyone_resclip.app.operators.evaluate import Evaluate
from fiftyone_resclip.evaluation.evaluate import evaluate
from tests.app.conftest import MakeContext, labels_of, notices, opened_panel, operator

TRUTH, PREDICTED = {1: "vehicle", 2: "person"}, {1: "car", 2: "bus", 3: "person"}


@pytest.fixture
def dataset() -> Any:
    dataset = fo.Dataset()
    dataset.mask_targets = {"ground_truth": TRUTH, "resclip": PREDICTED}
    pairs = [([[1, 1, 2, 2]], [[1, 2, 3, 3]]), ([[1, 1, 2, 255]], [[1, 3, 3, 0]])]
    for index, masks in enumerate(pairs):
        labels = (fo.Segmentation(mask=np.array(mask, np.uint8)) for mask in masks)
        dataset.add_sample(fo.Sample(f"/nowhere/{index}.png", **dict(zip(("ground_truth", "resclip"), labels, strict=True))))
    yield dataset
    dataset.delete()


def form(context: Any) -> dict[str, Any]:
    return labels_of(Evaluate().resolve_input(context))


def test_the_form_shows_the_match_and_what_has_no_partner(dataset: fo.Dataset, make_context: MakeContext) -> None:
    inputs = Evaluate().resolve_input(make_context(dataset)).type.properties
    assert (inputs["pred_field"].default, inputs["gt_field"].default) == ("resclip", "ground_truth")
    assert "1 class in both" in inputs["matched"].default and "person" in inputs["matched"].default
    asked_for = {name: p.view.label for name, p in inputs.items() if name.startswith("class_")}
    assert list(asked_for.values()) == ["car is", "bus is"]
    chosen = dict.fromkeys(asked_for, "vehicle")
    changed = Evaluate().resolve_input(make_context(dataset, **chosen)).type.properties
    assert "never_predicted" not in changed
    assert set(asked_for) <= set(changed)  # otherwise users could not undo a choice
    everything = Evaluate().resolve_input(make_context(dataset, edit_mapping=True)).type.properties
    assert [p.view.label for name, p in everything.items() if name.startswith("class_")] == ["car is", "bus is", "person is"]
    dataset.clone_sample_field("resclip", "other")
    dataset.mask_targets["other"] = PREDICTED
    again = Evaluate().resolve_input(make_context(dataset, pred_field="other", **chosen)).type.properties
    assert "never_predicted" in again  # a choice for one field does not affect another
    assert inputs["eval_key"].default == "resclip_eval"


def test_it_runs_with_the_mapping_of_the_form(dataset: fo.Dataset, make_context: MakeContext) -> None:
    names = [name for name in Evaluate().resolve_input(make_context(dataset)).type.properties if name.startswith("class_")]
    context = make_context(dataset, **dict.fromkeys(names, "vehicle"))
    result = Evaluate().execute(context)
    expected = evaluate(dataset, "resclip", "ground_truth", mapping={"car": "vehicle", "bus": "vehicle"})
    assert result == {
        "eval_key": "resclip_eval",
        "miou": round(expected.miou, 2),
        "pixel_accuracy": round(expected.pixel_accuracy, 2),
    }
    assert dataset.load_evaluation_results("resclip_eval").iou == expected.iou == {"vehicle": 75.0, "person": 75.0}
    assert notices(context)[0][1].startswith("resclip_eval: mIoU 75.00 %, pixel accuracy 85.71 %, 2 images")
    assert opened_panel(context) == ("error_explorer", {"eval_key": "resclip_eval"})


def test_a_taken_name_is_offered_to_be_replaced(dataset: fo.Dataset, make_context: MakeContext) -> None:
    evaluate(dataset, "resclip", "ground_truth", "resclip_eval")
    assert Evaluate().resolve_input(make_context(dataset)).type.properties["eval_key"].default == "resclip_eval_2"
    taken = Evaluate().resolve_input(make_context(dataset, eval_key="resclip_eval")).type.properties
    assert "overwrite" in taken and taken["eval_key"].invalid
    assert "an evaluation 'resclip_eval' already exists" in taken["eval_key"].error_message
    replaced = Evaluate().resolve_input(make_context(dataset, eval_key="resclip_eval", overwrite=True)).type.properties
    assert not replaced["eval_key"].invalid
    context = make_context(dataset, eval_key="resclip_eval")
    assert Evaluate().execute(context) is None
    assert "an evaluation 'resclip_eval' already exists" in notices(context)[0][1]


@pytest.mark.parametrize(("void", "expected"), [("1", (1,)), (" 1, 255", (1, 255)), ("", None), (None, 255), ("255", 255)])
def test_void_values_are_read(dataset: fo.Dataset, make_context: MakeContext, void: str | None, expected: Any) -> None:
    context = make_context(dataset, void=void)
    assert Evaluate().execute(context) is not None
    counted = dataset.load_evaluation_results("resclip_eval").confusion.sum()
    assert counted == evaluate(dataset, "resclip", "ground_truth", ignore_index=expected).confusion.sum()


def test_mistakes_are_said_in_the_form(dataset: fo.Dataset, make_context: MakeContext) -> None:
    for name, value, words in (
        ("void", "sky", "void values must be numbers"),
        ("eval_key", "a b", "must be letters, digits and underscores and not start with a digit, but got 'a b'"),
        ("eval_key", "1st", "must be letters, digits"),
    ):
        inputs = Evaluate().resolve_input(make_context(dataset, **{name: value})).type.properties
        assert inputs[name].invalid and words in inputs[name].error_message
        context = make_context(dataset, **{name: value})
        assert Evaluate().execute(context) is None and words in notices(context)[0][1]
    assert not dataset.list_evaluations()
    assert "problem" not in form(make_context(dataset))
    dataset.mask_targets["resclip"] = {1: "cat"}
    alone = Evaluate().resolve_input(make_context(dataset)).type.properties
    assert alone["never_predicted"].invalid
    dataset.delete_sample_field("resclip")
    assert "needs two fields of masks" in form(make_context(dataset))["problem"]


@pytest.mark.usefixtures("installed")
def test_it_is_called_from_python_with_defaults(dataset: fo.Dataset) -> None:
    results = operator("evaluate")(dataset)
    assert results.unmatched == {"car": 2, "bus": 1}
    assert operator("evaluate")(dataset, eval_key="kept", mapping={"car": "vehicle"}).key == "kept"


def test_the_number_of_images_is_said_and_a_leftover_selection_is_asked_about(
    dataset: fo.Dataset, make_context: MakeContext
) -> None:
    every = Evaluate().resolve_input(make_context(dataset)).type.properties
    assert every["count"].view.label == "2 of 2 images will be evaluated." and "only_selected" not in every
    selected = {"selected": dataset.values("id")[:1]}
    target = {"view_target": "SELECTED_SAMPLES"}
    form = Evaluate().resolve_input(make_context(dataset, selected, **target)).type.properties
    assert form["count"].view.label == "1 of 2 images will be evaluated."
    assert form["only_selected"].invalid and form["only_selected"].view.label == "Yes, only the 1 selected image"
    form = Evaluate().resolve_input(make_context(dataset, selected, **target, only_selected=True)).type.properties
    assert not form["only_selected"].invalid
    form = Evaluate().resolve_input(make_context(dataset, selected, view_target="DATASET")).type.properties
    assert "only_selected" not in form
