from __future__ import annotations

from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from fiftyone.core.odm import get_db_conn

from fiftyone_resclip.app.operators.use_kept import UseKept
from fiftyone_resclip.app.operators.verdicts import Discard, FixLater, Keep, UndoReview
from fiftyone_resclip.app.panels.review import Review
from fiftyone_resclip.explore import review
from fiftyone_resclip.explore.improvement import Improvement, iter_learn_kept
from fiftyone_resclip.fields import schema
from fiftyone_resclip.labeling.label import label
from fiftyone_resclip.model import ResCLIPModel
from tests.app.conftest import MakeContext, MakeDataset, asked, labels_of, notices, operator


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> fo.Dataset:
    """Four samples with masks in ``resclip``."""
    dataset = make_dataset(4)
    schema.declare_field(dataset, "resclip", {1: "cloth"})
    dataset.set_values("resclip", [fo.Segmentation(mask=np.eye(8, dtype=np.uint8)) for _ in range(4)])
    return dataset


def verdicts(dataset: fo.Dataset) -> list[str | None]:
    return dataset.values("resclip_review")


def test_every_operator_runs_from_python(installed: None, dataset: fo.Dataset) -> None:
    ids = dataset.values("id")
    assert operator("keep")(dataset, ids[:2]) == 2
    assert operator("discard")(dataset[2:3]) == 1
    assert operator("fix_later")(dataset, ids[3:], "resclip") == 1
    assert verdicts(dataset) == ["keep", "keep", "discard", "fix later"]
    assert operator("use_kept")(dataset) == 2
    assert [label is not None for label in dataset.values("kept")] == [True, True, False, False]
    assert operator("use_kept")(dataset, to_field="shapes", form="polylines") == 2
    assert operator("undo_review")(dataset) == "field 'shapes' removed"
    assert operator("stop")(dataset) == 0


def test_verdicts_go_to_the_open_sample_or_the_selected_ones(dataset: fo.Dataset, make_context: MakeContext) -> None:
    ids = dataset.values("id")
    Keep().execute(make_context(dataset, {"selected": ids[:2], "active_fields": ["resclip"]}))
    Discard().execute(make_context(dataset, {"selected": ids[:2], "current_sample": ids[2]}, label_field="resclip"))
    last = make_context(dataset, {"selected": ids[3:]})
    FixLater().execute(last)
    assert verdicts(dataset) == ["keep", "keep", "discard", "fix later"]
    assert notices(last) == [("success", "fix later: 1 of 1 samples, field 'resclip'")]
    UndoReview().execute(make_context(dataset))
    assert verdicts(dataset) == ["keep", "keep", "discard", None]
    nothing = make_context(dataset)
    Keep().execute(nothing)
    assert notices(nothing) == [("error", "open or select the samples to review")]


def test_kept_labels_are_copied_by_form(dataset: fo.Dataset, make_context: MakeContext) -> None:
    review.mark(dataset, "resclip", dataset.values("id")[1:3], "keep")
    assert labels_of(UseKept().resolve_input(make_context(dataset)))["preview"] == "Kept labels: 2"
    context = make_context(dataset, to_field="shapes", form="detections", instances=False)
    UseKept().execute(context)
    assert notices(context) == [("success", "2 kept labels are now in 'shapes'")]
    assert dict(asked(context))["set_active_fields"] == {"fields": ["shapes"]}
    assert [value is not None for value in dataset.values("shapes")] == [False, True, True, False]
    again = make_context(dataset, to_field="shapes", form="detections")
    UseKept().execute(again)
    assert notices(again) == [("error", "field 'shapes' already exists; choose a new one")]


@pytest.fixture
def make_panel(make_context: MakeContext) -> Any:
    """Builds contexts of the panel with a state."""

    def make(view: Any, request: dict[str, Any] | None = None, params: dict[str, Any] | None = None, **state: Any) -> Any:
        return make_context(view, request, **{"panel_id": "review", "panel_state": state, **(params or {})})

    return make


def component(context: Any) -> dict[str, Any]:
    """Returns what the panel gives to its component."""
    view: dict[str, Any] = Review().render(context).type.properties["masks"].view.to_json()
    return view


