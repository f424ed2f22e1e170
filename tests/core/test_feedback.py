"""The path rule is held against a literal, slow reading of its specification."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fiftyone_resclip.config import SFR
from fiftyone_resclip.core import feedback


def literal_agreement(labels: np.ndarray) -> np.ndarray:
    height, width = labels.shape
    longest = max(height, width) - 1
    t = torch.linspace(0, 1, longest + 1).numpy()
    result = np.zeros((height * width, height * width), np.float32)
    for i in range(height * width):
        for j in range(height * width):
            a, b = divmod(i, width), divmod(j, width)
            if labels[a] != labels[b]:
                continue
            distance = max(abs(a[0] - b[0]), abs(a[1] - b[1]))
            samples = [
                tuple(int(np.rint(np.float32(x) * (1 - t[m]) + np.float32(y) * t[m])) for x, y in zip(a, b, strict=True))
                for m in range(distance + 1)
            ]
            whole = all(labels[s] == labels[a] for s in samples)
            result[i, j] = 1.0 if whole else math.exp(-distance / longest)
    return result


@given(st.integers(1, 6), st.integers(2, 7), st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_the_path_rule_equals_its_specification(height: int, width: int, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 2, (height, width))
    ours = feedback.agreement(torch.from_numpy(labels)[None], path_rule=True)[0].numpy()
    np.testing.assert_allclose(ours, literal_agreement(labels), rtol=1e-6)


def test_a_line_through_another_label_weakens_a_pair_only_in_its_first_part() -> None:
    labels = torch.tensor([[[0, 1, 0, 0, 0]]])
    row = feedback.agreement(labels, path_rule=True)[0, 0]
    # The pair (0, 2) is 2 of 4 apart: its samples 0, 1, 2 lie at 0, at 0.5 -> 0, and at 1, where label 1 is met.
    torch.testing.assert_close(row, torch.tensor([1.0, 0.0, math.exp(-0.5), math.exp(-0.75), math.exp(-1.0)]))
    assert feedback.agreement(labels, path_rule=False)[0, 0].tolist() == [1, 0, 1, 1, 1]


def test_one_patch_agrees_with_itself() -> None:
    assert feedback.agreement(torch.zeros(1, 1, 1, dtype=torch.int64), path_rule=True).tolist() == [[[1.0]]]


@given(st.integers(2, 12), st.floats(0.3, 8), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_blurred_rows_sum_to_one(patches: int, sigma: float, seed: int) -> None:
    matrix = torch.rand(2, patches, patches, generator=torch.Generator().manual_seed(seed)) + 0.01
    torch.testing.assert_close(feedback.blurred_rows(matrix, sigma).sum(-1), torch.ones(2, patches), atol=1e-4, rtol=0)


def test_the_blur_runs_along_keys_with_at_most_as_many_taps_as_patches() -> None:
    single = torch.zeros(1, 9, 9)
    single[0, 0, 4] = 1
    row = feedback.blurred_rows(single, 1.0)[0, 0]
    taps = torch.exp(-(torch.arange(-3, 4.0) ** 2) / 2)
    torch.testing.assert_close(row, torch.cat([torch.zeros(1), taps / taps.sum(), torch.zeros(1)]))
    few = feedback.blurred_rows(torch.eye(4)[None], 50.0)[0]  # 4 patches: 5 taps, not 301
    assert (few > 0).sum(dim=1).tolist() == [3, 4, 4, 3]


@pytest.mark.parametrize(("pixels", "expected"), [([[0, 0], [1, 1]], 0), ([[2, 2], [1, 2]], 2), ([[1, 2], [2, 1]], 1)])
def test_the_most_frequent_label_wins_and_a_tie_goes_to_the_smaller(pixels: list[list[int]], expected: int) -> None:
    assert feedback.most_frequent(torch.tensor([pixels]), 2, 3).tolist() == [[[expected]]]


def test_remainder_pixels_are_left_out() -> None:
    labels = torch.tensor([[[0, 0, 1], [0, 0, 1], [1, 1, 1]]])
    assert feedback.most_frequent(labels, 2, 2).tolist() == [[[0]]]


def inputs(batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.rand(batch, 4, 3, 5, generator=generator), torch.randn(batch, 3, 24, 40, generator=generator)


def test_a_batch_gives_what_single_images_give_each_with_its_own_maximum() -> None:
    draft, pixels = inputs(3)
    batch = feedback.feedback_map(draft, pixels, 8, SFR(), 40.0)
    assert batch.shape == (3, 16, 16)
    assert batch.amax(dim=(1, 2)).tolist() == [1.0, 1.0, 1.0]
    assert batch[:, 0].abs().sum() == batch[:, :, 0].abs().sum() == 0
    for index in range(3):
        alone = feedback.feedback_map(draft[index : index + 1], pixels[index : index + 1], 8, SFR(), 40.0)
        torch.testing.assert_close(batch[index : index + 1], alone)


@pytest.mark.parametrize("path_rule", [True, False])
def test_a_batch_at_one_go_as_on_a_gpu_gives_what_image_by_image_gives(path_rule: bool) -> None:
    draft, pixels = inputs(3)
    draft = torch.cat([draft, draft.roll(5, dims=3)])  # images that differ in their labels
    pixels = torch.cat([pixels, pixels])
    sfr = SFR(path_rule=path_rule)
    assert len(set(map(str, feedback.patch_labels(draft, pixels, 8, sfr, 40.0).tolist()))) > 1
    at_one_go = feedback._feedback_map(draft, pixels, 8, sfr, 40.0)
    torch.testing.assert_close(at_one_go, feedback.feedback_map(draft, pixels, 8, sfr, 40.0))


def test_uncertain_pixels_count_as_phrase_zero() -> None:
    draft, pixels = inputs(1)
    sure = SFR(threshold=1.0, pamr=None)
    assert feedback.patch_labels(draft, pixels, 8, sure, 1.0).sum() == 0
    assert feedback.patch_labels(draft, pixels, 8, replace(sure, threshold=0.0), 1.0).sum() > 0
