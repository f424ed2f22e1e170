"""Fields and runs that others delete, rename or change while a run is under way, or that a killed process left half cleared."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import pytest
from bson import ObjectId

import fiftyone_resclip as resclip
from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.labeling.label import iter_label, label
from fiftyone_resclip.labeling.runs import LabelRun
from fiftyone_resclip.model import ResCLIPModel, load_model
from tests.faults import processes

MakeDataset = Callable[..., fo.Dataset]
WORDS = "red cloth,snow"
LABEL = "label(dataset, model, 'pred')"


def model_of(*classes: str) -> ResCLIPModel:
    return load_model("resclip-tiny", classes or WORDS.split(","), sfr=None, device="cpu")


def samples_of(dataset: fo.Dataset) -> Any:
    return fo.core.odm.get_db_conn()[dataset._sample_collection_name]


@pytest.mark.slow
def test_a_handle_from_before_another_process_labelled_knows_the_run(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(3)
    processes.run(
        "dataset.add_sample_field('pred', fo.EmbeddedDocumentField, embedded_doc_type=fo.Segmentation)", dataset.name, WORDS
    )
    dataset.reload()
    processes.run("label(dataset[:2], model, 'pred')", dataset.name, WORDS)
    assert resclip.load_run(dataset, "pred").label_field == "pred"
    assert label(dataset, model_of(), "pred").labelled == 1
    processes.run("from fiftyone_resclip import rename_run; rename_run(dataset, 'pred', 'other')", dataset.name, WORDS)
    assert label(dataset, model_of(), "pred").skipped == 3
    assert [run.key for run in resclip.list_runs(dataset)] == ["other"]


def test_notes_on_a_field_by_others_are_kept(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(2)
    dataset.add_sample_field("pred", fo.EmbeddedDocumentField, embedded_doc_type=fo.Segmentation)
    note = "field = dataset.get_field('pred'); field.info = {'by': 'hand'}; field.save()"
    processes.run(note, dataset.name, WORDS)
    label(dataset, model_of(), "pred")
    dataset.reload()
    assert dataset.get_field("pred").info == {"by": "hand", "resclip_run": "pred"}


def test_a_field_deleted_under_two_shards_is_called_deleted(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(16)
    first, second = (iter_label(dataset, model_of(), "pred", shard=(index, 2), batch_size=1) for index in range(2))
    for steps in (first, second):
        for _ in range(3):
            next(steps)
    mine = samples_of(dataset).find_one({"pred._id": {"$exists": True}})["pred"]
    processes.run("dataset.delete_sample_field('pred')", dataset.name, WORDS)
    others = [ObjectId(sample) for sample in dataset.values("id")]  # as the other shard's batches that are on their way
    samples_of(dataset).update_many({"_id": {"$in": others[:4]}}, {"$set": {"pred": mine | {"_id": ObjectId()}}})
    for steps in (first, second):
        with pytest.raises(DatasetError, match="field 'pred' was deleted while it was labelled; label again to start anew"):
            list(steps)
    assert [run.state for run in resclip.list_runs(dataset)] == ["field deleted"]


def test_a_field_renamed_in_the_middle_is_called_renamed(make_dataset: MakeDataset, tmp_path: Path) -> None:
    dataset = make_dataset(8)
    steps = iter_label(dataset, model_of(), "pred", batch_size=1, output_dir=tmp_path / "masks")
    for _ in range(3):
        next(steps)
    processes.run("dataset.rename_sample_field('pred', 'better')", dataset.name, WORDS)
    with pytest.raises(DatasetError, match="'pred' was renamed to 'better' while it was labelled; label 'better' to go on"):
        list(steps)
    (run,) = resclip.list_runs(dataset)
    assert (run.label_field, run.state) == ("better", "killed")
    dataset.reload()
    assert label(dataset, model_of(), "better", output_dir=tmp_path / "masks").total < 8
    assert dataset.count("better") == 8
    assert {str(path) for path in (tmp_path / "masks").rglob("*") if path.is_file()} == set(dataset.values("better.mask_path"))


def test_a_run_deleted_in_the_middle_is_called_deleted(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(6)
    steps = iter_label(dataset, model_of(), "pred", batch_size=1)
    for _ in range(3):
        next(steps)
    processes.run("dataset.delete_run('pred')", dataset.name, WORDS)
    with pytest.raises(DatasetError, match="labelling run 'pred' was deleted while it ran; 6 masks without a record remain"):
        list(steps)
    assert dataset.count("pred") == 6
    assert label(dataset, model_of(), "pred", overwrite="pred").labelled == 6


@pytest.mark.slow
@pytest.mark.parametrize(("words", "goes_on"), [(WORDS, True), ("gravel,snow", False)])
def test_a_process_killed_while_it_clears_leaves_no_finished_run(make_dataset: MakeDataset, words: str, goes_on: bool) -> None:
    dataset = make_dataset(4)
    label(dataset, model_of(), "pred")
    killed = processes.start(
        """
        import signal
        from fiftyone_resclip.fields import schema
        schema.declare_field = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
        label(dataset, model, "pred", overwrite=True)
        """,
        dataset.name,
        words,
    )
    killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL
    dataset.reload()
    (run,) = resclip.list_runs(dataset)
    assert dataset.count("pred") == 0
    assert (run.state, run.passes[-1]["labelled"]) == ("killed", 0)
    assert label(dataset, model_of(*words.split(",")), "pred", overwrite=not goes_on).labelled == 4
    assert [run.state for run in resclip.list_runs(dataset)] == ["finished"]


def test_a_mended_file_is_no_failure_any_more(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(4)
    paths = dataset.values("filepath")
    content = [Path(path).read_bytes() for path in paths[:2]]
    for path in paths[:2]:
        Path(path).write_bytes(b"nothing")

    def run_after(samples: Any) -> LabelRun:
        label(samples, model_of(), "pred")
        return resclip.load_run(dataset, "pred")

    assert list(run_after(dataset).passes[-1]["failures"]) == paths[:2]
    Path(paths[0]).write_bytes(content[0])
    last = run_after(dataset).passes[-1]
    assert (list(last["failures"]), last["failed"], last["labelled"]) == ([paths[1]], 1, 3)


def test_a_mended_file_of_a_stopped_pass_is_no_failure_any_more(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(6)
    path = dataset.values("filepath")[0]
    content = Path(path).read_bytes()
    Path(path).write_bytes(b"nothing")
    steps = iter_label(dataset, model_of(), "pred", batch_size=1)
    while next(steps).done < 3:
        pass
    steps.close()
    assert list(resclip.load_run(dataset, "pred").passes[-1]["failures"]) == [path]
    Path(path).write_bytes(content)
    label(dataset, model_of(), "pred")
    (only,) = resclip.load_run(dataset, "pred").passes
    assert (only["failures"], only["failed"], only["labelled"]) == ({}, 0, 6)


def test_a_sample_that_a_view_holds_twice_is_labelled_once(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(3)
    report = label(dataset.view().concat(dataset[:2]), model_of(), "pred", batch_size=1)
    assert (report.total, report.labelled, report.skipped, report.gone) == (3, 3, 0, 0)
    last = resclip.load_run(dataset, "pred").passes[-1]
    assert (last["images"], last["labelled"]) == (3, 3)


def test_shards_of_frames_count_each_other(make_dataset: MakeDataset, tmp_path: Path) -> None:
    paths = make_dataset(6).values("filepath")
    dataset = fo.Dataset()
    video = fo.Sample(str(tmp_path / "a.mp4"))
    for number, path in enumerate(paths, start=1):
        video.frames[number] = fo.Frame(filepath=path)
    dataset.add_sample(video)
    try:
        views = [dataset.to_frames(), dataset.to_frames()]
        reports = [label(view, model_of(), "pred", shard=(index, 2), output_dir=tmp_path) for index, view in enumerate(views)]
        assert sum(report.labelled for report in reports) == 6
        (run,) = resclip.list_runs(dataset)
        assert (run.label_field, run.state, run.passes[-1]["labelled"]) == ("frames.pred", "finished", 6)
        resclip.delete_run(dataset, "frames_pred")
        assert not dataset.has_frame_field("pred")
        assert not list(tmp_path.rglob("*-*-1.png"))
    finally:
        dataset.delete()