def type_keys(dataset: fo.Dataset, make_panel: Any, keys: str, session: str) -> Any:
    """Types keys as the component does: each is meant for the next sample."""
    context = make_panel(dataset)
    view = component(context)
    ids = Review().on_ahead(make_panel(dataset, None, {"field": view["field"], "after": None, "without": []}))["ids"]
    actions = [view["keys"][key] for key in keys]
    verdicts = [
        {"number": number, "field": view["field"], "action": action, "samples": [] if action == "undo" else [ids.pop(0)]}
        for number, action in enumerate(actions, start=1)
    ]
    context = make_panel(dataset, None, {"session": session, "verdicts": verdicts})
    assert Review().on_verdicts(context) == {}
    return context


def test_keys_go_to_the_samples_that_they_were_meant_for(dataset: fo.Dataset, make_panel: Any) -> None:
    type_keys(dataset, make_panel, "kdf", "keys")
    assert verdicts(dataset) == ["keep", "discard", "fix later", None]
    assert component(make_panel(dataset))["counts"] == {"keep": 1, "discard": 1, "fix later": 1, "open": 1}
    context = type_keys(dataset, make_panel, "uuuu", "undo")
    assert verdicts(dataset) == [None] * 4
    assert [text for _, text in notices(context)] == ["verdict on 1 sample undone", "There is nothing to undo"]


