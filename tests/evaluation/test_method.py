"""Tests the FiftyOne method: runs are stored, reloaded, renamed and deleted, even if our package is not installed."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest

from fiftyone_resclip.errors import ConfigError, DatasetError
from fiftyone_resclip.evaluation.browsing import images_wrong_on
from fiftyone_resclip.evaluation.error_masks import write_error_masks
from fiftyone_resclip.evaluation.evaluate import evaluate
from fiftyone_resclip.evaluation.matching import UNLABELLED
from fiftyone_resclip.evaluation.method import SemanticEvaluationConfig
from fiftyone_resclip.evaluation.results import SemanticEvaluationResults
from tests.evaluation.conftest import Make

NAMES = {1: "a", 2: "b"}
FIELDS = {"ev_accuracy", "ev_precision", "ev_recall", "ev_miou", "ev_worst_class", "ev_unlabelled"}


@pytest.fixture
def dataset(make: Make) -> fo.Dataset:
    return make([([[1, 1, 2, 2]], [[1, 2, 2, 0]]), ([[1, 1, 1, 2]], [[2, 2, 1, 2]]), ([[2]], None)], NAMES, NAMES)


@pytest.mark.parametrize("method", [SemanticEvaluationConfig, "resclip"])
def test_it_runs_by_class_and_by_name(dataset: fo.Dataset, method: Any) -> None:
    result = dataset.evaluate_segmentations("pred", "gt", eval_key="ev", method=method)
    assert isinstance(result, SemanticEvaluationResults)
    assert isinstance(result, fo.utils.eval.segmentation.SegmentationResults)
    assert result.iou == evaluate(dataset, "pred", "gt").iou
    assert set(dataset.get_field_schema()) >= FIELDS
    assert dataset.get_evaluation_info("ev").config.method == "resclip"


def test_a_field_is_not_its_own_truth(dataset: fo.Dataset) -> None:
    for way in (lambda: dataset.evaluate_segmentations("gt", "gt", method="resclip"), lambda: evaluate(dataset, "gt", "gt")):
        with pytest.raises(DatasetError, match="must be two fields of masks, but both are 'gt'"):
            way()


def test_the_targets_can_be_given_as_with_fiftyones_own(dataset: fo.Dataset) -> None:
    dataset.mask_targets = {}
    result = dataset.evaluate_segmentations("pred", "gt", method="resclip", mask_targets={1: "x", 2: "y"})
    assert result.class_names == ("x", "y")


def test_what_is_reloaded_equals_what_was_returned(dataset: fo.Dataset) -> None:
    result = evaluate(dataset, "pred", "gt", "ev", boundary=1, ignore_index=(254, 255), mapping={"a": "a"}, compute_dice=True)
    dataset._evaluation_cache.clear()
    again = dataset.load_evaluation_results("ev")
    assert again is not result and type(again) is SemanticEvaluationResults
    assert str(again) == str(result)
    assert (again.miou, again.boundary_iou, again.dice) == (result.miou, result.boundary_iou, result.dice)
    assert again.border_accuracy == result.border_accuracy == pytest.approx(400 / 9)
    assert math.isnan(again.interior_accuracy)  # every pixel of a one-row mask is near a border
    assert again.without_prediction == result.without_prediction != {}
    assert again.config.ignore_index == [254, 255]
    assert again.images_with("a", "b") == result.images_with("a", "b")


def test_fiftyones_own_figures_agree(dataset: fo.Dataset) -> None:
    result = evaluate(dataset, "pred", "gt", "ev")
    assert result.metrics()["accuracy"] == pytest.approx(result.pixel_accuracy / 100)
    assert result.metrics()["mIoU"] == round(result.miou, 2)
    assert result.report()["a"]["recall"] == pytest.approx(2 / 5)
    np.testing.assert_array_equal(result.confusion_matrix(classes=["a", "b", UNLABELLED])[:2], result.confusion)
    with result.use_subset(dataset.limit(1)):
        assert result.metrics()["support"] == 4


def test_images_of_a_cell_come_with_most_pixels_first(dataset: fo.Dataset) -> None:
    result = evaluate(dataset, "pred", "gt", "ev")
    first, second, third = dataset.values("id")
    assert result.images_with("a", "b") == [(second, 2), (first, 1)]
    assert result.images_with("b", UNLABELLED) == sorted([(first, 1), (third, 1)], key=lambda item: item[0])
    assert result.images_with("b", "a") == []
    with pytest.raises(DatasetError, match="class 'c' is unknown"):
        result.images_with("a", "c")
    with pytest.raises(DatasetError, match="evaluate with an eval_key"):
        evaluate(dataset, "pred", "gt").images_with("a", "b")


def test_runs_are_renamed_and_deleted_with_their_fields(dataset: fo.Dataset) -> None:
    before = evaluate(dataset, "pred", "gt", "ev").miou
    values = dataset.values("ev_miou")
    dataset.rename_evaluation("ev", "other")
    assert dataset.values("other_miou") == values
    assert not FIELDS & set(dataset.get_field_schema())
    dataset._evaluation_cache.clear()
    assert dataset.load_evaluation_results("other").miou == before
    dataset.delete_evaluation("other")
    assert not [name for name in dataset.get_field_schema() if name.startswith("other_")]


def test_fields_are_listed_in_a_fixed_order(dataset: fo.Dataset) -> None:
    evaluate(dataset, "pred", "gt", "ev", compute_dice=True)
    metrics = ("accuracy", "precision", "recall", "dice", "miou", "worst_class", "unlabelled")
    assert list(dataset.get_field_schema())[-7:] == [f"ev_{name}" for name in metrics]


def test_a_view_is_evaluated_alone(dataset: fo.Dataset) -> None:
    result = evaluate(dataset.limit(1), "pred", "gt", "ev")
    assert result.images == 1
    assert dataset.values("ev_accuracy") == [0.5, None, None]
    assert len(dataset.load_evaluation_view("ev")) == 1


def test_a_key_that_is_taken_is_refused_and_the_run_is_left(dataset: fo.Dataset) -> None:
    evaluate(dataset, "pred", "gt", "ev")
    with pytest.raises(DatasetError, match="eval key 'ev' is taken; choose another, or replace that run"):
        evaluate(dataset, "pred", "gt", "ev")
    again = evaluate(dataset, "pred", "gt", "ev", ignore_index=2, overwrite=True)
    dataset._evaluation_cache.clear()
    assert dataset.load_evaluation_results("ev").confusion.tolist() == again.confusion.tolist() == [[2, 3]]
    with pytest.raises(DatasetError, match="eval key 'my run' can't be used: .*valid variable names"):
        evaluate(dataset, "pred", "gt", "my run")
    dataset.limit(2).evaluate_segmentations("pred", "gt", eval_key="theirs", mask_targets=NAMES, method="simple")
    with pytest.raises(DatasetError, match="eval key 'theirs' can't be used"):
        evaluate(dataset, "pred", "gt", "theirs", overwrite=True)


def test_a_key_that_would_fill_fields_of_the_user_is_refused(dataset: fo.Dataset) -> None:
    dataset.set_values("ev_miou", [1.0, 2.0, 3.0])
    with pytest.raises(DatasetError, match="eval key 'ev' would overwrite existing fields: ev_miou; choose another"):
        evaluate(dataset, "pred", "gt", "ev")
    assert dataset.values("ev_miou") == [1.0, 2.0, 3.0]
    assert not dataset.has_evaluation("ev")


def test_a_run_that_fails_leaves_the_earlier_one(dataset: fo.Dataset) -> None:
    evaluate(dataset, "pred", "gt", "ev")
    dataset.mask_targets["pred"] = {1: "elsewhere"}
    with pytest.raises(DatasetError, match="must share class names"):
        dataset.evaluate_segmentations("pred", "gt", eval_key="ev", method="resclip")
    dataset.mask_targets["pred"] = NAMES
    kept = dataset.values("gt")
    dataset.set_values("gt", [None] * 3)
    with pytest.raises(DatasetError, match="no sample has a readable mask"):
        evaluate(dataset, "pred", "gt", "ev", overwrite=True)
    dataset.set_values("gt", kept)
    dataset._evaluation_cache.clear()
    assert dataset.load_evaluation_results("ev").images == 3
    assert dataset.values("ev_accuracy")[0] == 0.5


def test_a_run_that_breaks_is_not_listed(dataset: fo.Dataset) -> None:
    dataset.set_values("gt", [None] * 3)
    with pytest.raises(DatasetError, match="no sample has a readable mask"):
        evaluate(dataset, "pred", "gt", "ev")
    assert not dataset.has_evaluation("ev")
    assert not FIELDS & set(dataset.get_field_schema())


def test_a_misspelt_setting_is_refused(dataset: fo.Dataset) -> None:
    with pytest.raises(ConfigError, match="evaluation setting 'ignore_idx' is unknown; did you mean 'ignore_index'"):
        dataset.evaluate_segmentations("pred", "gt", method="resclip", ignore_idx=0)


def test_a_slice_of_groups_is_evaluated_and_its_samples_filled(tmp_path: Path) -> None:
    groups = fo.Dataset()
    groups.add_group_field("group", default="left")
    groups.mask_targets = {"gt": NAMES, "pred": NAMES}
    for index in range(2):
        group = fo.Group()
        for name in ("left", "right"):
            labels = {field: fo.Segmentation(mask=np.array([[1, 2]], np.uint8)) for field in ("gt", "pred")}
            groups.add_sample(fo.Sample(str(tmp_path / f"{name}-{index}.png"), group=group.element(name), **labels))
    right = groups.select_group_slices("right")
    result = evaluate(right, "pred", "gt", "ev")
    assert (result.images, result.miou) == (2, 100.0)
    assert right.values("ev_miou") == [100.0, 100.0]
    assert groups.select_group_slices("left").values("ev_miou") == [None, None]
    write_error_masks(right, "pred", "gt", "errors", tmp_path)
    assert right.count("errors") == 2
    assert len(images_wrong_on(result, "a")) == 0
    groups.delete()


_WITHOUT_US = """
import json, sys
sys.modules["fiftyone_resclip"] = None  # as if it were not installed
import fiftyone as fo
dataset = fo.load_dataset({name!r})
results = dataset.load_evaluation_results("ev")
found = dict(cls=type(results).__name__, accuracy=results.metrics()["accuracy"], matrix=results.pixel_confusion_matrix.tolist())
dataset.rename_evaluation("ev", "moved")
found["renamed"] = dataset.values("moved_accuracy")
dataset.delete_evaluation("moved")
found["left"] = dataset.list_evaluations()
print("FOUND" + json.dumps(found))
"""


def test_a_process_without_our_package_reads_renames_and_deletes_runs(dataset: fo.Dataset) -> None:
    dataset.persistent = True
    result = evaluate(dataset, "pred", "gt", "ev")
    accuracies = dataset.values("ev_accuracy")
    program = _WITHOUT_US.format(name=dataset.name)
    done = subprocess.run([sys.executable, "-c", program], env=dict(os.environ), capture_output=True, text=True, timeout=120)
    assert "FOUND" in done.stdout, done.stderr
    found = json.loads(done.stdout.split("FOUND")[1])
    assert found["cls"] == "SegmentationResults"
    assert found["accuracy"] == pytest.approx(result.pixel_accuracy / 100)
    assert found["matrix"] == result.pixel_confusion_matrix.tolist()
    assert found["renamed"] == accuracies == [0.5, 0.5, 0.0]
    assert found["left"] == []
