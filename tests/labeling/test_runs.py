from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import pytest

import fiftyone_resclip as resclip
from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.labeling.label import iter_label, label
from fiftyone_resclip.model import ResCLIPModel, load_model
from tests.conftest import CLASSES

MakeDataset = Callable[..., fo.Dataset]


@pytest.fixture(scope="module")
def model() -> ResCLIPModel:
    return load_model("resclip-tiny", {"cloth": ["red cloth", "blue cloth"], "snow.$x": ["snow"]}, sfr=None, device="cpu")


def test_a_run_remembers_how_the_masks_were_made(make_dataset: MakeDataset, model: ResCLIPModel) -> None:
    dataset = make_dataset(3)
    broken = dataset.values("filepath")[1]
    Path(broken).write_bytes(b"nothing")
    label(dataset.limit(2), model, "pred")
    (run,) = resclip.list_runs(dataset)
    assert run == resclip.load_run(dataset, "pred")
    assert (run.key, run.label_field, run.state, run.output_dir) == ("pred", "pred", "finished", None)
    assert run.recipe["classes"] == [["cloth", ["red cloth", "blue cloth"]], ["snow.$x", ["snow"]]]
    assert run.recipe["settings"]["sfr"] is None
    assert run.versions["torch"]
    (only,) = run.passes
    assert (only["images"], only["labelled"], only["failed"]) == (2, 1, 1)
    assert list(only["failures"]) == [broken]
    assert "Limit" in only["view"][0]
    assert "1 of 2 images labelled, 1 failed" in str(run)
    label(dataset, model, "pred")
    assert [part["labelled"] for part in resclip.load_run(dataset, "pred").passes] == [1, 2]


def test_a_run_survives_what_fiftyone_does_with_datasets(make_dataset: MakeDataset, model: ResCLIPModel, tmp_path: Path) -> None:
    dataset = make_dataset(2)
    label(dataset[:1], model, "pred")
    dataset.name = "renamed-by-a-test"
    dataset.reload()
    copy = dataset.clone()
    dataset.export(export_dir=str(tmp_path / "out"), dataset_type=fo.types.FiftyOneDataset, export_media=False, progress=False)
    imported = fo.Dataset.from_dir(str(tmp_path / "out"), dataset_type=fo.types.FiftyOneDataset, progress=False)
    dataset.rename_sample_field("pred", "better")
    try:
        for samples, field in ((copy, "pred"), (imported, "pred"), (dataset, "better")):
            assert label(samples, model, field).skipped == 1
            assert [run.state for run in resclip.list_runs(samples)] == ["finished"]
            assert resclip.load_run(samples, "pred").label_field == field
    finally:
        copy.delete()
        imported.delete()


def test_the_copy_of_a_field_is_no_run(make_dataset: MakeDataset, model: ResCLIPModel) -> None:
    dataset = make_dataset(2)
    label(dataset[:1], model, "pred")
    dataset.clone_sample_field("pred", "copy")
    with pytest.raises(DatasetError, match="holds a mask that no labelling run made"):
        label(dataset, model, "copy")
    assert label(dataset, model, "pred").labelled == 1


def test_runs_are_compared(make_dataset: MakeDataset, model: ResCLIPModel) -> None:
    dataset = make_dataset(1)
    label(dataset, model, "one")
    label(dataset, load_model("resclip-tiny", ["cloth", "gravel"], strategy="sclip", sfr=None, device="cpu"), "two")
    assert resclip.compare_runs(dataset, "one", "one") == {}
    assert resclip.compare_runs(dataset, "one", "two") == {
        "settings.strategy": ("naclip", "sclip"),
        "classes": (["cloth", "snow.$x"], ["cloth", "gravel"]),
        "words of 'cloth'": (["red cloth", "blue cloth"], ["cloth"]),
        "words of 'snow.$x'": (["snow"], "nothing"),
        "words of 'gravel'": ("nothing", ["gravel"]),
    }


def test_a_renamed_run_goes_on(make_dataset: MakeDataset, model: ResCLIPModel) -> None:
    dataset = make_dataset(2)
    label(dataset[:1], model, "pred")
    resclip.rename_run(dataset, "pred", "first_try")
    assert label(dataset, model, "pred").labelled == 1
    assert [(run.key, run.label_field) for run in resclip.list_runs(dataset)] == [("first_try", "pred")]
    label(dataset, model, "other")
    for key in ("other", "not a name", ""):
        with pytest.raises(DatasetError, match="the new key must be a name that no run has"):
            resclip.rename_run(dataset, "first_try", key)
    with pytest.raises(DatasetError, match="labelling run 'pred' is unknown"):
        resclip.rename_run(dataset, "pred", "x")


