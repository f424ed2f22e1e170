"""What is stored beside masks: the classes of each image, and heat maps of confidence. Both share the fate of the masks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from fiftyone import ViewField as F

from fiftyone_resclip.errors import ConfigError
from fiftyone_resclip.fields import companions, private
from fiftyone_resclip.labeling.label import iter_label, label
from fiftyone_resclip.labeling.runs import delete_run, list_runs, rename_run
from fiftyone_resclip.model import ResCLIPModel, load_model
from tests.conftest import CLASSES

MakeDataset = Callable[..., fo.Dataset]
CLOTHS, GROUNDS = list(CLASSES[:6]), list(CLASSES[6:])


def shares(sample: Any, field: str = "resclip_classes") -> dict[str, float]:
    return {found.label: found.share for found in sample[field].classifications}


def of_mask(mask: np.ndarray) -> dict[str, float]:
    return {name: share for value, name in enumerate(CLASSES, 1) if (share := float((mask == value).mean()))}


@pytest.mark.parametrize("on_disk", [False, True])
def test_each_image_lists_its_classes_with_share_and_confidence(
    make_dataset: MakeDataset, fast_model: ResCLIPModel, tmp_path: Path, on_disk: bool
) -> None:
    dataset = make_dataset(3)
    label(dataset, fast_model, output_dir=tmp_path / "masks" if on_disk else None)
    dataset.reload()
    for sample in dataset:
        found = fast_model.segment(sample.filepath)
        assert shares(sample) == pytest.approx(of_mask(sample.resclip.get_mask()))
        listed = sample.resclip_classes.classifications
        assert [each.share for each in listed] == sorted((each.share for each in listed), reverse=True)
        for each in listed:
            certain = found.confidence[found.mask == CLASSES.index(each.label) + 1]
            assert each.confidence == pytest.approx(certain.mean(), abs=1e-4)
    small = dataset.filter_labels("resclip_classes", (F("label") == "snow") & (F("share") < 0.5))
    assert set(small.values("id")) == {sample.id for sample in dataset if 0 < shares(sample).get("snow", 0) < 0.5}
    assert dataset.bounds("resclip_classes.classifications.share")[1] <= 1


def test_unlabelled_pixels_are_no_class_but_count(make_dataset: MakeDataset, fast_model: ResCLIPModel) -> None:
    dataset = make_dataset(1)
    threshold = float(np.median(fast_model.segment(dataset.first().filepath).confidence))
    label(dataset, load_model("resclip-tiny", CLASSES, sfr=None, prob_threshold=threshold, device="cpu"))
    sample = dataset.first()
    assert 0 < sum(shares(sample).values()) < 1
    assert shares(sample) == pytest.approx(of_mask(sample.resclip.mask))


def test_mask_and_classes_arrive_in_one_write(
    make_dataset: MakeDataset, fast_model: ResCLIPModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, write, written = make_dataset(2), private.write_samples, []

    def spy(dataset: Any, operations: list[Any], ids: list[Any]) -> int:
        written.extend(operations)
        return write(dataset, operations, ids)

    monkeypatch.setattr(private, "write_samples", spy)
    label(dataset, fast_model)
    fields = [set(operation._doc["$set"]) for operation in written]
    assert fields == [{"resclip", "resclip_classes", "last_modified_at"}] * 2


def test_both_can_be_switched_off_and_on(make_dataset: MakeDataset, fast_model: ResCLIPModel, tmp_path: Path) -> None:
    dataset = make_dataset(3)
    label(dataset[:1], fast_model, summary=False)
    assert "resclip_classes" not in dataset.get_field_schema()
    label(dataset, fast_model)  # the run goes on: it is not another way to make masks
    assert [value is not None for value in dataset.values("resclip_classes")] == [False, True, True]
    assert len(list_runs(dataset)) == 1
    with pytest.raises(ConfigError, match="confidence_maps are files, but there is no folder for them; pass output_dir"):
        label(dataset, fast_model, "other", confidence_maps=True)


def test_heat_maps_show_the_confidence_of_each_pixel(make_dataset: MakeDataset, fast_model: ResCLIPModel, tmp_path: Path) -> None:
    dataset = make_dataset(2)
    label(dataset, fast_model, output_dir=tmp_path / "masks", confidence_maps=True)
    for sample in dataset:
        heat = sample.resclip_confidence
        assert (heat.range, heat.map) == ([0, 255], None)
        assert Path(heat.map_path).parent == Path(sample.resclip.mask_path).parent
        assert heat.get_map().dtype == np.uint8
        certain = fast_model.segment(sample.filepath).confidence
        np.testing.assert_allclose(heat.get_map() / 255, certain, atol=0.51 / 255)
    Path(dataset.first().resclip_confidence.map_path).unlink()
    assert label(dataset, fast_model, output_dir=tmp_path / "masks", confidence_maps=True).labelled == 1  # made again
    assert Path(dataset.first().resclip_confidence.map_path).is_file()


def test_overwriting_replaces_them_with_the_masks(make_dataset: MakeDataset, fast_model: ResCLIPModel, tmp_path: Path) -> None:
    dataset = make_dataset(3)
    label(dataset, fast_model, output_dir=tmp_path / "masks", confidence_maps=True)
    before = set((tmp_path / "masks").rglob("*.png"))
    other = load_model("resclip-tiny", {"ground": GROUNDS, "cloth": CLOTHS}, sfr=None, device="cpu")
    steps = iter_label(dataset, other, "resclip", output_dir=tmp_path / "masks", overwrite=True, summary=False, batch_size=1)
    stopped = (next(steps), next(steps), steps.close())[1].labelled  # at least the first image is done
    assert [value is None for value in dataset.values("resclip_classes")] == [True] * 3
    assert [value is None for value in dataset.values("resclip_confidence")] == [True] * 3
    assert before.isdisjoint((tmp_path / "masks").rglob("*.png"))
    label(dataset, other, output_dir=tmp_path / "masks", overwrite=True)
    assert set(dataset.distinct("resclip_classes.classifications.label")) <= {"ground", "cloth"}
    assert [value is None for value in dataset.values("resclip_classes")] == [index < stopped for index in range(3)]


def test_they_are_deleted_with_their_run_whatever_they_are_called(
    make_dataset: MakeDataset, fast_model: ResCLIPModel, tmp_path: Path
) -> None:
    dataset = make_dataset(2)
    label(dataset, fast_model, output_dir=tmp_path / "masks", confidence_maps=True)
    clone = dataset.clone()
    dataset.rename_sample_field("resclip_classes", "words")
    dataset.rename_sample_field("resclip", "renamed")
    dataset.reload()
    rename_run(dataset, "resclip", "first")
    label(dataset, fast_model, "renamed", output_dir=tmp_path / "masks", confidence_maps=True)
    assert "renamed_classes" not in dataset.get_field_schema()
    delete_run(dataset, "first")
    assert set(dataset.get_field_schema()) == set(fo.Dataset().get_field_schema()) | {"ground_truth"}
    for sample in clone:  # a copy keeps its files
        assert Path(sample.resclip.mask_path).is_file() and Path(sample.resclip_confidence.map_path).is_file()
    delete_run(clone, "resclip")
    clone.delete()


def test_a_field_of_that_name_that_somebody_else_made_is_left_alone(make_dataset: MakeDataset, fast_model: ResCLIPModel) -> None:
    dataset = make_dataset(1)
    dataset.set_values("resclip_classes", ["mine"])
    label(dataset, fast_model)
    assert dataset.values("resclip_classes") == ["mine"]
    assert shares(dataset.first(), "resclip_classes_2")
    delete_run(dataset, "resclip")
    assert dataset.values("resclip_classes") == ["mine"]
    assert "resclip_classes_2" not in dataset.get_field_schema()


def test_shards_fill_one_field(make_dataset: MakeDataset, fast_model: ResCLIPModel) -> None:
    dataset = make_dataset(6)
    for index in range(2):
        label(dataset, fast_model, shard=(index, 2))
    assert all(dataset.values("resclip_classes"))
    assert "resclip_classes_2" not in dataset.get_field_schema()


def test_a_field_that_another_program_removed_by_accident_is_declared_again(
    make_dataset: MakeDataset, fast_model: ResCLIPModel
) -> None:
    dataset = make_dataset(3)
    steps = iter_label(dataset, fast_model, "resclip", batch_size=1)
    next(steps), next(steps)
    part = next(field for field in private.stored(dataset)["sample_fields"] if field["name"] == "resclip_classes")
    private.database().datasets.update_one({"_id": dataset._doc.id}, {"$pull": {"sample_fields": {"name": part["name"]}}})
    for _ in steps:
        pass
    dataset.reload()
    assert all(shares(sample) for sample in dataset)
    assert companions.find(dataset, list_runs(dataset)[0].file_mark) == {"classes": "resclip_classes"}
