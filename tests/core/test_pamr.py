from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fiftyone_resclip.core import pamr
from fiftyone_resclip.errors import ConfigError, ShapeError


def make(seed: int, channels: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, channels, 12, 15, generator=generator), torch.randn(2, 3, 12, 15, generator=generator)


@given(st.integers(0, 1000), st.integers(1, 4))
@settings(max_examples=20, deadline=None)
def test_the_result_stays_within_the_range_of_the_input(seed: int, steps: int) -> None:
    scores, image = make(seed)
    refined = pamr.refine(scores, image, steps=steps, dilations=(1, 4))
    assert refined.min() >= scores.min() - 1e-5
    assert refined.max() <= scores.max() + 1e-5


@given(st.integers(0, 1000), st.floats(-3, 3), st.floats(-3, 3))
@settings(max_examples=20, deadline=None)
def test_it_is_linear_in_the_scores(seed: int, a: float, b: float) -> None:
    (x, image), (y, _) = make(seed), make(seed + 1)
    whole = pamr.refine(a * x + b * y, image, steps=2, dilations=(2,))
    parts = a * pamr.refine(x, image, steps=2, dilations=(2,)) + b * pamr.refine(y, image, steps=2, dilations=(2,))
    torch.testing.assert_close(whole, parts, atol=1e-4, rtol=1e-4)


@given(st.integers(0, 1000), st.floats(0.5, 60), st.floats(-5, 5))
@settings(max_examples=20, deadline=None)
def test_contrast_and_brightness_of_the_image_do_not_matter(seed: int, scale: float, shift: float) -> None:
    scores, image = make(seed)
    torch.testing.assert_close(
        pamr.refine(scores, image * scale + shift, steps=2), pamr.refine(scores, image, steps=2), atol=1e-3, rtol=1e-3
    )


def test_channels_do_not_meet_and_chunks_do_not_show() -> None:
    scores, image = make(0, channels=19)
    whole = pamr.refine(scores, image, steps=3)
    for channel in (0, 7, 8, 18):
        torch.testing.assert_close(whole[:, channel : channel + 1], pamr.refine(scores[:, channel : channel + 1], image, steps=3))


def test_a_constant_stays_and_no_step_does_nothing() -> None:
    scores, image = make(0)
    torch.testing.assert_close(pamr.refine(torch.full_like(scores, 0.3), image), torch.full_like(scores, 0.3))
    assert pamr.refine(scores, image, steps=0) is scores


def test_a_border_is_pulled_to_the_edge_of_the_image() -> None:
    image = torch.zeros(1, 3, 8, 20)
    image[..., 10:] = 1
    scores = torch.zeros(1, 1, 8, 20)
    scores[..., 12:] = 1  # two pixels late
    refined = pamr.refine(scores, image, steps=20, dilations=(1, 2))
    assert refined[0, 0, 4, 10] > 0.5 > refined[0, 0, 4, 9]


def test_affinities_sum_to_one_over_all_neighbours() -> None:
    weights = pamr.affinity(make(0)[1], (8, 16))
    assert weights.shape == (2, 16, 12, 15)
    torch.testing.assert_close(weights.sum(1), torch.ones(2, 12, 15))


def test_bad_input_is_refused() -> None:
    scores, image = make(0)
    with pytest.raises(ShapeError, match="same batch, height and width"):
        pamr.refine(scores, image[..., :-1])
    with pytest.raises(ConfigError, match="steps must be at least 0, but got -1"):
        pamr.refine(scores, image, steps=-1)
