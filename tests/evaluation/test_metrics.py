"""Tests metrics against a naive count: boolean masks per class, summed over the whole set in Python integers."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from fiftyone_resclip.errors import ShapeError
from fiftyone_resclip.evaluation import metrics

Masks = list[tuple[NDArray[np.int64], NDArray[np.int64]]]
VALUES = st.sampled_from([-1, 0, 1, 2, 3, 255, 300])
PAIRS = st.lists(
    st.tuples(hnp.arrays(np.int64, (4, 5), elements=VALUES), hnp.arrays(np.int64, (4, 5), elements=VALUES)),
    min_size=1,
    max_size=4,
)


def naive_iou(pairs: Masks, n_classes: int) -> list[float]:
    result = []
    for c in range(n_classes):
        right = union = 0
        for truth, prediction in pairs:
            valid = (truth >= 0) & (truth < n_classes)
            right += int(((truth == c) & (prediction == c) & valid).sum())
            union += int((((truth == c) | (prediction == c)) & valid).sum())
        result.append(right / union if union else math.nan)
    return result


def total(pairs: Masks, n_classes: int) -> metrics.Confusion:
    return sum(
        (metrics.confusion_matrix(t, p, n_classes) for t, p in pairs), start=np.zeros((n_classes, n_classes + 1), np.int64)
    )


@given(PAIRS)
@settings(max_examples=150, deadline=None)
def test_iou_equals_the_naive_count_to_the_last_digit(pairs: Masks) -> None:
    confusion = total(pairs, 4)
    expected = naive_iou(pairs, 4)
    np.testing.assert_array_equal(metrics.iou(confusion), expected)
    known = [value for value in expected if not math.isnan(value)]
    assert (
        metrics.miou(confusion) == pytest.approx(sum(known) / len(known), abs=1e-15)
        if known
        else math.isnan(metrics.miou(confusion))
    )
    counted = sum(int(((t >= 0) & (t < 4)).sum()) for t, _ in pairs)
    right = sum(int(((t == p) & (t >= 0) & (t < 4)).sum()) for t, p in pairs)
    assert confusion.sum() == counted
    assert metrics.pixel_accuracy(confusion) == right / counted if counted else math.isnan(metrics.pixel_accuracy(confusion))


def test_an_unlabelled_half_is_half_wrong() -> None:
    truth = np.zeros((2, 4), int)
    prediction = np.array([[0, 0, -1, -1]] * 2)
    confusion = metrics.confusion_matrix(truth, prediction, 1)
    assert confusion.tolist() == [[4, 4]]
    assert metrics.miou(confusion) == metrics.pixel_accuracy(confusion) == metrics.mean_accuracy(confusion) == 0.5


def test_a_class_only_predicted_counts_as_zero_and_an_absent_one_not_at_all() -> None:
    confusion = metrics.confusion_matrix(np.array([[0, 0]]), np.array([[0, 1]]), 3)
    np.testing.assert_array_equal(metrics.iou(confusion), [0.5, 0.0, np.nan])
    assert metrics.miou(confusion) == 0.25


def test_the_mean_is_taken_once_over_the_dataset() -> None:
    small, large = np.zeros((1, 1), int), np.zeros((1, 9), int)
    confusion = metrics.confusion_matrix(small, small - 1, 1) + metrics.confusion_matrix(large, large, 1)
    assert metrics.miou(confusion) == 0.9  # a mean of per-image values would be 0.5


def test_narrow_integers_do_not_wrap() -> None:
    truth = np.full((3, 3), 199, np.uint8)
    assert metrics.confusion_matrix(truth, truth, 200)[199, 199] == 9


@pytest.mark.parametrize(("values", "spread"), [(200, 1), (600, 7), (600, 30000)])
def test_pairs_of_any_width_are_each_counted_once(values: int, spread: int) -> None:
    """Few values are counted in a table, many are sorted; both must match a count in plain Python, pixel by pixel."""
    rng = np.random.default_rng(0)
    truth, prediction = (np.repeat(rng.integers(0, values, (20, 60)) * spread, 3, axis=1) for _ in range(2))
    truth[0], prediction[0] = 5 * spread, 0  # a run as long as a row
    counted = metrics.value_pairs(truth, prediction)
    found = zip(counted.truth.tolist(), counted.prediction.tolist(), counted.pixels.tolist(), strict=True)
    expected = Counter(zip(truth.ravel().tolist(), prediction.ravel().tolist(), strict=True))
    assert list(found) == [(*pair, pixels) for pair, pixels in sorted(expected.items())]


def test_sizes_must_agree() -> None:
    with pytest.raises(ShapeError, match=r"same size, but got \(2, 2\) and \(2, 3\)"):
        metrics.confusion_matrix(np.zeros((2, 2), int), np.zeros((2, 3), int), 1)
