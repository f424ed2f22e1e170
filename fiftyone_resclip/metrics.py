"""Segmentation metrics from one integer confusion matrix, as the field counts them: numpy only, no files, no FiftyOne.

Counts are summed over the whole dataset before any ratio is taken. A confusion matrix has a row per ground-truth class and a
column per predicted class, plus a last column for pixels that were left unlabelled: those are misses, never right.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fiftyone_resclip.errors import ShapeError

Confusion = NDArray[np.int64]


def confusion_matrix(truth: NDArray[np.integer], prediction: NDArray[np.integer], n_classes: int) -> Confusion:
    """Counts pixels by ground-truth and predicted class.

    Args:
        truth: class index per pixel, ``(H, W)``; anything outside ``[0, n_classes)`` is void and not counted
        prediction: class index per pixel, ``(H, W)``; anything outside ``[0, n_classes)`` is unlabelled
        n_classes: number of classes ``C``

    Returns:
        ``(C, C + 1)`` int64; the last column counts unlabelled pixels

    Raises:
        ShapeError: if the two differ in size
    """
    if truth.shape != prediction.shape:
        raise ShapeError(f"truth and prediction must have the same size, but got {truth.shape} and {prediction.shape}")
    rows, columns = truth.astype(np.int64).ravel(), prediction.astype(np.int64).ravel()
    labelled = (rows >= 0) & (rows < n_classes)
    rows, columns = rows[labelled], columns[labelled]
    columns = np.where((columns >= 0) & (columns < n_classes), columns, n_classes)
    counts = np.bincount(rows * (n_classes + 1) + columns, minlength=n_classes * (n_classes + 1))
    return counts.reshape(n_classes, n_classes + 1)


def iou(confusion: Confusion) -> NDArray[np.float64]:
    """Gives each class its intersection over union.

    Args:
        confusion: from :func:`confusion_matrix`, summed over the dataset

    Returns:
        ``(C,)`` in [0, 1]; NaN for a class that is neither in the ground truth nor predicted
    """
    right, union = _right_and_union(confusion)
    ratios: NDArray[np.float64] = np.divide(right, union, out=np.full(len(right), np.nan), where=union > 0)
    return ratios


def miou(confusion: Confusion) -> float:
    """Gives the mean of :func:`iou` over classes that occur, in [0, 1]; NaN if none does."""
    return _mean(iou(confusion))


def pixel_accuracy(confusion: Confusion) -> float:
    """Gives the share of labelled ground-truth pixels that are right (aAcc), in [0, 1]; NaN if there are none."""
    total = confusion.sum()
    return float(_right_and_union(confusion)[0].sum() / total) if total else float("nan")


def mean_accuracy(confusion: Confusion) -> float:
    """Gives the mean recall over classes of the ground truth (mAcc), in [0, 1]; NaN if there are none."""
    right, in_truth = _right_and_union(confusion)[0], confusion.sum(axis=1)
    return _mean(np.divide(right, in_truth, out=np.full(len(right), np.nan), where=in_truth > 0))


def _right_and_union(confusion: Confusion) -> tuple[Confusion, Confusion]:
    right = np.diagonal(confusion)
    return right, confusion.sum(axis=1) + confusion[:, :-1].sum(axis=0) - right


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
