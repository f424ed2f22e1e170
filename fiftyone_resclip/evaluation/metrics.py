"""Computes the usual segmentation metrics from integer counts. Uses only numpy: no files, no FiftyOne.

Counts are summed over the whole dataset before any ratio is computed. A confusion matrix has a row per ground-truth class and a
column per predicted class, plus a last column for unlabelled pixels, which count as misses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiftyone_resclip.errors import ShapeError
from fiftyone_resclip.fields.values import Mask, value_codes

Confusion = NDArray[np.int64]


class ValuePairs(NamedTuple):
    """How often each pair of mask values occurs; pairs that do not occur are left out.

    Attributes:
        truth: ``(K,)`` ground-truth values
        prediction: ``(K,)`` predicted values
        pixels: ``(K,)`` int64, above 0
    """

    truth: Mask
    prediction: Mask
    pixels: NDArray[np.int64]


def value_pairs(truth: Mask, prediction: Mask) -> ValuePairs:
    """Counts the pairs of values in two masks, so that callers map a few pairs to classes instead of every pixel.

    Args:
        truth: ``(H, W)``, any integer type
        prediction: ``(H, W)``, any integer type

    Returns:
        the pairs, sorted by truth, then by prediction

    Raises:
        ShapeError: if the masks differ in size
    """
    if truth.shape != prediction.shape:
        raise ShapeError(f"truth and prediction must have the same size, but got {truth.shape} and {prediction.shape}")
    if not truth.size:
        nothing = np.zeros(0, dtype=np.int64)
        return ValuePairs(nothing, nothing, nothing)
    flat, other = truth.ravel(), prediction.ravel()
    # Masks consist of patches, so counting runs of equal pixels takes a fifth of the time of counting every pixel.
    ends = np.append(np.flatnonzero((flat[1:] != flat[:-1]) | (other[1:] != other[:-1])), flat.size - 1)
    truth_values, rows = value_codes(flat[ends])
    values, columns = value_codes(other[ends])
    joint, lengths = rows.astype(np.int64) * len(values) + columns, np.diff(ends, prepend=-1)
    if len(truth_values) * len(values) <= 2**16:  # few enough for a table
        table = np.bincount(joint, weights=lengths)
        pairs = np.flatnonzero(table)
        counts = table[pairs].astype(np.int64)  # exact below 2^53
    else:
        pairs, places = np.unique(joint, return_inverse=True)
        counts = np.bincount(places, weights=lengths).astype(np.int64)
    return ValuePairs(truth_values[pairs // len(values)], values[pairs % len(values)], counts)


def confusion_matrix(truth: Mask, prediction: Mask, n_classes: int) -> Confusion:
    """Counts pixels by ground-truth and predicted class.

    Args:
        truth: class index per pixel, ``(H, W)``; anything outside ``[0, n_classes)`` is void and not counted
        prediction: class index per pixel, ``(H, W)``; anything outside ``[0, n_classes)`` is unlabelled
        n_classes: number of classes ``C``

    Returns:
        ``(C, C + 1)`` int64; the last column counts unlabelled pixels

    Raises:
        ShapeError: if the masks differ in size
    """
    pairs = value_pairs(truth, prediction)
    counted = (pairs.truth >= 0) & (pairs.truth < n_classes)
    labelled = (pairs.prediction >= 0) & (pairs.prediction < n_classes)
    confusion = np.zeros((n_classes, n_classes + 1), dtype=np.int64)
    columns = np.where(labelled, pairs.prediction, n_classes)
    np.add.at(confusion, (pairs.truth[counted], columns[counted]), pairs.pixels[counted])
    return confusion


def iou(confusion: Confusion) -> NDArray[np.float64]:
    """Computes the intersection over union of each class.

    Args:
        confusion: from :func:`confusion_matrix`, summed over the dataset

    Returns:
        ``(C,)`` in [0, 1]; NaN for a class that is neither in the ground truth nor predicted
    """
    right, in_truth, predicted = _counts(confusion)
    return _ratio(right, in_truth + predicted - right)


def miou(confusion: Confusion) -> float:
    """Computes the mean of :func:`iou` over the classes that occur, in [0, 1]; NaN if none does."""
    return mean(iou(confusion))


def dice(confusion: Confusion) -> NDArray[np.float64]:
    """Computes the Dice coefficient of each class: twice the intersection over the sum of both areas.

    Args:
        confusion: from :func:`confusion_matrix`, summed over the dataset

    Returns:
        ``(C,)`` in [0, 1]; NaN for a class that is neither in the ground truth nor predicted
    """
    right, in_truth, predicted = _counts(confusion)
    return _ratio(2 * right, in_truth + predicted)


def pixel_accuracy(confusion: Confusion) -> float:
    """Computes the share of counted pixels that are correct (aAcc), in [0, 1]; NaN if there are none."""
    total = confusion.sum()
    return float(_counts(confusion)[0].sum() / total) if total else float("nan")


def recall(confusion: Confusion) -> NDArray[np.float64]:
    """Computes the share of each class's true pixels that are correct, ``(C,)`` in [0, 1]; NaN for a class without any."""
    right, in_truth, _ = _counts(confusion)
    return _ratio(right, in_truth)


def precision(confusion: Confusion) -> NDArray[np.float64]:
    """Computes the share of each class's predicted pixels that are correct, ``(C,)`` in [0, 1]; NaN for a class without any."""
    right, _, predicted = _counts(confusion)
    return _ratio(right, predicted)


def mean_accuracy(confusion: Confusion) -> float:
    """Computes the mean recall over the classes of the ground truth (mAcc), in [0, 1]; NaN if there are none."""
    return mean(recall(confusion))


def frequency_weighted_iou(confusion: Confusion, scored: Sequence[bool] | None = None) -> float:
    """Computes the mean of :func:`iou`, weighted by the ground-truth pixels of each class.

    Args:
        confusion: from :func:`confusion_matrix`, summed over the dataset
        scored (None): whether each class counts, ``(C,)``; by default all do

    Returns:
        in [0, 1]; NaN if there is no ground truth
    """
    weights = confusion.sum(axis=1) * (1 if scored is None else np.array(scored))
    occurs = weights > 0
    return float(np.average(iou(confusion)[occurs], weights=weights[occurs])) if occurs.any() else float("nan")


def mean(values: NDArray[np.float64]) -> float:
    """Computes the mean of the values that are not NaN; NaN if there are none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _counts(confusion: Confusion) -> tuple[Confusion, Confusion, Confusion]:
    """Returns the numbers of correct, true and predicted pixels of each class."""
    return np.diagonal(confusion), confusion.sum(axis=1), confusion[:, :-1].sum(axis=0)


def _ratio(part: Confusion, whole: Confusion) -> NDArray[np.float64]:
    ratios: NDArray[np.float64] = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    return ratios
