"""How well class borders are met: boundary IoU over label maps; numpy only.

The band of a label map holds the pixels near a border: those within ``radius_px`` rows and columns of a pixel of another class,
or of the image's edge. It lies on both sides of a border, each pixel in the band of its own class. Void is another class here, so
both bands begin where void ends; void pixels themselves are not counted.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiftyone_resclip.errors import ConfigError
from fiftyone_resclip.evaluation import metrics

Labels = NDArray[np.integer]

_VOID = -2  # unlike any class, and unlike what stands for unlabelled


class BoundaryCounts(NamedTuple):
    """Pixels near borders, summed over images.

    Attributes:
        right: ``(C,)`` pixels in both bands with the same class
        truth: ``(C,)`` pixels of the truth's band
        predicted: ``(C,)`` pixels of the prediction's band
        confusion: ``(C, C + 1)``, of the truth's band alone: the rest of all pixels is the interior
    """

    right: NDArray[np.int64]
    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confusion: metrics.Confusion

    @property
    def iou(self) -> NDArray[np.float64]:
        """Boundary IoU by class, ``(C,)`` in [0, 1]; NaN where there is no border."""
        union = self.truth + self.predicted - self.right
        ratios: NDArray[np.float64] = np.divide(self.right, union, out=np.full(len(union), np.nan), where=union > 0)
        return ratios


def radius_px(boundary: float, image_hw: tuple[int, int]) -> int:
    """Gives the width of the band on one side of a border.

    Args:
        boundary: a whole number of pixels, or a share of the image's diagonal below 1
        image_hw: height and width

    Returns:
        pixels, at least 1

    Raises:
        ConfigError: if it is neither
    """
    if isinstance(boundary, bool) or not isinstance(boundary, (int, float)) or not 0 < boundary < math.inf:
        raise ConfigError(f"boundary must be pixels or a share of the diagonal below 1, but got {boundary!r}")
    if boundary < 1:
        return max(1, round(boundary * math.hypot(*image_hw)))
    if boundary != int(boundary):
        raise ConfigError(f"boundary must be a whole number of pixels, or below 1, but got {boundary!r}")
    return int(boundary)


def band(labels: Labels, radius: int) -> NDArray[np.bool_]:
    """Marks the pixels near a border.

    Args:
        labels: ``(H, W)`` integers
        radius: pixels, >= 1

    Returns:
        ``(H, W)``

    Source:
        Cheng et al., Boundary IoU, CVPR 2021: a class's mask less its erosion by a square, with the image's edge as a border
    """
    padded = np.pad(labels.astype(np.int64), 1, constant_values=np.iinfo(np.int64).min)
    # A square holds several classes if two neighbours in it differ. Between columns x and x + 1: change number x of a row.
    sideways = _any_within(padded[:, 1:] != padded[:, :-1], (radius, radius), (radius, radius - 1))
    upright = _any_within(padded[1:] != padded[:-1], (radius, radius - 1), (radius, radius))
    height, width = labels.shape
    return sideways[1 : height + 1, 1 : width + 1] | upright[1 : height + 1, 1 : width + 1]


def _any_within(flags: NDArray[np.bool_], rows: tuple[int, int], columns: tuple[int, int]) -> NDArray[np.bool_]:
    """Whether any flag is set from so many before to so many after each position.

    The result has one row or column more than ``flags`` where fewer lie after a position than before it.
    """
    for axis, (before, after) in enumerate((rows, columns)):
        room = [(0, 0), (0, 0)]
        room[axis] = (before, before)
        flags = _or_ahead(np.pad(flags, room).swapaxes(0, axis), before + after + 1).swapaxes(0, axis)
    return flags


def _or_ahead(flags: NDArray[np.bool_], length: int) -> NDArray[np.bool_]:
    """Whether any of ``length`` flags from each row on is set, by doubling; the last rows, which have fewer, are left out."""
    rows, size, merged = len(flags) - length + 1, 1, flags
    while 2 * size <= length:
        merged = merged[:-size] | merged[size:]
        size *= 2
    return merged[:rows] | merged[length - size : length - size + rows]


def boundary_counts(truth: Labels, prediction: Labels, n_classes: int, boundary: float) -> BoundaryCounts:
    """Counts one image.

    Args:
        truth: class index per pixel, ``(H, W)``; anything outside ``[0, n_classes)`` is void
        prediction: class index per pixel, ``(H, W)``; anything outside ``[0, n_classes)`` is unlabelled
        n_classes: number of classes ``C``
        boundary: see :func:`radius_px`

    Returns:
        the counts
    """
    radius = radius_px(boundary, (truth.shape[0], truth.shape[1]))
    valid = (truth >= 0) & (truth < n_classes)
    near_truth = band(np.where(valid, truth, _VOID), radius) & valid
    # The prediction has a border wherever the truth becomes void, too: else a perfect one would have its borders inside the void.
    near_predicted = band(np.where(valid, prediction, _VOID), radius) & valid & (prediction >= 0) & (prediction < n_classes)

    def by_class(labels: Labels) -> NDArray[np.int64]:
        return np.bincount(labels.astype(np.int64), minlength=n_classes)

    both = near_truth & near_predicted & (truth == prediction)
    confusion = metrics.confusion_matrix(np.where(near_truth, truth, -1), prediction, n_classes)
    return BoundaryCounts(by_class(truth[both]), by_class(truth[near_truth]), by_class(prediction[near_predicted]), confusion)
