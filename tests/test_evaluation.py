from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from numpy.typing import NDArray

from fiftyone_resclip import masks
from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.evaluation import evaluate

Mask = NDArray[np.integer]
Make = Callable[..., fo.Dataset]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes a dataset from pairs of masks; ``None`` leaves a label out."""
    dataset = fo.Dataset()

    def fill(pairs: list[tuple[Any, Any]], truth: dict[int, str], predicted: dict[int, str]) -> fo.Dataset:
        masks.declare_field(dataset, "gt", truth)
        masks.declare_field(dataset, "pred", predicted)
        for index, (gt, pred) in enumerate(pairs):
            sample = fo.Sample(str(tmp_path / f"{index}.png"))
            for field, mask in (("gt", gt), ("pred", pred)):
                if mask is not None:
                    sample[field] = fo.Segmentation(mask=np.array(mask, np.uint8))
            dataset.add_sample(sample)
        return dataset

    yield fill
    dataset.delete()


def test_a_half_wrong_image_scores_one_half(make: Make) -> None:
    dataset = make([([[1, 1]], [[1, 0]])], {1: "a"}, {1: "a"})
    result = evaluate(dataset, "pred", "gt")
    assert (result.miou, result.pixel_accuracy, result.iou) == (50.0, 50.0, {"a": 50.0})


def test_classes_are_matched_by_name_and_strangers_are_reported(make: Make) -> None:
    dataset = make([([[1, 1, 2, 2]], [[7, 7, 3, 9]])], {1: "sky", 2: "road"}, {3: "road", 7: "sky", 9: "moon"})
    result = evaluate(dataset, "pred", "gt")
    assert result.iou == {"sky": 100.0, "road": 50.0}
    assert result.unmatched == ("moon",)
    assert "not in the ground truth, counted as unlabelled: moon" in str(result)


def test_void_is_left_out_and_a_class_that_never_occurs_too(make: Make) -> None:
    dataset = make([([[1, 255, 77, 2]], [[1, 2, 2, 1]])], {0: "other", 1: "a", 2: "b", 3: "never"}, {1: "a", 2: "b"})
    result = evaluate(dataset, "pred", "gt")
    assert result.confusion.sum() == 2
    assert math.isnan(result.iou["never"])
    assert result.miou == 25.0
    assert "never  –" in str(result)


def test_zero_is_a_class_where_the_truth_names_it(make: Make) -> None:
    dataset = make([([[0, 1]], [[2, 1]])], {0: "background", 1: "a"}, {1: "a", 2: "background"})
    assert evaluate(dataset, "pred", "gt").miou == 100.0


def test_missing_predictions_count_missing_truths_do_not_and_both_are_named(make: Make, tmp_path: Path) -> None:
    dataset = make([([[1, 1]], [[1, 1]]), ([[1, 1]], None), (None, [[1, 1]])], {1: "a"}, {1: "a"})
    broken = dataset.first().copy()
    broken.filepath = str(tmp_path / "broken.png")
    broken["pred"] = fo.Segmentation(mask_path=str(tmp_path / "nowhere.png"))
    dataset.add_sample(broken)
    result = evaluate(dataset, "pred", "gt")
    assert result.images == 3
    assert result.pixel_accuracy == pytest.approx(100 / 3)
    assert [Path(p).name for p in result.without_prediction] == ["1.png", "broken.png"]
    assert [Path(p).name for p in result.without_truth] == ["2.png"]
    assert "nowhere.png" in str(result)


def test_another_size_is_fitted_by_the_nearest_pixel_without_wrapping(make: Make) -> None:
    names = {value: str(value) for value in (1, 300, 301)}
    dataset = make([], names, names)
    sample = fo.Sample("a.png", gt=fo.Segmentation(mask=np.array([[300, 300, 301, 301]] * 2, np.uint16)))
    sample["pred"] = fo.Segmentation(mask=np.array([[300, 301]], np.uint16))
    dataset.add_sample(sample)
    assert evaluate(dataset, "pred", "gt").pixel_accuracy == 100.0


@pytest.mark.parametrize("value", [255, 300])
def test_narrow_masks_go_with_targets_they_can_not_hold(make: Make, value: int) -> None:
    names = {1: "a", value: "b"}
    assert evaluate(make([([[1, 1]], [[1, 0]])], {1: "a"}, names), "pred", "gt").miou == 50.0


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda d: d.delete_sample_field("pred"), "field 'pred' must exist, but the fields are"),
        (lambda d: (d.delete_sample_field("pred"), d.add_sample_field("pred", fo.FloatField)), "must hold Segmentation labels"),
        (lambda d: d.mask_targets.pop("gt"), r"field 'gt' needs mask targets; set dataset.mask_targets\['gt'\]"),
        (lambda d: d.mask_targets.update(pred={1: "b"}), r"must share class names, but have \['b'\] and \['a'\]"),
        (lambda d: d.mask_targets.update(gt={"#ff0000": "a"}), "must be whole numbers"),
        (lambda d: d.set_values("gt", [None]), "no sample has a readable mask in 'gt'"),
    ],
)
def test_fields_that_can_not_be_evaluated_are_refused(make: Make, break_it: Any, message: str) -> None:
    dataset = make([([[1]], [[1]])], {1: "a"}, {1: "a"})
    break_it(dataset)
    with pytest.raises(DatasetError, match=message):
        evaluate(dataset, "pred", "gt")
