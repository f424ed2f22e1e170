"""Tests that runs stored by earlier versions can still be loaded by the class paths stored with them."""

from __future__ import annotations

import json
from typing import Any

import fiftyone as fo
import pytest

from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.evaluation.evaluate import evaluate
from fiftyone_resclip.evaluation.method import SemanticEvaluationConfig
from fiftyone_resclip.evaluation.results import SemanticEvaluationResults
from tests.evaluation.conftest import Make

#: Exactly as an early version stored them, except for the ids.
CONFIG: dict[str, Any] = {
    "cls": "fiftyone_resclip.evaluation.method.SemanticEvaluationConfig", "type": "segmentation", "method": "resclip",
    "pred_field": "pred", "gt_field": "gt", "compute_dice": False, "custom_metrics": None, "ignore_index": 255, "mapping": None,
    "include_background": True, "boundary": None,
}  # fmt: skip
RESULTS: dict[str, Any] = {
    "cls": "fiftyone_resclip.evaluation.results.SemanticEvaluationResults",
    "custom_metrics": {"resclip/miou": {"key": "mIoU", "value": 25.0, "label": "mIoU (%)", "lower_is_better": False}},
    "ytrue": ["a", "b"], "ypred": ["a", "a"], "confs": None, "weights": [1, 1], "ytrue_ids": ["GT", "GT"],
    "ypred_ids": ["PRED", "PRED"], "classes": ["a", "b", "(unlabelled)"], "missing": "(unlabelled)",
    "pixel_confusion_matrix": [[1, 0, 0], [1, 0, 0], [0, 0, 0]],
    "details": {
        "images": 1, "void": 0, "scored": [True, True], "unmatched": {}, "unnamed": {}, "never_predicted": [],
        "without_prediction": {}, "without_truth": {}, "resized": {}, "boundary": None,
    },
}  # fmt: skip


def store(dataset: fo.Dataset, key: str, config: dict[str, Any]) -> None:
    """Replaces a new run with the stored one."""
    run, sample = dataset._doc.evaluations[key], dataset.first()
    results = json.dumps(RESULTS).replace("GT", sample.gt.id).replace("PRED", sample.pred.id)
    run.results.replace(results.encode(), content_type="application/json")
    run.config = config
    run.save()
    dataset._evaluation_cache.clear()
    dataset.reload()


@pytest.fixture
def dataset(make: Make) -> fo.Dataset:
    names = {1: "a", 2: "b"}
    dataset = make([([[1, 2]], [[2, 2]])], names, names)
    evaluate(dataset, "pred", "gt", "ev")
    return dataset


def test_a_run_of_the_first_house_is_loaded_shown_and_replaced(dataset: fo.Dataset) -> None:
    store(dataset, "ev", CONFIG)
    results = dataset.load_evaluation_results("ev")
    assert type(results) is SemanticEvaluationResults
    assert (results.miou, results.iou) == (25.0, {"a": 50.0, "b": 0.0})
    assert results.config.ignore_index == 255
    assert type(dataset.get_evaluation_info("ev").config) is SemanticEvaluationConfig
    assert results.images_with("b", "a") == [(dataset.first().id, 1)]
    assert [dataset.get_evaluation_info(key).config.method for key in dataset.list_evaluations(method="resclip")] == ["resclip"]
    with pytest.raises(DatasetError, match="is taken"):
        evaluate(dataset, "pred", "gt", "ev")
    assert evaluate(dataset, "pred", "gt", "ev", overwrite=True).miou == 25.0
    dataset.delete_evaluation("ev")
    assert "ev_miou" not in dataset.get_field_schema()


def test_that_test_can_fail(dataset: fo.Dataset) -> None:
    store(dataset, "ev", {**CONFIG, "cls": "fiftyone_resclip.evaluation.moved.SemanticEvaluationConfig"})
    assert type(dataset.get_evaluation_info("ev").config) is not SemanticEvaluationConfig  # FiftyOne falls back to its own