def test_the_samples_ahead_are_those_without_a_verdict_that_the_component_does_not_know(
    dataset: fo.Dataset, make_panel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = dataset.values("id")
    review.mark(dataset, "resclip", ids[:1], "keep")
    ahead = {"field": "resclip", "after": None, "without": ids[1:2]}
    assert Review().on_ahead(make_panel(dataset, None, ahead)) == {"ids": ids[2:], "complete": True}
    assert Review().on_ahead(make_panel(dataset.limit(3), None, ahead)) == {"ids": ids[2:3], "complete": True}
    onwards = Review().on_ahead(make_panel(dataset, None, {"field": "resclip", "after": ids[2], "without": []}))
    assert onwards["ids"] == [ids[3], ids[1], ids[2]]  # and then those before it
    elsewhere = Review().on_ahead(make_panel(dataset[3:], None, {"field": "resclip", "after": ids[2], "without": []}))
    assert elsewhere["ids"] == ids[3:]
    monkeypatch.setattr("fiftyone_resclip.app.panels.review._AHEAD", 1)
    assert Review().on_ahead(make_panel(dataset, None, ahead)) == {"ids": ids[2:3], "complete": False}
    (picture,) = Review().on_pictures(make_panel(dataset, None, {"field": "resclip", "ids": ids[2:3]}))["pictures"]
    assert picture["id"] == ids[2] and picture["masks"][0]["title"] == "resclip"


def test_the_component_is_told_what_is_open_selected_or_changed(dataset: fo.Dataset, make_panel: Any) -> None:
    ids = dataset.values("id")
    assert component(make_panel(dataset))["chosen"] == []
    assert component(make_panel(dataset, {"selected": ids[:2]}))["chosen"] == ids[:2]
    assert component(make_panel(dataset, {"selected": ids[:2], "current_sample": ids[3]}))["chosen"] == ids[3:]
    scopes = [component(make_panel(view, None, None, field=field))["scope"] for view, field in (
        (dataset, None), (dataset, "resclip"), (dataset.limit(2), None), (dataset, "ground_truth")
    )]  # fmt: skip
    assert scopes[0] == scopes[1] and len({*scopes}) == 3


def test_mistakes_are_answered_in_a_sentence(dataset: fo.Dataset, make_panel: Any) -> None:
    bad = {
        "session": "bad",
        "verdicts": [{"number": 1, "field": "resclip", "action": "maybe", "samples": dataset.values("id")[:1]}],
    }
    assert "verdict 'maybe' is unknown" in Review().on_verdicts(make_panel(dataset, None, bad))["problem"]
    gone = Review().on_ahead(make_panel(dataset, None, {"field": "gone", "after": None, "without": []}))
    assert gone == {"problem": "there is no field 'gone' of masks to review"}


def test_predictions_are_chosen_first_and_the_field_of_the_latest_verdict_is_remembered(
    dataset: fo.Dataset, make_panel: Any
) -> None:
    dataset.info["resclip_error_masks"] = {"wrong": []}
    schema.declare_field(dataset, "wrong", {1: "right"})
    assert component(make_panel(dataset))["field"] == "resclip"
    assert Review().render(make_panel(dataset)).type.properties["field"].type.values == ["resclip", "ground_truth"]
    review.mark(dataset, "ground_truth", dataset.values("id")[:1], "keep")
    assert component(make_panel(dataset))["field"] == "ground_truth"
    assert component(make_panel(dataset, None, None, field="resclip"))["field"] == "resclip"
    assert component(make_panel(dataset, None, None, field="gone"))["field"] == "ground_truth"


def everything_stored() -> dict[str, Any]:
    """Returns all documents of the database, apart from the time that FiftyOne notes when it loads a dataset."""
    database, loaded = get_db_conn(), {"last_loaded_at": 0}
    return {name: sorted(map(str, database[name].find({}, loaded))) for name in sorted(database.list_collection_names())}


def test_opening_the_panel_writes_nothing(dataset: fo.Dataset, make_panel: Any) -> None:
    component(make_panel(dataset))
    before = everything_stored()
    context = make_panel(dataset)
    Review().on_load(context)
    view = component(context)
    ids = Review().on_ahead(make_panel(dataset, None, {"field": view["field"], "after": None, "without": []}))["ids"]
    Review().on_pictures(make_panel(dataset, None, {"field": view["field"], "ids": ids}))
    assert everything_stored() == before
    type_keys(dataset, make_panel, "k", "writes")
    assert everything_stored() != before


def test_without_masks_it_says_what_to_do(make_dataset: MakeDataset, make_panel: Any) -> None:
    dataset = make_dataset(1)
    dataset.delete_sample_field("ground_truth")
    parts = Review().render(make_panel(dataset)).type.properties
    assert parts["problem"].view.label == "there are no masks to review yet; run 'ResCLIP: segment' first"
    dataset.add_sample_field("done", fo.EmbeddedDocumentField, embedded_doc_type=fo.Segmentation)
    assert component(make_panel(dataset))["counts"]["open"] == 0


def test_kept_masks_can_improve_the_rest(dataset: fo.Dataset, make_panel: Any) -> None:
    parts = Review().render(make_panel(dataset)).type.properties
    assert "uses" not in parts and "Kept masks can be copied" in parts["later"].default
    type_keys(dataset, make_panel, "k", "improve")
    parts = Review().render(make_panel(dataset)).type.properties
    assert set(parts["uses"].type.properties) == {"use", "improve", "export"}
    context = make_panel(dataset)
    Review().on_improve(context)
    prompt = dict(asked(context))["prompt_user_for_operation"]
    assert prompt["operator_uri"] == "@fiftyone-resclip/resclip/improve"
    assert prompt["params"] == {"label_field": "resclip", "panel_id": "review"}
    context = make_panel(dataset)
    Review().on_export(context)
    prompt = dict(asked(context))["prompt_user_for_operation"]
    assert prompt["operator_uri"] == "@fiftyone-resclip/resclip/export"
    assert prompt["params"] == {"label_field": "resclip", "kept": True}


def test_improved_masks_are_shown_beside_the_earlier_ones(
    make_dataset: MakeDataset, fast_model: ResCLIPModel, make_panel: Any
) -> None:
    dataset = make_dataset(3)
    label(dataset, fast_model, "pred", progress=False)
    review.mark(dataset, "pred", dataset.values("id")[:1], "keep")
    plan = Improvement.of(dataset, "pred")
    *_, learned = iter_learn_kept(fast_model, plan.kept, "pred")
    assert learned.model is not None
    list(plan.iter_label(learned.model))
    context = make_panel(dataset, None, {"field": "pred_improved", "ids": dataset.values("id")[1:2]})
    (picture,) = Review().on_pictures(context)["pictures"]
    assert [mask["title"] for mask in picture["masks"]] == ["pred", "pred_improved"]
    dataset.delete_sample_field("pred")
    (picture,) = Review().on_pictures(context)["pictures"]
    assert [mask["title"] for mask in picture["masks"]] == ["pred_improved"]
