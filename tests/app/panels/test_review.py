from __future__ import annotations

import threading
import time
from typing import Any

import fiftyone as fo
import numpy as np
import pytest

from fiftyone_resclip.app.operators.use_kept import UseKept
from fiftyone_resclip.app.operators.verdicts import Discard, FixLater, Keep, UndoReview
from fiftyone_resclip.app.panels.review import Review
from fiftyone_resclip.explore import review
from fiftyone_resclip.explore.improvement import Improvement, learn_kept
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


def press(dataset: fo.Dataset, make_panel: Any, key: str, request: dict[str, Any] | None = None) -> Any:
    seen = make_panel(dataset, request)
    Review().render(seen)
    context = make_panel(dataset, request, {"value": key}, **seen.panel_state)
    Review().on_key(context)
    return context


def test_keys_go_from_one_open_sample_to_the_next(dataset: fo.Dataset, make_panel: Any) -> None:
    for key in ("k", "kd", "F", "x"):
        press(dataset, make_panel, key)
    assert verdicts(dataset) == ["keep", "discard", "fix later", None]
    press(dataset, make_panel, "u")
    assert verdicts(dataset) == ["keep", "discard", None, None]
    parts = Review().render(make_panel(dataset)).type.properties
    assert {"counts", "key", "picture", "uses"} <= set(parts)


def test_a_key_that_arrives_several_times_counts_once(
    dataset: fo.Dataset, make_panel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    revision = review.revision

    def slow_revision(*args: Any) -> int:
        found = revision(*args)
        time.sleep(0.1)  # so that the other threads find the same number
        return found

    monkeypatch.setattr(review, "revision", slow_revision)
    seen = make_panel(dataset)
    Review().render(seen)
    contexts = [make_panel(dataset, None, {"value": "k"}, **seen.panel_state) for _ in range(4)]
    threads = [threading.Thread(target=Review().on_key, args=[context]) for context in contexts[:3]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    Review().on_key(contexts[3])
    assert verdicts(dataset) == ["keep", None, None, None]
    Review().on_key(make_panel(dataset, None, {"value": ""}, **{**seen.panel_state, "typed": "k"}))  # backspace
    assert verdicts(dataset) == ["keep", None, None, None]


def test_in_the_modal_the_next_open_sample_is_opened(dataset: fo.Dataset, make_panel: Any) -> None:
    ids = dataset.values("id")
    context = press(dataset, make_panel, "k", {"current_sample": ids[1]})
    assert verdicts(dataset) == [None, "keep", None, None]
    assert dict(asked(context))["open_sample"]["id"] == ids[0]


def test_without_masks_it_says_what_to_do(make_dataset: MakeDataset, make_panel: Any) -> None:
    dataset = make_dataset(1)
    dataset.delete_sample_field("ground_truth")
    parts = Review().render(make_panel(dataset)).type.properties
    assert parts["problem"].view.label == "there are no masks to review yet; run 'ResCLIP: segment' first"
    dataset.add_sample_field("done", fo.EmbeddedDocumentField, embedded_doc_type=fo.Segmentation)
    assert "picture" not in Review().render(make_panel(dataset)).type.properties


def test_kept_masks_can_improve_the_rest(dataset: fo.Dataset, make_panel: Any) -> None:
    parts = Review().render(make_panel(dataset)).type.properties
    assert set(parts["uses"].type.properties) == {"use"}
    press(dataset, make_panel, "k")
    parts = Review().render(make_panel(dataset)).type.properties
    assert set(parts["uses"].type.properties) == {"use", "improve"}
    context = make_panel(dataset)
    Review().on_improve(context)
    prompt = dict(asked(context))["prompt_user_for_operation"]
    assert prompt["operator_uri"] == "@fiftyone-resclip/resclip/improve"
    assert prompt["params"] == {"label_field": "resclip", "panel_id": "review"}


def test_improved_masks_are_shown_beside_the_earlier_ones(
    make_dataset: MakeDataset, fast_model: ResCLIPModel, make_panel: Any
) -> None:
    dataset = make_dataset(3)
    label(dataset, fast_model, "pred", progress=False)
    review.mark(dataset, "pred", dataset.values("id")[:1], "keep")
    plan = Improvement.of(dataset, "pred")
    list(plan.iter_label(learn_kept(fast_model, plan.kept, "pred")))
    parts = Review().render(make_panel(dataset, field="pred_improved")).type.properties
    assert {"before", "picture"} <= set(parts)
    dataset.delete_sample_field("pred")
    parts = Review().render(make_panel(dataset, field="pred_improved")).type.properties
    assert "picture" in parts and "before" not in parts
