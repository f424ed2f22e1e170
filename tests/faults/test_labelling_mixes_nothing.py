"""Masks made in different ways, for different fields or by different processes never get mixed, and no label loses its file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
import torch

import fiftyone_resclip as resclip
from fiftyone_resclip.errors import ConfigError, DatasetError, StorageError
from fiftyone_resclip.fields import masks
from fiftyone_resclip.labeling.label import iter_label, label
from fiftyone_resclip.model import ResCLIPModel, load_model
from fiftyone_resclip.segmenter import ResCLIP
from tests.faults import processes

MakeDataset = Callable[..., fo.Dataset]
WORDS = "red cloth,snow"


def model_of(classes: Any = ("red cloth", "snow"), **settings: Any) -> ResCLIPModel:
    return load_model("resclip-tiny", classes, **{"sfr": None, "device": "cpu", **settings})


def read(dataset: fo.Dataset, field: str) -> dict[str, np.ndarray[Any, Any]]:
    return {sample.id: masks.read_mask(sample[field]) for sample in dataset.exists(field)}


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)


def test_two_fields_and_a_clone_share_a_folder(make_dataset: MakeDataset, tmp_path: Path) -> None:
    dataset = make_dataset(4)
    first, second = model_of(), model_of(("snow", "gravel", "red cloth"))
    label(dataset, first, "a", output_dir=tmp_path / "masks")
    expected = read(dataset, "a")
    label(dataset, second, "b", output_dir=tmp_path / "masks")
    copy = dataset.clone()
    try:
        label(copy, second, "a", output_dir=tmp_path / "masks", overwrite=True)
        assert not same(read(copy, "a"), expected)
    finally:
        copy.delete()
    assert same(read(dataset, "a"), expected)
    assert not same(read(dataset, "b"), expected)


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        ({"strategy": "sclip"}, "settings.strategy 'naclip' instead of 'sclip'"),
        ({"prob_threshold": 0.4}, "settings.prob_threshold 0.0 instead of 0.4"),
        ({"sfr": {"threshold": 0.3}}, "settings.sfr"),
        ({"classes": {"red cloth": ["scarlet"], "snow": ["snow"]}}, r"words of 'red cloth' \['red cloth'\] instead"),
        ({"classes": ("red cloth", "snow"), "background": "snow"}, "background None instead of 'snow'"),
    ],
)  # fmt: skip
def test_going_on_with_other_settings_is_refused_and_the_difference_shown(
    make_dataset: MakeDataset, changed: dict[str, Any], difference: str
) -> None:
    dataset = make_dataset(4)
    label(dataset[:2], model_of(), "pred")
    before = read(dataset, "pred")
    other = model_of(**changed)
    for samples in (dataset, dataset[2:]):
        with pytest.raises(
            DatasetError, match=f"holds 2 masks made in another way .*{difference}.*use another field, or overwrite"
        ):
            label(samples, other, "pred")
    with pytest.raises(DatasetError, match="made in another way"):
        label(dataset[1:], other, "pred", overwrite=True)
    assert same(read(dataset, "pred"), before)
    assert label(dataset, model_of(), "pred").labelled == 2
    assert label(dataset, other, "pred", overwrite=True).labelled == 4


def test_going_on_with_other_weights_is_refused(make_dataset: MakeDataset) -> None:
    dataset, model = make_dataset(2), model_of()
    label(dataset[:1], model, "pred")
    other = model_of()
    with torch.no_grad():
        next(other.segmenter.backbone.model.visual.parameters()).mul_(1.01)
    with pytest.raises(DatasetError, match="made in another way .weights"):
        label(dataset, other, "pred")


def test_masks_that_no_run_made_are_not_added_to(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(2)
    dataset[:1].apply_model(model_of(), label_field="pred")
    with pytest.raises(DatasetError, match="holds a mask that no labelling run made; use another field"):
        label(dataset, model_of(), "pred")
    assert label(dataset, model_of(), "pred", overwrite="pred").labelled == 2


def test_masks_whose_files_are_gone_are_made_again(make_dataset: MakeDataset, tmp_path: Path) -> None:
    dataset = make_dataset(5)
    label(dataset, model_of(), "pred", output_dir=tmp_path)
    expected = read(dataset, "pred")
    for path in dataset.values("pred.mask_path")[1:3]:
        Path(path).unlink()
    report = label(dataset, model_of(), "pred", output_dir=tmp_path)
    assert (report.labelled, report.skipped) == (2, 3)
    assert same(read(dataset, "pred"), expected)


def test_a_second_process_on_a_field_is_refused(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(12)
    steps = iter_label(dataset, model_of(), "pred", batch_size=1)
    next(steps)
    code = """
        try:
            label(dataset, model, "pred")
        except Exception as error:
            print(type(error).__name__, error)
    """
    same_words, others = (processes.run(code, dataset.name, words) for words in (WORDS, "gravel,snow"))
    assert same_words.startswith("DatasetError field 'pred' is already being labelled by process")
    assert "shard=(0, 2) in one process and shard=(1, 2) in the other" in same_words
    assert others.startswith("DatasetError field 'pred' is being labelled in another way by process")
    assert next(steps).total == 12
    *_, report = steps
    assert report.labelled == 12
    assert {value for mask in read(dataset, "pred").values() for value in np.unique(mask)} <= {1, 2}


@pytest.mark.slow
def test_processes_that_fill_different_fields_at_once_lose_nothing(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(6)
    code = """
        print("ready", flush=True)
        sys.stdin.readline()
        for round in range(3):
            print(label(dataset, model, f"{sys.argv[3]}{round}").labelled)
    """
    workers = [processes.start(code, dataset.name, WORDS, name) for name in "abc"]
    for worker in workers:
        assert worker.stdout and worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        out, err = worker.communicate(timeout=400)
        assert (out, worker.returncode) == ("6\n6\n6\n", 0), err[-2000:]
    dataset.reload()
    fields = [f"{name}{number}" for name in "abc" for number in range(3)]
    assert {field: dataset.count(field) for field in fields} == dict.fromkeys(fields, 6)
    assert all(dataset.mask_targets[field] == {1: "red cloth", 2: "snow"} for field in fields)
    assert [run.key for run in resclip.list_runs(dataset) if run.state == "finished"] == sorted(
        fields, key=list(dataset.list_runs()).index
    )
    assert all(same(read(dataset, field), read(dataset, "a0")) for field in fields)


@pytest.mark.parametrize("what", ["dataset", "field", "samples"])
def test_what_is_deleted_in_the_middle_is_not_called_labelled(make_dataset: MakeDataset, what: str) -> None:
    dataset = make_dataset(12)
    ids = dataset.values("id")
    steps = iter_label(dataset, model_of(), "pred", batch_size=2)
    for _ in range(3):
        report = next(steps)
    labelled = report.labelled
    code = {
        "dataset": "dataset.delete()",
        "field": "dataset.delete_sample_field('pred')",
        "samples": f"dataset.delete_samples({ids[8:]!r})",
    }[what]
    processes.run(code, dataset.name, WORDS)
    if what == "samples":
        *_, report = steps
        assert (report.labelled, report.gone) == (8, 4)
        assert "8 of 12 images labelled" in str(report)
        assert "4 were deleted in the meantime" in str(report)
        return
    with pytest.raises(DatasetError, match=f"{what} '.*' was deleted while it was labelled"):
        list(steps)
    assert report.labelled - labelled < 8
    if what == "field":
        document = fo.core.odm.get_db_conn()[dataset._sample_collection_name].find_one({"pred._id": {"$exists": True}})
        assert document is None
        assert processes.run("print(dataset.first().id, dataset.has_field('pred'))", dataset.name, WORDS) == f"{ids[0]} False\n"


def test_a_field_that_another_program_removed_by_accident_is_declared_again(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(8)
    steps = iter_label(dataset, model_of(), "pred", batch_size=2)
    for _ in range(3):
        next(steps)
    datasets = fo.core.odm.get_db_conn().datasets
    fields = datasets.find_one({"name": dataset.name})["sample_fields"]
    stale = {"sample_fields": [field for field in fields if field["name"] != "pred"], "mask_targets": {}}
    datasets.update_one({"name": dataset.name}, {"$set": stale})
    *_, report = steps
    assert report.labelled == 8
    dataset.reload()
    assert dataset.count("pred") == 8
    assert dataset.mask_targets["pred"] == {1: "red cloth", 2: "snow"}
    assert [run.state for run in resclip.list_runs(dataset)] == ["finished"]


@pytest.mark.parametrize("classes", [("red cloth", "snow"), ("gravel", "snow")])
def test_overwriting_into_an_unusable_folder_costs_no_mask(
    make_dataset: MakeDataset, tmp_path: Path, classes: tuple[str, ...]
) -> None:
    dataset = make_dataset(3)
    label(dataset, model_of(), "pred")
    before = read(dataset, "pred")
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageError, match="masks can't be written to .*Not a directory"):
        label(dataset, model_of(classes), "pred", overwrite=True, output_dir=tmp_path / "file")
    assert same(read(dataset, "pred"), before)
    assert dataset.mask_targets["pred"] == {1: "red cloth", 2: "snow"}


def test_a_model_that_can_not_compute_costs_no_mask(make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = make_dataset(3)
    label(dataset, model_of(), "pred")
    before = read(dataset, "pred")
    monkeypatch.setattr(ResCLIP, "segment", lambda *a, **k: (_ for _ in ()).throw(torch.OutOfMemoryError("no memory left")))
    with pytest.raises(torch.OutOfMemoryError):
        label(dataset, model_of(("gravel",)), "pred", overwrite=True)
    assert same(read(dataset, "pred"), before)


def test_overwriting_goes_on_after_an_interruption(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(8)
    label(dataset, model_of(), "pred")
    other = model_of(("gravel", "snow"))
    steps = iter_label(dataset, other, "pred", overwrite=True, batch_size=2)
    for _ in range(3):
        next(steps)
    steps.close()
    kept = {sample.id: sample.pred.id for sample in dataset.exists("pred")}
    assert 2 <= len(kept) < 8
    assert "stopped" in str(resclip.list_runs(dataset)[0])
    report = label(dataset, other, "pred", overwrite=True)
    assert report.labelled == 8 - len(kept)
    assert {sample.id: sample.pred.id for sample in dataset}.items() >= kept.items()
    assert label(dataset, other, "pred", overwrite=True).labelled == 8


@pytest.mark.parametrize("shard", [(2, 2), (-1, 2), (0, 0), "a/b", 3, (1,)])
def test_a_shard_that_does_not_exist_is_refused(make_dataset: MakeDataset, shard: Any) -> None:
    with pytest.raises(ConfigError, match="shard must be an index from 0 and the number of parts"):
        label(make_dataset(1), model_of(), "pred", shard=shard)


def test_masks_in_other_group_slices_are_neither_lost_nor_mixed(make_dataset: MakeDataset) -> None:
    paths = make_dataset(4).values("filepath")
    dataset = fo.Dataset()
    dataset.add_group_field("group", default="left")
    groups = [fo.Group(), fo.Group()]
    elements = [(group, name) for group in groups for name in ("left", "right")]
    dataset.add_samples([fo.Sample(path, group=g.element(name)) for path, (g, name) in zip(paths, elements, strict=True)])
    try:
        left, right = (dataset.select_group_slices(name) for name in ("left", "right"))
        for samples in (left, right):
            report = label(samples, model_of(), "pred", batch_size=1)
            assert (report.labelled, report.gone) == (2, 0)
        dataset.clone_sample_field("pred", "kept")
        left.clear_sample_field("kept")
        dataset.mask_targets = {**dataset.mask_targets, "kept": {1: "red cloth", 2: "snow"}}
        with pytest.raises(DatasetError, match="field 'kept' holds masks of other classes|belongs to labelling run"):
            left.apply_model(model_of(("gravel",)), label_field="kept")
        with pytest.raises(DatasetError, match="holds 4 masks of other classes"):
            label(left, model_of(("gravel",)), "pred", overwrite=True)
        both = dataset.select_group_slices(["left", "right"])
        assert label(both, model_of(("gravel",)), "pred", overwrite=True).labelled == 4
        assert {int(sample.pred.mask.max()) for sample in both} == {1}
    finally:
        dataset.delete()


@pytest.mark.parametrize("alive", [False, True])
def test_shards_of_different_samples_do_not_undo_each_other(make_dataset: MakeDataset, alive: bool) -> None:
    dataset = make_dataset(12)
    label(dataset, model_of(("gravel",)), "pred")
    first = iter_label(dataset, model_of(), "pred", overwrite=True, shard=(0, 2), batch_size=1)
    report = next(first)
    next(first)
    if not alive:
        *_, report = first
    message = (
        "is being labelled in another way" if alive else r"the shards of run 'pred' must label the same 12 samples .* given 11"
    )
    with pytest.raises(DatasetError, match=message):
        label(dataset[:11], model_of(), "pred", overwrite=True, shard=(1, 2))
    if alive:
        *_, report = first
    assert dataset.count("pred") == report.labelled == report.total
    assert label(dataset, model_of(), "pred", overwrite=True, shard=(1, 2)).labelled == 12 - report.total
    assert dataset.count("pred") == 12


@pytest.mark.parametrize("name", ["my-mask", "a b", "1", "class"])
def test_a_field_may_have_any_name_that_fiftyone_allows(make_dataset: MakeDataset, name: str) -> None:
    dataset = make_dataset(3)
    label(dataset[:2], model_of(), name)
    assert label(dataset, model_of(), name).labelled == 1
    assert [run.label_field for run in resclip.list_runs(dataset)] == [name]


def test_images_that_can_not_be_read_cost_no_mask_that_is_to_be_overwritten(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(3)
    label(dataset, model_of(), "pred")
    before = read(dataset, "pred")
    for path in dataset.values("filepath"):
        Path(path).unlink()
    with pytest.raises(DatasetError, match="none of the 3 images could be read, so their masks were left alone"):
        label(dataset, model_of(("gravel",)), "pred", overwrite=True)
    assert same(read(dataset, "pred"), before)


def test_the_same_file_twice_is_two_failures(make_dataset: MakeDataset, tmp_path: Path) -> None:
    dataset = make_dataset(1)
    (tmp_path / "broken.png").write_bytes(b"nothing")
    dataset.add_samples([fo.Sample(str(tmp_path / "broken.png")) for _ in range(2)], progress=False)
    report = label(dataset, model_of(), "pred")
    assert (report.done, report.labelled, report.failed, len(report.failures)) == (3, 1, 2, 1)
    assert [run.state for run in resclip.list_runs(dataset)] == ["finished"]


def test_labels_that_are_gone_at_the_end_are_not_called_labelled(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(6)
    steps = iter_label(dataset, model_of(), "pred", batch_size=1)
    for report in steps:
        if report.done == 4:
            dataset[:2].set_values("pred", [None, None])
    assert (report.labelled, report.gone) == (4, 2)
    assert [run.state for run in resclip.list_runs(dataset)] == ["stopped"]
    assert label(dataset, model_of(), "pred").labelled == 2
    assert [run.state for run in resclip.list_runs(dataset)] == ["finished"]


def test_a_view_without_the_field_is_resumed(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(3)
    label(dataset[:2], model_of(), "pred")
    for samples in (dataset.select_fields(), dataset.exclude_fields("pred")):
        assert label(samples, model_of(), "pred").total <= 1
    assert dataset.count("pred") == 3
    (run,) = resclip.list_runs(dataset)
    assert (run.state, run.passes[-1]["labelled"]) == ("finished", 3)
