from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.utils.labels as foul
import numpy as np
import pytest

from fiftyone_resclip.errors import ConfigError, DatasetError
from fiftyone_resclip.explore import review
from fiftyone_resclip.fields import masks, schema
from fiftyone_resclip.fields.private import dataset_id
from fiftyone_resclip.labeling.label import label
from fiftyone_resclip.model import ResCLIPModel

MakeDataset = Callable[..., fo.Dataset]


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> fo.Dataset:
    """Five samples, four of them with a mask of two regions of class 1 and one of class 2."""
    dataset = make_dataset(5)
    schema.declare_field(dataset, "pred", {1: "cloth", 2: "snow"})
    for sample in dataset.limit(4):
        mask = np.zeros((40, 60), np.uint8)
        mask[2:12, 2:12] = mask[20:38, 30:55] = 1
        mask[20:38, 2:20] = 2
        sample["pred"] = fo.Segmentation(mask=mask, confidence=0.5)
        sample.save()
    return dataset


def verdicts(dataset: fo.Dataset) -> list[str | None]:
    return dataset.values("pred_review")


def test_verdicts_are_counted_and_taken_back(dataset: fo.Dataset) -> None:
    ids = dataset.values("id")
    assert review.counts(dataset, "pred") == {"keep": 0, "discard": 0, "fix later": 0, "open": 4}
    assert review.mark(dataset, "pred", ids[:2], "keep") == 2
    assert review.mark(dataset, "pred", ids[1:3], "discard") == 2
    assert review.mark(dataset, "pred", ids[4:], "keep") == 0  # has no mask
    assert verdicts(dataset) == ["keep", "discard", "discard", None, None]
    assert review.counts(dataset, "pred") == {"keep": 1, "discard": 2, "fix later": 0, "open": 1}
    assert review.counts(dataset[:2], "pred") == {"keep": 1, "discard": 1, "fix later": 0, "open": 0}
    assert review.still_open(dataset, "pred").values("id") == ids[3:4]
    assert review.undo(dataset, "pred") == "verdict on 2 samples undone"
    assert verdicts(dataset) == ["keep", "keep", None, None, None]
    review.undo(dataset, "pred")
    assert verdicts(dataset) == [None] * 5
    assert review.undo(dataset, "pred") is None


def test_only_kept_labels_are_copied_and_nothing_is_written_over(dataset: fo.Dataset) -> None:
    ids = dataset.values("id")
    review.mark(dataset, "pred", ids[:2], "keep")
    review.mark(dataset, "pred", ids[2:3], "fix later")
    assert review.copy_kept(dataset, "pred", "gold") == 2
    assert [label is not None for label in dataset.values("gold")] == [True, True, False, False, False]
    assert dataset.mask_targets["gold"] == {1: "cloth", 2: "snow"}
    first = dataset.first()
    assert (first.gold.mask == first.pred.mask).all() and first.gold.id != first.pred.id and first.gold.confidence == 0.5
    first.gold.mask = np.full((4, 4), 2, np.uint8)  # corrected by hand
    first.save()
    review.mark(dataset, "pred", ids[3:4], "keep")
    assert review.copy_kept(dataset, "pred", "gold") == 1
    assert dataset.first().gold.mask.shape == (4, 4)
    assert review.undo(dataset, "pred") == "1 labels removed from 'gold'"
    assert [label is not None for label in dataset.values("gold")] == [True, True, False, False, False]
    review.undo(dataset, "pred")  # the mark
    assert review.undo(dataset, "pred") == "1 labels removed from 'gold'; 1 that have changed since are still there"
    assert [label is not None for label in dataset.values("gold")] == [True, False, False, False, False]
    assert dataset.first().gold.mask.shape == (4, 4) and dataset.first().pred is not None


def test_a_copied_mask_file_outlives_its_original(dataset: fo.Dataset, tmp_path: Path) -> None:
    sample = dataset.first()
    path = tmp_path / "masks" / f"{sample.id}.png"
    masks.write_mask(sample.pred.mask, path)
    sample["pred"] = fo.Segmentation(mask_path=str(path))
    sample.save()
    review.mark(dataset, "pred", [sample.id], "keep")
    review.copy_kept(dataset, "pred", "gold")
    masks.write_mask(np.zeros((40, 60), np.uint8), path)
    copy = tmp_path / "masks" / str(dataset_id(dataset)) / "gold" / f"{sample.id}.png"
    assert dataset.first().gold.mask_path == str(copy)
    assert masks.read_mask(dataset.first().gold).max() == 2
    review.mark(dataset, "gold", [sample.id], "keep")
    review.copy_kept(dataset, "gold", "best")
    assert dataset.first().best.mask_path == str(copy.parents[1] / "best" / copy.name)
    assert review.undo(dataset, "gold") == "field 'best' removed"
    assert review.undo(dataset, "pred") == "field 'gold' removed"
    assert [file.name for file in (tmp_path / "masks").rglob("*")] == [path.name]


