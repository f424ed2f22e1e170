"""Measures how well a prediction follows class borders: boundary IoU of label maps. Uses only numpy and scipy.

The band of a label map is the set of pixels near a border: those within ``radius_px`` rows and columns of a pixel of another
class or of the image's edge. It covers both sides of a border, and each pixel belongs to the band of its own class. Void counts
as another class here, so both bands begin where void ends. Void pixels themselves are not counted.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, minimum_filter

from fiftyone_resclip.errors import ConfigError
from fiftyone_resclip.evaluation import metrics

Labels = NDArray[np.integer]

_VOID = -2  # differs from every class and from the unlabelled value


class BoundaryCounts(NamedTuple):
    """Numbers of pixels near borders, summed over images.

    Attributes:
        right: ``(C,)`` pixels that are in both bands and have the same class
        truth: ``(C,)`` pixels in the band of the ground truth
        predicted: ``(C,)`` pixels in the band of the prediction
        confusion: ``(C, C + 1)``, of the pixels in the ground truth's band; all other pixels are the interior
    """

    right: NDArray[np.int64]
    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confusion: metrics.Confusion

    @property
    def iou(self) -> NDArray[np.float64]:
        """Boundary IoU by class, ``(C,)`` in [0, 1]; NaN for a class without a border."""
        union = self.truth + self.predicted - self.right
        ratios: NDArray[np.float64] = np.divide(self.right, union, out=np.full(len(union), np.nan), where=union > 0)
        return ratios


def radius_px(boundary: float, image_hw: tuple[int, int]) -> int:
    """Returns the width of the band on one side of a border.

    Args:
        boundary: a whole number of pixels, or a number below 1: a share of the image's diagonal
        image_hw: height and width

    Returns:
        pixels, at least 1

    Raises:
        ConfigError: if ``boundary`` is neither
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
        ``(H, W)``, True near a border

    Source:
        Cheng et al., Boundary IoU, CVPR 2021: a class's mask minus its erosion by a square; the image's edge counts as a border
    """
    radius = min(radius, max(labels.shape))  # a window that covers the image sees its edge from everywhere
    values, side = labels.astype(np.int64), 2 * radius + 1
    beyond_the_edge = int(values.min(initial=0)) - 1  # differs from every class
    highest, lowest = (
        extreme(values, side, mode="constant", cval=beyond_the_edge) for extreme in (maximum_filter, minimum_filter)
    )
    near: NDArray[np.bool_] = highest != lowest
    return near


def boundary_counts(truth: Labels, prediction: Labels, n_classes: int, boundary: float) -> BoundaryCounts:
    """Counts the pixels near borders in one image.

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
    # The prediction also gets a border where the truth becomes void; otherwise a perfect one would have borders inside the void.
    near_predicted = band(np.where(valid, prediction, _VOID), radius) & valid & (prediction >= 0) & (prediction < n_classes)

    def by_class(labels: Labels) -> NDArray[np.int64]:
        return np.bincount(labels.astype(np.int64), minlength=n_classes)

    both = near_truth & near_predicted & (truth == prediction)
    confusion = metrics.confusion_matrix(np.where(near_truth, truth, -1), prediction, n_classes)
    return BoundaryCounts(by_class(truth[both]), by_class(truth[near_truth]), by_class(prediction[near_predicted]), confusion)
