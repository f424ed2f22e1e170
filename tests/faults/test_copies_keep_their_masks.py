"""FiftyOne copies the paths of masks to clones of fields and datasets; what happens to the original never harms the copy."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest

import fiftyone_resclip as resclip
from fiftyone_resclip.errors import DatasetError, StorageError
from fiftyone_resclip.fields import masks
from fiftyone_resclip.labeling.label import label
from fiftyone_resclip.model import ResCLIPModel, load_model

MakeDataset = Callable[..., fo.Dataset]


def model_of(*classes: str) -> ResCLIPModel:
    return load_model("resclip-tiny", classes or ("red cloth", "snow"), sfr=None, device="cpu")


def read(dataset: fo.Dataset, field: str) -> list[np.ndarray[Any, Any]]:
    return [masks.read_mask(sample[field]) for sample in dataset]


def same(one: list[Any], other: list[Any]) -> bool:
    return len(one) == len(other) and all(np.array_equal(*pair) for pair in zip(one, other, strict=True))


def files_in(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def other() -> Iterator[fo.Dataset]:
    dataset = fo.Dataset()
    yield dataset
    dataset.delete()


@pytest.mark.parametrize("copied_by", ["clone_sample_field", "clone", "merge_samples"])
@pytest.mark.parametrize("change", ["overwrite", "delete"])
def test_a_copy_outlives_the_original(
    make_dataset: MakeDataset, other: fo.Dataset, tmp_path: Path, copied_by: str, change: str
) -> None:
    dataset, folder = make_dataset(3), tmp_path / "masks"
    label(dataset, model_of(), "pred", output_dir=folder)
    before, holder, field = read(dataset, "pred"), dataset, "pred"
    if copied_by == "clone_sample_field":
        field = "copy"
        dataset.clone_sample_field("pred", field)
    else:
        holder = dataset.clone() if copied_by == "clone" else other
        other.merge_samples(dataset) if copied_by == "merge_samples" else None
    try:
        if change == "overwrite":
            label(dataset, model_of("gravel", "snow", "red cloth"), "pred", output_dir=folder, overwrite=True)
            assert not same(read(dataset, "pred"), before)
        else:
            resclip.delete_run(dataset, "pred")
            assert not dataset.has_field("pred")
        holder.reload()
        assert same(read(holder, field), before)
    finally:
        if copied_by == "clone":
            holder.delete()


def test_overwriting_leaves_only_files_that_labels_name(make_dataset: MakeDataset, tmp_path: Path) -> None:
    dataset, folder = make_dataset(3), tmp_path / "masks"
    for _ in range(3):
        label(dataset, model_of(), "pred", output_dir=folder, overwrite=True)
    dataset[:1].clone_sample_field("pred", "copy")
    label(dataset, model_of("gravel"), "pred", output_dir=tmp_path / "elsewhere", overwrite=True)
    named = {*dataset.values("pred.mask_path"), *dataset.exists("copy").values("copy.mask_path")}
    assert files_in(folder) | files_in(tmp_path / "elsewhere") == named


@pytest.mark.parametrize("listed_between", [False, True])
def test_a_renamed_field_keeps_its_run_and_masks(make_dataset: MakeDataset, tmp_path: Path, listed_between: bool) -> None:
    dataset, folder = make_dataset(3), tmp_path / "masks"
    label(dataset, model_of(), "pred", output_dir=folder)
    before = read(dataset, "pred")
    dataset.rename_sample_field("pred", "better")
    if listed_between:
        assert "field 'better'" in str(resclip.load_run(dataset, "pred"))
        assert dataset.mask_targets == {"better": {1: "red cloth", 2: "snow"}} | dict.fromkeys(
            ["ground_truth"], dataset.mask_targets["ground_truth"]
        )
    dataset.clone_sample_field("better", "copy")
    label(dataset, model_of("gravel", "snow"), "pred", output_dir=folder)
    found = {run.key: run.label_field for run in resclip.list_runs(dataset)}
    assert found == {"pred": "better", "pred_2": "pred"}
    assert dataset.mask_targets["better"] == {1: "red cloth", 2: "snow"}
    assert dataset.mask_targets["pred"] == {1: "gravel", 2: "snow"}
    paths = [entry["path"] for entry in dataset.app_config.color_scheme.fields if "maskTargetsColors" in entry]
    assert sorted(paths) == ["better", "ground_truth", "pred"]
    assert label(dataset, model_of(), "better", output_dir=folder).skipped == 3
    resclip.delete_run(dataset, "pred_2")
    assert same(read(dataset, "better"), before)
    resclip.delete_run(dataset, "pred")
    assert same(read(dataset, "copy"), before)
    assert not dataset.has_field("better")
    assert files_in(folder) == set(dataset.values("copy.mask_path"))


def test_colours_that_the_user_chose_follow_a_renamed_field(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(1)
    label(dataset, model_of(), "pred")
    scheme = dataset.app_config.color_scheme
    mine = [{"intTarget": 1, "color": "#010203"}, {"intTarget": 2, "color": "#040506"}]
    scheme.fields = [{"path": "pred", "maskTargetsColors": mine}]
    dataset.app_config.color_scheme = scheme
    dataset.save()
    dataset.rename_sample_field("pred", "better")
    resclip.list_runs(dataset)
    dataset.reload()
    found = {field["path"]: field.get("maskTargetsColors") for field in dataset.app_config.color_scheme.fields}
    assert found["better"] == mine and "pred" not in found


def test_a_deleted_run_takes_its_files_from_all_folders_and_group_slices(make_dataset: MakeDataset, tmp_path: Path) -> None:
    paths = make_dataset(4).values("filepath")
    dataset = fo.Dataset()
    dataset.add_group_field("group", default="left")
    elements = [(group, name) for group in (fo.Group(), fo.Group()) for name in ("left", "right")]
    dataset.add_samples([fo.Sample(path, group=g.element(name)) for path, (g, name) in zip(paths, elements, strict=True)])
    try:
        for name in ("left", "right"):
            label(dataset.select_group_slices(name), model_of(), "pred", output_dir=tmp_path / name)
        notes = Path(dataset.first().pred.mask_path).with_name("notes.png")
        notes.write_bytes(b"the user's")
        resclip.delete_run(dataset, "pred")
        assert files_in(tmp_path / "left") | files_in(tmp_path / "right") == {str(notes)}
    finally:
        dataset.delete()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can make itself somebody without rights")
def test_a_run_in_a_read_only_folder_is_not_deleted_by_half(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(3)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        label(dataset, model_of(), "pred", output_dir=folder)
        before = read(dataset, "pred")
        os.seteuid(65534)
        try:
            with pytest.raises(StorageError, match="'pred' was not deleted, because its files can't be removed from"):
                resclip.delete_run(dataset, "pred")
        finally:
            os.seteuid(0)
        assert same(read(dataset, "pred"), before)
        resclip.delete_run(dataset, "pred")
        assert files_in(Path(folder)) == set()
    assert resclip.list_runs(dataset) == []


def test_a_file_that_can_not_be_removed_is_named_and_deleting_again_finishes(make_dataset: MakeDataset, tmp_path: Path) -> None:
    dataset = make_dataset(3)
    label(dataset, model_of(), "pred", output_dir=tmp_path / "masks")
    path = Path(dataset.first().pred.mask_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(StorageError, match="1 of 3 mask files of labelling run 'pred' can't be removed, .* again to finish"):
        resclip.delete_run(dataset, "pred")
    assert dataset.count("pred") == 3
    path.rmdir()
    resclip.delete_run(dataset, "pred")
    assert not dataset.has_field("pred")
    assert list((tmp_path / "masks").iterdir()) == []


def test_the_copy_of_a_deleted_run_can_not_be_deleted_as_that_run(make_dataset: MakeDataset, tmp_path: Path) -> None:
    dataset = make_dataset(2)
    label(dataset, model_of(), "pred", output_dir=tmp_path)
    dataset.clone_sample_field("pred", "copy")
    resclip.delete_run(dataset, "pred")
    with pytest.raises(DatasetError, match="labelling run 'pred' is unknown"):
        resclip.delete_run(dataset, "pred")
    label(dataset, model_of(), "pred", output_dir=tmp_path)
    assert [run.label_field for run in resclip.list_runs(dataset)] == ["pred"]
    assert len(read(dataset, "copy")) == 2
