from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from fiftyone_resclip.errors import ConfigError
from fiftyone_resclip.evaluation import boundaries

LABELS = hnp.arrays(np.int64, st.tuples(st.integers(1, 9), st.integers(1, 12)), elements=st.integers(-1, 2))


def naive_band(labels: NDArray[np.int64], radius: int) -> NDArray[np.bool_]:
    """Returns each class's mask minus its erosion, pixel by pixel; pixels outside the image have no class."""
    near = np.zeros(labels.shape, bool)
    height, width = labels.shape
    for y in range(height):
        for x in range(width):
            for other_y in range(y - radius, y + radius + 1):
                for other_x in range(x - radius, x + radius + 1):
                    inside = 0 <= other_y < height and 0 <= other_x < width
                    near[y, x] |= not inside or labels[other_y, other_x] != labels[y, x]
    return near


@given(LABELS, st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_the_band_is_the_mask_less_its_erosion(labels: NDArray[np.int64], radius: int) -> None:
    np.testing.assert_array_equal(boundaries.band(labels, radius), naive_band(labels, radius))


def test_boundary_iou_of_a_shifted_square_by_hand() -> None:
    truth, prediction = np.zeros((2, 9, 9), np.int64)
    truth[2:7, 2:7] = 1  # its band of radius 1 has 16 pixels
    prediction[2:7, 3:8] = 1  # shares 4 + 4 + ... of them
    counts = boundaries.boundary_counts(truth, prediction, 2, 1)
    assert (counts.truth[1], counts.predicted[1]) == (16, 16)
    assert counts.right[1] == 8  # four columns of the upper and four of the lower edge
    assert counts.iou[1] == 8 / 24
    assert counts.confusion[1].tolist() == [5, 11, 0]  # the truth's left edge is missed


def test_void_is_not_counted_and_unlabelled_is_no_class() -> None:
    truth = np.array([[0, 0, -1, 0, 0]])
    prediction = np.array([[0, 0, 0, 2, 2]])
    counts = boundaries.boundary_counts(truth, prediction, 2, 1)
    assert counts.truth.tolist() == [4, 0]
    assert counts.predicted.tolist() == [2, 0]
    assert counts.confusion.tolist() == [[2, 0, 2], [0, 0, 0]]


def test_perfect_borders_score_one() -> None:
    labels = np.kron(np.arange(4).reshape(2, 2), np.ones((6, 6), np.int64))
    assert boundaries.boundary_counts(labels, labels, 4, 0.1).iou.tolist() == [1.0] * 4


@pytest.mark.parametrize(("boundary", "pixels"), [(3, 3), (3.0, 3), (0.02, 10), (1e-9, 1)])
def test_the_band_is_given_in_pixels_or_as_a_share(boundary: float, pixels: int) -> None:
    assert boundaries.radius_px(boundary, (300, 400)) == pixels


@pytest.mark.parametrize("boundary", [0, -1, 1.5, math.nan, math.inf, True, "2"])
def test_bands_that_can_not_be_are_refused(boundary: float) -> None:
    with pytest.raises(ConfigError, match="boundary must be"):
        boundaries.radius_px(boundary, (3, 4))


@pytest.mark.parametrize("radius", [1, 2, 5])
def test_a_perfect_prediction_scores_one_beside_void(radius: int) -> None:
    truth, prediction = np.zeros((2, 30, 30), np.int64)
    prediction[10:20, 10:20] = 1
    truth[8:22, 8:22] = -1  # an outline of void, as VOC has
    truth[12:18, 12:18] = 1
    counts = boundaries.boundary_counts(truth, prediction, 2, radius)
    assert counts.iou.tolist() == [1.0, 1.0]


def test_a_band_wider_than_the_image_is_the_whole_image_and_costs_no_more() -> None:
    labels = np.arange(12).reshape(3, 4) % 3
    assert boundaries.band(labels, 5_000_000).all() and boundaries.band(labels, 4).all()
