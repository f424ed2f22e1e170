"""Tests counts against a naive reference: boolean masks per class, summed over the whole set in Python integers."""

from __future__ import annotations

import math

import fiftyone as fo
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from fiftyone_resclip.evaluation import metrics
from fiftyone_resclip.evaluation.counting import Image, Total, count_image
from fiftyone_resclip.evaluation.matching import VOID, ClassMatch, MaskField

Masks = NDArray[np.integer]
#: Value 7 of the truth and 2 of the prediction have no name, "moon" has no match, "never" does not occur, 0 is unlabelled.
TRUTH = {1: "sky", 300: "road", 5: "car", 6: "never"}
PREDICTED = {9: "sky", 301: "road", 4: "car", 77: "moon"}
NAMES = tuple(TRUTH.values())
MATCH = ClassMatch(
    MaskField("gt", TRUTH),
    MaskField("pred", PREDICTED),
    NAMES,
    {**{value: NAMES.index(name) for value, name in TRUTH.items()}, 255: VOID},
    {value: NAMES.index(name) for value, name in PREDICTED.items() if name in NAMES},
    {name: name if name in NAMES else None for name in PREDICTED.values()},
)


def masks(values: list[int]) -> st.SearchStrategy[Masks]:
    few = st.lists(st.sampled_from(values), min_size=1, max_size=2)  # whole sets without a class are as likely as any
    return few.flatmap(lambda some: hnp.arrays(np.uint16, (3, 7), elements=st.sampled_from(some)))


PAIRS = st.lists(st.tuples(masks([*TRUTH, 7, 255]), masks([*PREDICTED, 0, 2])), min_size=1, max_size=4)


def total_of(pairs: list[tuple[Masks, Masks]]) -> Total:
    total = Total(MATCH)
    for number, (truth, prediction) in enumerate(pairs):
        labels = (fo.Segmentation(mask=mask) for mask in (truth, prediction))
        total.add(count_image(Image(None, str(number), *labels), MATCH, None))
    return total


def naive(pairs: list[tuple[Masks, Masks]]) -> dict[str, tuple[float, float]]:
    """Returns IoU and Dice by class."""
    result = {}
    for true_value, name in TRUTH.items():
        predicted_values = [value for value, other in PREDICTED.items() if other == name]
        right = in_truth = predicted = 0
        for truth, prediction in pairs:
            counted = np.isin(truth, list(TRUTH))
            is_true, is_predicted = truth == true_value, np.isin(prediction, predicted_values) & counted
            right += int((is_true & is_predicted).sum())
            in_truth += int(is_true.sum())
            predicted += int(is_predicted.sum())
        union, both = in_truth + predicted - right, in_truth + predicted
        result[name] = (right / union if union else math.nan, 2 * right / both if both else math.nan)
    return result


@given(PAIRS)
@settings(max_examples=200, deadline=None)
def test_counts_equal_the_naive_reference_to_the_last_digit(pairs: list[tuple[Masks, Masks]]) -> None:
    total = total_of(pairs)
    expected = naive(pairs)
    np.testing.assert_array_equal(metrics.iou(total.confusion), [iou for iou, _ in expected.values()])
    np.testing.assert_array_equal(metrics.dice(total.confusion), [dice for _, dice in expected.values()])
    known = [iou for iou, _ in expected.values() if not math.isnan(iou)]
    miou = metrics.miou(total.confusion)
    assert miou == pytest.approx(sum(known) / len(known), abs=1e-15) if known else math.isnan(miou)
    truth, prediction = (np.stack(part) for part in zip(*pairs, strict=True))
    counted = np.isin(truth, list(TRUTH))
    assert total.confusion.sum() == counted.sum()
    assert total.unnamed[7] == (truth == 7).sum()
    assert total.unmatched["moon"] == ((prediction == 77) & counted).sum()
    assert total.unmatched["value 2"] == ((prediction == 2) & counted).sum()
    nothing = np.isin(prediction, [0, 2, 77]) & counted
    assert total.confusion[:, -1].sum() == nothing.sum()


def test_each_reference_class_is_met() -> None:
    """Checks the reference on a case counted by hand: correct, confused and absent classes, void, and values without names."""
    truth = np.array([[1, 1, 300, 255, 7, 5]], np.uint16)
    prediction = np.array([[9, 301, 301, 9, 9, 77]], np.uint16)
    assert naive([(truth, prediction)])["sky"] == (1 / 2, 2 / 3)
    assert naive([(truth, prediction)])["road"] == (1 / 2, 2 / 3)
    assert naive([(truth, prediction)])["car"] == (0.0, 0.0)
    assert math.isnan(naive([(truth, prediction)])["never"][0])