def convert(dataset: fo.Dataset, label_type: str, instances: bool) -> fo.Dataset:
    """A clone of the dataset in which FiftyOne's own converter made ``shapes``."""
    clone = dataset.clone()
    clone.delete_sample_field("shapes")
    converter = foul.segmentations_to_detections if label_type == "detections" else foul.segmentations_to_polylines
    kept = clone.match(fo.ViewField("pred_review") == "keep")
    mask_types = "thing" if instances else "stuff"
    converter(kept, "pred", "shapes", mask_targets=clone.mask_targets["pred"], mask_types=mask_types)
    return clone


def facts(dataset: fo.Dataset, field: str) -> Any:
    """The types and values of a field as they are in the database, without ids."""
    types = {path: str(kind) for path, kind in dataset.get_field_schema(flat=True).items() if path.startswith(field)}
    return types, re.sub(r"ObjectId\('\w+'\)", "id", repr([sample.get(field) for sample in dataset._sample_collection.find()]))


@pytest.mark.parametrize(("label_type", "plural"), [("detections", fo.Detections), ("polylines", fo.Polylines)])
@pytest.mark.parametrize(("instances", "labels"), [(True, ["cloth", "cloth", "snow"]), (False, ["cloth", "snow"])])
def test_kept_labels_become_detections_or_polylines(
    dataset: fo.Dataset, label_type: str, plural: type, instances: bool, labels: list[str]
) -> None:
    review.mark(dataset, "pred", dataset.values("id")[1:2], "keep")
    assert review.convert(dataset, "pred", "shapes", label_type, instances=instances) == 1
    shapes = dataset.values("shapes")
    assert [value is not None for value in shapes] == [False, True, False, False, False]
    assert type(shapes[1]) is plural
    assert sorted(shape.label for shape in shapes[1][label_type]) == labels
    assert facts(dataset, "shapes") == facts(convert(dataset, label_type, instances), "shapes")
    with pytest.raises(DatasetError, match="field 'shapes' already exists"):
        review.convert(dataset, "pred", "shapes", label_type)
    assert review.undo(dataset, "pred") == "field 'shapes' removed"
    assert not dataset.has_sample_field("shapes")


def test_what_can_not_be_is_refused(dataset: fo.Dataset) -> None:
    with pytest.raises(ConfigError, match="verdict 'kept' is unknown; did you mean 'keep'"):
        review.mark(dataset, "pred", [], "kept")
    with pytest.raises(DatasetError, match="there is no field 'prod' of masks to review"):
        review.counts(dataset, "prod")
    with pytest.raises(DatasetError, match="field 'ground_truth' holds masks of other classes than 'pred'"):
        review.copy_kept(dataset, "pred", "ground_truth")
    with pytest.raises(DatasetError, match="no mask of 'pred' is kept yet"):
        review.convert(dataset, "pred", "shapes")
    with pytest.raises(ConfigError, match="label type 'boxes' is unknown"):
        review.convert(dataset, "pred", "shapes", "boxes")
    dataset.add_sample_field("other_review", fo.FloatField)
    schema.declare_field(dataset, "other", {1: "a"})
    with pytest.raises(DatasetError, match="field 'other_review' must hold verdicts or be new"):
        review.mark(dataset, "other", [], "keep")


def test_a_verdict_does_not_outlive_its_mask(dataset: fo.Dataset) -> None:
    ids = dataset.values("id")
    review.mark(dataset, "pred", ids[:3], "keep")
    for sample in dataset.select(ids[:2]):  # as any program may
        sample["pred"] = fo.Segmentation(mask=np.ones((40, 60), np.uint8))
        sample.save()
    assert review.counts(dataset, "pred") == {"keep": 1, "discard": 0, "fix later": 0, "open": 3}
    assert review.still_open(dataset, "pred").values("id") == [*ids[:2], ids[3]]
    assert review.kept(dataset, "pred").values("id") == ids[2:3]
    assert review.copy_kept(dataset, "pred", "gold") == 1
    assert review.mark(dataset, "pred", ids[:1], "keep") == 1
    assert review.counts(dataset, "pred")["keep"] == 2
    assert review.undo(dataset, "pred") == "verdict on 1 sample undone"
    assert review.counts(dataset, "pred")["keep"] == 1
    review.mark(dataset, "pred", ids[:3], None)
    assert verdicts(dataset) == [None, "keep", None, None, None]  # the second has been without a verdict that counts
    assert review.undo(dataset, "pred") == "verdict on 1 sample undone"
    assert review.kept(dataset, "pred").values("id") == ids[2:3]