def test_a_run_is_renamed_right_after_its_field(make_dataset: MakeDataset, model: ResCLIPModel) -> None:
    dataset = make_dataset(1)
    label(dataset, model, "pred")
    dataset.rename_sample_field("pred", "kept")
    resclip.rename_run(dataset, "pred", "first_try")
    assert [(run.key, run.label_field) for run in resclip.list_runs(dataset)] == [("first_try", "kept")]


def test_deleting_a_run_removes_its_field_and_files_and_nothing_else(
    make_dataset: MakeDataset, model: ResCLIPModel, tmp_path: Path
) -> None:
    dataset = make_dataset(3)
    for field in ("gone", "stays"):
        label(dataset, model, field, output_dir=tmp_path / "masks")
    copy = dataset.clone()
    try:
        resclip.delete_run(copy, "gone")  # its labels share the files of the original
        assert all(Path(path).is_file() for path in dataset.values("gone.mask_path"))
    finally:
        copy.delete()
    folder = Path(dataset.first().gone.mask_path).parent
    mark = Path(dataset.first().gone.mask_path).stem.partition("-")[2]
    (folder / f"{'0' * 24}-{mark}.png").write_bytes(b"left by a killed run")
    (folder / f".{'0' * 24}-{mark}.elsewhere.1.0123.partial").write_bytes(b"left by a writer that was killed on another machine")
    (folder / "notes.txt").write_text("the user's")
    resclip.delete_run(dataset, "gone")
    assert not dataset.has_field("gone")
    assert "gone" not in dataset.mask_targets
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    assert [run.key for run in resclip.list_runs(dataset)] == ["stays"]
    assert all(Path(path).is_file() for path in dataset.values("stays.mask_path"))
    resclip.delete_run(dataset, "stays")
    assert sorted(path.name for path in (tmp_path / "masks").rglob("*") if path.is_file()) == ["notes.txt"]


def test_a_run_that_is_under_way_is_not_deleted(make_dataset: MakeDataset, model: ResCLIPModel) -> None:
    dataset = make_dataset(3)
    steps = iter_label(dataset, model, "pred", batch_size=1)
    next(steps)
    next(steps)
    assert [run.state for run in resclip.list_runs(dataset)] == ["running"]
    with pytest.raises(DatasetError, match="labelling run 'pred' can't be deleted while process"):
        resclip.delete_run(dataset, "pred")
    steps.close()
    assert [run.state for run in resclip.list_runs(dataset)] == ["stopped"]
    resclip.delete_run(dataset, "pred")
    assert resclip.list_runs(dataset) == []


def test_runs_of_others_are_not_ours(make_dataset: MakeDataset, model: ResCLIPModel) -> None:
    dataset = make_dataset(1)
    dataset.register_run("pred", dataset.init_run(method="somebody else's"))
    label(dataset, model, "pred")
    assert [run.key for run in resclip.list_runs(dataset)] == ["pred_2"]
    assert set(dataset.list_runs()) == {"pred", "pred_2"}


def test_an_evaluation_of_the_same_name_leaves_the_run_alone(make_dataset: MakeDataset, model: ResCLIPModel) -> None:
    dataset = make_dataset(1)
    label(dataset, load_model("resclip-tiny", list(CLASSES), sfr=None, device="cpu"), "same")
    for _ in range(2):
        resclip.evaluate(dataset, "same", "ground_truth", "same", overwrite=True)
    assert [run.key for run in resclip.list_runs(dataset)] == ["same"]
    dataset.reload()
    assert [run.key for run in resclip.list_runs(dataset)] == ["same"]


@pytest.mark.parametrize("name", ["a.b", "x.", "_x", "$x", "frames.x", "a\0b", "", None])
def test_names_that_can_not_be_are_refused_in_a_sentence(make_dataset: MakeDataset, model: ResCLIPModel, name: Any) -> None:
    dataset = make_dataset(1)
    with pytest.raises(DatasetError, match="name"):
        label(dataset, model, name)
    for act in (resclip.load_run, resclip.delete_run, lambda samples, key: resclip.rename_run(samples, key, "new")):
        with pytest.raises(DatasetError, match="unknown|name"):
            act(dataset, name)
    label(dataset, model, "pred")
    if name != "_x":  # which a key may be
        with pytest.raises(DatasetError, match="the new key must be a name"):
            resclip.rename_run(dataset, "pred", name)
    assert [run.key for run in resclip.list_runs(dataset)] == ["pred"]
