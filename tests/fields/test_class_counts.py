"""Counting by runs gives what counting by pixels gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from fiftyone_resclip.fields import class_counts
from fiftyone_resclip.fields.class_counts import count_classes


@settings(deadline=None)
@given(npst.arrays(np.int16, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(-1, 3)), st.integers(1, 20))
def test_any_mask_is_counted_pixel_by_pixel(codes: np.ndarray, at_once: int) -> None:
    certain = np.random.default_rng(0).random(codes.shape, dtype=np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(class_counts, "_PIXELS_AT_ONCE", at_once)
        pixels, confidence = count_classes(codes, 5, certain, first=-1)
    for index, (count, mean) in enumerate(zip(pixels, confidence, strict=True)):
        own = codes == index - 1
        assert count == own.sum()
        np.testing.assert_allclose(mean, certain[own].mean() if own.any() else np.nan, rtol=1e-5)


def test_confidence_may_be_summed_by_class_already() -> None:
    codes, certain = np.array([[0, 1, 1]]), np.array([[0.5, 0.25, 0.75]], np.float32)
    summed = count_classes(codes, 3, np.array([0.5, 1.0, 0.0, 9.0]))
    for ours, theirs in zip(summed, count_classes(codes, 3, certain), strict=True):
        np.testing.assert_allclose(ours, theirs)


def test_without_confidence_none_is_made_up() -> None:
    pixels, confidence = count_classes(np.array([[0, 1, 1]]), 3)
    assert pixels.tolist() == [1, 2, 0]
    assert np.isnan(confidence).all()
