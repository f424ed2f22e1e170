"""Tests what ``evaluate`` counts, and what it rejects."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from fiftyone_resclip.errors import ConfigError, DatasetError
from fiftyone_resclip.evaluation.evaluate import evaluate
from tests.evaluation.conftest import Make


def test_a_half_wrong_image_scores_one_half(make: Make) -> None:
    dataset = make([([[1, 1]], [[1, 0]])], {1: "a"}, {1: "a"})
    result = evaluate(dataset, "pred", "gt")
    assert (result.miou, result.pixel_accuracy, result.iou) == (50.0, 50.0, {"a": 50.0})


def test_classes_are_matched_by_name_and_strangers_are_reported(make: Make) -> None:
    dataset = make([([[1, 1, 2, 2]], [[7, 7, 3, 9]])], {1: "sky", 2: "road"}, {3: "road", 7: "sky", 9: "moon"})
    result = evaluate(dataset, "pred", "gt")
    assert result.iou == {"sky": 100.0, "road": 50.0}
    assert result.unmatched == {"moon": 1}
    assert "predicted class without a match in the ground truth, counted as unlabelled: moon (1 pixels)" in str(result)


def test_void_is_left_out_and_a_class_that_never_occurs_too(make: Make) -> None:
    dataset = make([([[1, 255, 77, 2]], [[1, 2, 2, 1]])], {0: "other", 1: "a", 2: "b", 3: "never"}, {1: "a", 2: "b"})
    result = evaluate(dataset, "pred", "gt")
    assert result.confusion.sum() == 2
    assert math.isnan(result.iou["never"])
    assert result.miou == 25.0
    assert re.search(r"never +–", str(result))


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
        (lambda d: d.delete_sample_field("pred"), "field 'pred' is unknown"),
        (lambda d: (d.delete_sample_field("pred"), d.add_sample_field("pred", fo.FloatField)), "must hold Segmentation labels"),
        (lambda d: d.mask_targets.pop("gt"), r"field 'gt' needs mask targets; set dataset.mask_targets\['gt'\]"),
        (lambda d: d.mask_targets.update(pred={1: "b"}), r"must share class names, but have \['b'\] and \['a'\]"),
        (lambda d: d.mask_targets.update(gt={"#ff0000": "a"}), r"must be \(H, W, 3\) colours, like its mask targets"),
        (lambda d: d.set_values("gt", [None]), "no sample has a readable mask in 'gt', so nothing can be evaluated: no mask"),
    ],
)
def test_fields_that_can_not_be_evaluated_are_refused(make: Make, break_it: Any, message: str) -> None:
    dataset = make([([[1]], [[1]])], {1: "a"}, {1: "a"})
    break_it(dataset)
    with pytest.raises(DatasetError, match=message):
        evaluate(dataset, "pred", "gt")


def test_truth_without_a_class_is_refused(make: Make) -> None:
    for truth, why in ([[255, 255]], "ignore_index is 255"), ([[255, 7]], "give the values a name in mask_targets: 7"):
        dataset = make([(truth, [[1, 1]])], {1: "a"}, {1: "a"})
        with pytest.raises(DatasetError, match=f"but all 2 are void; {why}"):
            evaluate(dataset, "pred", "gt", eval_key="first")
        assert not dataset.list_evaluations()


def test_the_perfect_second_sample_scores_dice_one(make: Make) -> None:
    dataset = make([([[1, 1]], [[1, 2]]), ([[1, 2]], [[1, 2]])], {1: "a", 2: "b"}, {1: "a", 2: "b"})
    result = evaluate(dataset, "pred", "gt", "ev", compute_dice=True)
    assert dataset.values("ev_dice") == [pytest.approx(2 / 3), 1.0]
    assert result.dice == {"a": pytest.approx(80.0), "b": pytest.approx(200 / 3)}
    assert result.mean_dice == pytest.approx((80 + 200 / 3) / 2)


def test_all_figures_of_a_case_by_hand(make: Make) -> None:
    dataset = make([([[1, 1, 1, 2]], [[1, 1, 2, 0]])], {1: "a", 2: "b"}, {1: "a", 2: "b"})
    result = evaluate(dataset, "pred", "gt")
    assert result.iou == {"a": pytest.approx(200 / 3), "b": 0.0}
    assert result.miou == pytest.approx(100 / 3)
    assert result.pixel_accuracy == 50.0
    assert result.mean_accuracy == pytest.approx(100 / 3)
    assert result.frequency_weighted_iou == pytest.approx(50.0)
    assert math.isnan(result.boundary_miou) and result.boundary_iou == {}


def test_samples_know_how_they_did(make: Make) -> None:
    truth = {1: "a", 2: "b", 3: "c"}
    pairs = [([[1, 1, 2, 2]], [[1, 1, 0, 3]]), ([[1, 1, 2, 2]], [[1, 1, 2, 2]]), ([[255, 255]], [[1, 1]]), ([[1, 1]], None)]
    dataset = make(pairs, truth, truth)
    evaluate(dataset, "pred", "gt", "ev")
    assert dataset.values("ev_miou") == [50.0, 100.0, None, 0.0]
    assert dataset.values("ev_accuracy") == [0.5, 1.0, None, 0.0]
    assert dataset.values("ev_recall") == [0.5, 1.0, None, 0.0]
    assert dataset.values("ev_precision") == [pytest.approx(2 / 3), 1.0, None, None]
    assert dataset.values("ev_worst_class") == ["b", "a", None, "a"]
    assert dataset.values("ev_unlabelled") == [0.25, 0.0, None, 1.0]
    assert "ev_dice" not in dataset.get_field_schema()


@pytest.mark.parametrize("void", [(0, 255), [0, 255], {0, 255}])
def test_several_values_may_be_void(make: Make, void: Any) -> None:
    dataset = make([([[0, 1, 1, 255]], [[1, 1, 2, 1]])], {0: "background", 1: "a"}, {1: "a", 2: "background"})
    assert evaluate(dataset, "pred", "gt", ignore_index=void).iou == {"a": 50.0}


def test_the_background_may_be_left_out_of_means_but_not_of_errors(make: Make) -> None:
    dataset = make([([[0, 0, 1, 1]], [[1, 2, 1, 1]])], {0: "Background", 1: "a"}, {1: "a", 2: "Background"})
    everything = evaluate(dataset, "pred", "gt")
    objects = evaluate(dataset, "pred", "gt", include_background=False)
    assert everything.iou == objects.iou == {"Background": 50.0, "a": pytest.approx(200 / 3)}
    assert everything.miou == pytest.approx((50 + 200 / 3) / 2)
    assert objects.miou == objects.frequency_weighted_iou == pytest.approx(200 / 3)
    assert objects.mean_accuracy == 100.0
    assert objects.pixel_accuracy == 75.0


def test_a_mapping_joins_names_that_differ(make: Make) -> None:
    dataset = make([([[1, 1, 2, 2]], [[1, 2, 3, 4]])], {1: "vehicle", 2: "person"}, {1: "car", 2: "bus", 3: "person", 4: "tree"})
    assert evaluate(dataset, "pred", "gt").iou == {"vehicle": 0.0, "person": 50.0}
    result = evaluate(dataset, "pred", "gt", mapping={"car": "vehicle", "bus": "vehicle"})
    assert result.iou == {"vehicle": 100.0, "person": 50.0}
    assert result.unmatched == {"tree": 1}
    apart = evaluate(dataset, "pred", "gt", mapping={"person": None, "car": "vehicle"})
    assert apart.never_predicted == ("person",)
    assert apart.unmatched == {"bus": 1, "person": 1, "tree": 1}
    assert "ground-truth class without a match in the prediction, counted as missed: person" in str(apart)


def test_what_was_not_counted_as_it_stands_is_said(make: Make) -> None:
    dataset = make([([[1, 7, 7, 255]], [[1, 9, 1, 1]]), ([[1, 1]], [[9, 0]])], {1: "a"}, {1: "a"})
    result = evaluate(dataset, "pred", "gt")
    assert result.unnamed == {7: 2}
    assert str(result).startswith("mIoU 33.33 %, pixel accuracy 33.33 %, 2 images, 50.0 % of pixels void")
    assert result.unmatched == {"value 9": 1}  # the truth is void at the other 9
    assert "ground-truth value without a name, not counted: 7 (2 pixels)" in str(result)


def test_resized_predictions_are_said(make: Make) -> None:
    dataset = make([([[1, 1, 1, 1]] * 2, [[1, 0]])], {1: "a"}, {1: "a"})
    result = evaluate(dataset, "pred", "gt")
    assert result.pixel_accuracy == 50.0
    assert list(result.resized.values()) == ["2x1 -> 4x2"]


def test_masks_in_any_file_are_read_as_their_targets_say(make: Make, tmp_path: Path) -> None:
    values = np.array([[1, 1, 2, 2], [1, 2, 2, 255]], np.uint8)
    palette = Image.fromarray(values)
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0] + [7, 8, 9] * 253)
    palette.save(tmp_path / "palette.png")
    palette.convert("RGB").save(tmp_path / "rgb.png")
    palette.convert("RGBA").save(tmp_path / "rgba.png")
    Image.fromarray(values.astype(np.uint16) * 300).save(tmp_path / "deep.png")
    ids, colours = {1: "red", 2: "green"}, {"#ff0000": "red", "#00ff00": "green"}
    for name, targets, void in (
        ("palette", ids, 255), ("palette", colours, "#070809"), ("rgb", colours, "#070809"), ("rgba", colours, "#070809"),
        ("deep", {300: "red", 600: "green"}, 255 * 300),
    ):  # fmt: skip
        dataset = make([(None, [[2, 2, 1, 1], [2, 1, 1, 1]])], targets, {1: "green", 2: "red"})
        sample = dataset.first()
        sample["gt"] = fo.Segmentation(mask_path=str(tmp_path / f"{name}.png"))
        sample.save()
        result = evaluate(dataset, "pred", "gt", ignore_index=void)
        assert result.iou == {"red": 100.0, "green": 100.0}, name
        assert result.confusion.sum() == 7


def test_frames_of_videos_are_counted_one_by_one(make_video: Make) -> None:
    dataset = make_video([[([[1, 1]], [[1, 2]]), ([[1, 1]], [[1, 1]])], [([[2, 2]], None)]], {1: "a", 2: "b"})
    result = evaluate(dataset, "frames.pred", "frames.gt", "ev", compute_dice=True)
    assert result.images == 3
    assert result.iou == {"a": 75.0, "b": 0.0}
    assert dataset.values("ev_accuracy") == [0.75, 0.0]
    assert dataset.values("frames.ev_accuracy") == [[0.5, 1.0], [0.0]]
    assert dataset.values("frames.ev_worst_class") == [["a", "a"], ["b"]]
    assert [Path(p).name for p in result.without_prediction] == ["1.mp4#1"]
    assert result.images_with("a", "b") == [(dataset.first().id, 1)]
    dataset.delete_evaluation("ev")
    assert not [name for name in (*dataset.get_field_schema(), *dataset.get_frame_field_schema()) if name.startswith("ev_")]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"ignore_index": -1}, ConfigError, "must be mask values of at least 0 or '#rrggbb' colours, but got -1"),
        ({"ignore_index": 2**24}, ConfigError, "ignore_index must be mask values"),
        ({"ignore_index": 1.5}, ConfigError, "ignore_index must be mask values"),
        ({"ignore_index": [0, "red"]}, ConfigError, "but got 'red'"),
        ({"boundary": 0}, ConfigError, "boundary must be pixels or a share of the diagonal below 1, but got 0"),
        ({"boundary": 2.5}, ConfigError, "boundary must be a whole number of pixels, or below 1, but got 2.5"),
        ({"mapping": {"cat": "a"}}, DatasetError, "predicted class in mapping 'cat' is unknown"),
        ({"mapping": {"a": "aa"}}, DatasetError, "ground-truth class in mapping 'aa' is unknown; did you mean 'a'"),
        ({"include_background": False}, DatasetError, "needs a class called background in 'gt'; it has a"),
        ({"ignore_index": 1}, DatasetError, "must share class names"),
    ],
)
def test_settings_that_can_not_be_are_refused(make: Make, settings: Any, error: type[Exception], message: str) -> None:
    dataset = make([([[1]], [[1]])], {1: "a"}, {1: "a"})
    with pytest.raises(error, match=message):
        evaluate(dataset, "pred", "gt", "ev", **settings)
    assert not dataset.has_evaluations
    assert set(dataset.get_field_schema()) & {"ev_miou", "ev_accuracy"} == set()


@pytest.mark.parametrize("predicted", ["object", "Object"])
def test_255_can_be_a_class_but_only_if_one_says_so(make: Make, predicted: str) -> None:
    dataset = make([([[0, 255]], [[0, 255]])], {0: "ground", 255: "object"}, {0: "ground", 255: predicted})
    with pytest.raises(DatasetError, match="value 255 of 'gt' is void by default, but it is also the class 'object'"):
        evaluate(dataset, "pred", "gt")
    assert evaluate(dataset, "pred", "gt", ignore_index=None).iou["object"] == (100.0 if predicted == "object" else 0.0)
    for explicit in (255, (255,), {255}):
        assert evaluate(dataset, "pred", "gt", ignore_index=explicit).iou == {"ground": 100.0}
    dataset.mask_targets["gt"] = {0: "ground", 255: "Void"}
    assert evaluate(dataset, "pred", "gt").iou == {"ground": 100.0}


def test_blue_is_a_colour_not_void(make: Make) -> None:
    dataset = make([(None, [[1, 2]])], {"#00ff00": "land", "#0000ff": "water"}, {1: "land", 2: "land"})
    dataset.set_values("gt", [fo.Segmentation(mask=np.array([[[0, 255, 0], [0, 0, 255]]], np.uint8))])
    assert evaluate(dataset, "pred", "gt").iou == {"land": 50.0, "water": 0.0}


def test_value_0_is_background_by_name_only(make: Make) -> None:
    dataset = make([([[0, 1]], [[0, 1]])], {0: "road", 1: "car"}, {0: "road", 1: "car"})
    with pytest.raises(DatasetError, match="needs a class called background"):
        evaluate(dataset, "pred", "gt", include_background=False)


@pytest.mark.parametrize(
    "mask", [np.array([[True, False]]), np.array([[1.0, 0.0]]), np.array([[[1], [0]]], np.uint8), np.array([[1, 0]], np.int64)]
)
def test_masks_of_any_kind_of_number_are_read(make: Make, mask: Any) -> None:
    dataset = make([([[1, 1]], None)], {1: "a"}, {1: "a"})
    dataset.set_values("pred", [fo.Segmentation(mask=mask)])
    assert evaluate(dataset, "pred", "gt").miou == 50.0


@pytest.mark.parametrize("mask", [np.zeros((0, 0), np.uint8), np.array([[0.5, 1.0]]), np.zeros((1, 2, 2), np.uint8)])
def test_masks_that_can_not_be_count_as_missing(make: Make, mask: Any) -> None:
    dataset = make([([[1, 1]], None)], {1: "a"}, {1: "a"})
    dataset.set_values("pred", [fo.Segmentation(mask=mask)])
    result = evaluate(dataset, "pred", "gt")
    assert result.miou == 0.0
    assert "must be (H, W) class ids" in next(iter(result.without_prediction.values()))


def test_targets_that_can_not_be_are_refused(make: Make) -> None:
    with pytest.raises(DatasetError, match="mask targets of 'pred' must be at least 0"):
        evaluate(make([([[1]], None)], {1: "a"}, {-1: "a", 1: "b"}), "pred", "gt")
    with pytest.raises(DatasetError, match=r"no class may be called '\(unlabelled\)'"):
        evaluate(make([([[1]], None)], {1: "(unlabelled)", 2: "a"}, {1: "a"}), "pred", "gt")


def test_groups_and_mixed_levels_are_refused(make: Make, make_video: Make) -> None:
    videos = make_video([[([[1]], [[1]])]], {1: "a"})
    videos.add_sample_field("whole", fo.EmbeddedDocumentField, embedded_doc_type=fo.Segmentation)
    with pytest.raises(DatasetError, match="both fields must belong to samples or both to frames"):
        evaluate(videos, "frames.pred", "whole")
    group = fo.Group()
    groups = fo.Dataset()
    groups.add_group_field("group", default="left")
    groups.add_sample(fo.Sample("a.png", group=group.element("left"), gt=fo.Segmentation(), pred=fo.Segmentation()))
    with pytest.raises(DatasetError, match=r"but are groups; use select_group_slices\(\)"):
        evaluate(groups, "pred", "gt")
    groups.delete()