def test_an_undone_verdict_on_a_mask_that_was_replaced_stays_away(dataset: fo.Dataset) -> None:
    ids = dataset.values("id")
    for verdict in ("keep", "discard"):
        review.mark(dataset, "pred", ids[:2], verdict)
    sample = dataset.first()
    sample["pred"] = fo.Segmentation(mask=np.ones((40, 60), np.uint8))
    sample.save()
    assert review.undo(dataset, "pred") == "verdict on 2 samples undone"
    assert review.counts(dataset, "pred") == {"keep": 1, "discard": 0, "fix later": 0, "open": 3}


def test_labelling_again_opens_the_review_again(make_dataset: MakeDataset, fast_model: ResCLIPModel) -> None:
    dataset = make_dataset(2)
    label(dataset, fast_model, "pred")
    review.mark(dataset, "pred", dataset.values("id"), "keep")
    assert review.counts(dataset.clone(), "pred")["keep"] == 2
    label(dataset, fast_model, "pred", overwrite=True)
    assert review.counts(dataset, "pred") == {"keep": 0, "discard": 0, "fix later": 0, "open": 2}


def test_verdicts_of_earlier_versions_count(dataset: fo.Dataset) -> None:
    dataset.add_sample_field("pred_review", fo.StringField)
    dataset.set_values("pred_review", ["keep", "discard", None, None, None])
    assert review.counts(dataset, "pred") == {"keep": 1, "discard": 1, "fix later": 0, "open": 2}
    assert review.copy_kept(dataset, "pred", "gold") == 1
    assert review.mark(dataset, "pred", dataset.values("id"), "keep") == 4
    assert review.counts(dataset, "pred")["keep"] == 4
    assert review.undo(dataset, "pred") == "verdict on 3 samples undone"
    assert verdicts(dataset) == ["keep", "discard", None, None, None]


@pytest.mark.parametrize(
    "hide", [lambda samples: samples.select_fields("filepath"), lambda samples: samples.exclude_fields("pred")]
)
def test_views_that_hide_fields_are_reviewed(dataset: fo.Dataset, hide: Callable[[Any], Any]) -> None:
    ids = dataset.values("id")
    view = hide(dataset.limit(3)).skip(1)
    assert review.mark(view, "pred", ids[:2], "keep") == 2
    assert review.counts(view, "pred") == {"keep": 1, "discard": 0, "fix later": 0, "open": 1}
    assert review.still_open(view, "pred").values("id") == ids[2:3]
    assert review.still_open(view, "pred").first().pred.mask is not None
    assert review.copy_kept(view, "pred", "gold") == review.convert(view, "pred", "shapes") == 1
    assert "pred" not in view.get_field_schema()


@pytest.mark.parametrize("ids", [["abc"], "6b06de095e450c9c8689d4b8", [None], [3], None, 3])
def test_what_is_no_list_of_ids_is_refused(dataset: fo.Dataset, ids: Any) -> None:
    with pytest.raises(DatasetError, match=r"ids must be .*ids of samples, such as dataset.values\('id'\), but"):
        review.mark(dataset, "pred", ids, "keep")


def test_slices_of_groups_are_reviewed(make_dataset: MakeDataset) -> None:
    dataset = fo.Dataset()
    dataset.add_group_field("group", default="left")
    group = fo.Group()
    for sample, name in zip(make_dataset(2), ("left", "right"), strict=True):
        label = fo.Segmentation(mask=np.ones((4, 4), np.uint8))
        dataset.add_sample(fo.Sample(sample.filepath, group=group.element(name), pred=label))
    dataset.mask_targets = {"pred": {1: "cloth"}}
    ids = dataset.select_group_slices().values("id")
    assert review.mark(dataset, "pred", ids[1:], "keep") == 1
    assert review.counts(dataset, "pred") == {"keep": 1, "discard": 0, "fix later": 0, "open": 1}
    assert review.copy_kept(dataset, "pred", "gold") == 1
    dataset.delete()


def test_reading_adds_no_field(make_dataset: Callable[..., fo.Dataset]) -> None:
    dataset = make_dataset(3)
    before = set(dataset.get_field_schema())
    assert review.counts(dataset, "ground_truth") == {"keep": 0, "discard": 0, "fix later": 0, "open": 3}
    assert review.still_open(dataset, "ground_truth").values("id") == dataset.values("id")
    assert len(review.kept(dataset, "ground_truth")) == 0
    assert review.revision(dataset, "ground_truth") == 0
    dataset.reload()
    assert set(dataset.get_field_schema()) == before
    review.mark(dataset, "ground_truth", dataset.values("id")[:1], "keep")
    assert set(dataset.get_field_schema()) - before == {"ground_truth_review", "ground_truth_reviewed_id"}
