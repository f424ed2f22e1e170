from __future__ import annotations

from pathlib import Path

from fiftyone_resclip.app.operators.runs import Runs
from fiftyone_resclip.labeling.label import label
from fiftyone_resclip.labeling.runs import list_runs
from fiftyone_resclip.model import load_model
from tests.app.conftest import MakeContext, MakeDataset, labels_of, notices


def facts(context: object) -> str:
    form = Runs().resolve_input(context)
    return str(form.type.properties["facts"].default)


def test_a_run_is_shown_compared_renamed_and_deleted(make_dataset: MakeDataset, make_context: MakeContext) -> None:
    dataset = make_dataset(2)
    Path(dataset.first().filepath).write_bytes(b"nothing")
    label(dataset, load_model("resclip-tiny", {"cloth": ["red cloth", "blue cloth"], "snow": ["snow"]}, device="cpu"), "one")
    label(dataset, load_model("resclip-tiny", ["cloth", "gravel"], strategy="sclip", sfr=None, device="cpu"), "two")
    shown = facts(make_context(dataset, run="one"))
    assert "1 of 2 images labelled, 1 failed" in shown
    assert "cloth: red cloth, blue cloth; snow" in shown
    assert "must be a readable image" in shown
    assert "those of the model" in shown
    assert "strategy 'sclip'" in facts(make_context(dataset, run="two"))
    compared = facts(make_context(dataset, run="one", action="compare", other="two"))
    assert "'naclip' / 'sclip'" in compared
    renamed = make_context(dataset, run="one", action="rename", new_key="first")
    Runs().execute(renamed)
    assert notices(renamed) == [("success", "Run 'one' is now called 'first'")]
    unsure = make_context(dataset, run="two", action="delete")
    assert Runs().resolve_input(unsure).type.properties["sure"].invalid
    Runs().execute(unsure)
    assert notices(unsure) == [("error", "run 'two' was not deleted, because the box was not ticked")]
    deleted = make_context(dataset, run="two", action="delete", sure=True)
    assert not Runs().resolve_input(deleted).type.properties["sure"].invalid
    Runs().execute(deleted)
    assert notices(deleted) == [("success", "Run 'two' and its field 'two' are deleted")]
    assert [(run.key, run.label_field) for run in list_runs(dataset)] == [("first", "one")]
    gone = make_context(dataset, run="two", action="delete", sure=True)
    Runs().execute(gone)
    assert notices(gone)[0][0] == "error"


def test_without_runs_the_form_says_what_makes_one(make_dataset: MakeDataset, make_context: MakeContext) -> None:
    form = Runs().resolve_input(make_context(make_dataset(1)))
    assert labels_of(form) == {"problem": "there is no labelling run yet; ResCLIP: segment makes one"}
