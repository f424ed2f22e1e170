from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fiftyone_resclip.config import Window
from fiftyone_resclip.core.windows import Box, WholeScores, stitch, upsample, window_boxes

SIDES = st.integers(1, 60)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    crop = draw(st.integers(1, 40))
    return Window(crop, draw(st.integers(1, crop)))


@given(SIDES, SIDES, windows())
@settings(max_examples=200, deadline=None)
def test_windows_cover_every_pixel_and_stay_inside(height: int, width: int, window: Window) -> None:
    covered = torch.zeros(height, width)
    for box in window_boxes((height, width), window):
        assert 0 <= box.top < box.bottom <= height
        assert 0 <= box.left < box.right <= width
        assert (box.bottom - box.top, box.right - box.left) == (min(window.crop_px, height), min(window.crop_px, width))
        covered[box.rows, box.columns] += 1
    assert covered.min() >= 1


@given(st.integers(5, 40), st.integers(5, 40), st.floats(-2, 2))
@settings(max_examples=30, deadline=None)
def test_a_stitched_constant_is_that_constant(height: int, width: int, value: float) -> None:
    boxes = window_boxes((height, width), Window(16, 7))
    stitched = stitch([torch.full((2, 2, 3), value)] * len(boxes), boxes, (height, width)).whole()
    torch.testing.assert_close(stitched, torch.full((2, height, width), value))


@pytest.mark.parametrize(
    ("image_hw", "count", "last"),
    [((336, 448), 6, (112, 224, 336, 448)), ((560, 1120), 36, (336, 896, 560, 1120)), ((200, 300), 2, (0, 76, 200, 300))],
)
def test_windows_lie_as_in_the_published_protocol(image_hw: tuple[int, int], count: int, last: tuple[int, ...]) -> None:
    boxes = window_boxes(image_hw, Window(224, 112))
    assert (len(boxes), tuple(boxes[-1])) == (count, last)


def test_without_windows_the_image_is_one() -> None:
    assert window_boxes((30, 50), None) == [Box(0, 0, 30, 50)]


def test_overlaps_are_averaged() -> None:
    boxes = [Box(0, 0, 1, 2), Box(0, 1, 1, 3)]
    stitched = stitch([torch.zeros(1, 1, 1), torch.ones(1, 1, 1)], boxes, (1, 3)).whole()
    assert stitched.flatten().tolist() == [0.0, 0.5, 1.0]


def test_upsampling_is_bilinear_over_the_whole_output() -> None:
    assert upsample(torch.tensor([[[[0.0, 1.0]]]]), (1, 4)).flatten().tolist() == [0.0, 0.25, 0.75, 1.0]


def test_whole_scores_stay_as_they_are_and_can_be_cropped() -> None:
    scores = torch.randn(2, 5, 6)
    assert WholeScores(scores).whole() is scores
    torch.testing.assert_close(WholeScores(scores).part(slice(None), slice(3), slice(4)).whole(), scores[:, :3, :4])
