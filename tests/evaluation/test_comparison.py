from __future__ import annotations

import math

import fiftyone as fo
import numpy as np
import pytest

from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.evaluation.comparison import compare
from fiftyone_resclip.evaluation.evaluate import evaluate
from tests.evaluation.conftest import Make

NAMES = {1: "a", 2: "b"}


def test_two_runs_are_compared_by_class_and_by_sample(make: Make) -> None:
    dataset = make([([[1, 1, 2, 2]], [[1, 1, 1, 1]]), ([[1, 1, 2, 2]], [[1, 1, 2, 2]]), ([[255]], [[1]])], NAMES, NAMES)
    dataset.mask_targets["better"] = NAMES
    for sample, mask in zip(dataset, ([[1, 1, 2, 2]], [[2, 2, 2, 2]], [[1]]), strict=True):
        sample["better"] = fo.Segmentation(mask=np.array(mask, np.uint8))
        sample.save()
    before, after = (evaluate(dataset, field, "gt", key) for field, key in (("pred", "one"), ("better", "two")))
    result = compare(before, after)
    assert {row.name: row.change for row in result.classes} == {
        name: pytest.approx(after.iou[name] - before.iou[name]) for name in ("a", "b")
    }
    assert result.miou.change == pytest.approx(after.miou - before.miou)
    first, second, third = dataset.values("id")
    assert [row.name for row in result.samples] == [second, first, third]  # greatest loss first, void at the end
    assert result.samples[0].change == -75.0
    assert result.samples[1].change == 75.0
    assert math.isnan(result.samples[2].change)
    assert "mIoU" in str(result)


def test_classes_of_one_run_only_are_kept(make: Make) -> None:
    dataset = make([([[1, 2]], [[1, 2]])], NAMES, NAMES)
    before = evaluate(dataset, "pred", "gt", "one")
    after = evaluate(dataset, "pred", "gt", "two", ignore_index=2)
    assert [(row.name, math.isnan(row.after)) for row in compare(before, after).classes] == [("a", False), ("b", True)]


def test_runs_that_can_not_be_compared_are_refused(make: Make) -> None:
    one, other = (make([([[1]], [[1]])], NAMES, NAMES) for _ in range(2))
    kept = evaluate(one, "pred", "gt", "ev")
    with pytest.raises(DatasetError, match="evaluate with an eval_key"):
        compare(kept, evaluate(one, "pred", "gt"))
    with pytest.raises(DatasetError, match="both runs must be from the same dataset"):
        compare(kept, evaluate(other, "pred", "gt", "ev"))


def test_what_else_differs_is_said(make: Make) -> None:
    dataset = make([([[1]], [[1]]), ([[2]], [[1]])], NAMES, NAMES)
    whole, part = evaluate(dataset, "pred", "gt", "one"), evaluate(dataset.limit(1), "pred", "gt", "two", ignore_index=None)
    notes = compare(whole, part).notes
    assert notes == ("the runs differ in ignore_index: 255 and None", "the runs cover different samples: 2 and 1 images")
    assert compare(whole, whole).notes == ()
