"""Laws of the vote of regions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fiftyone_resclip.core.labels import label_map
from fiftyone_resclip.core.voting import Regions, painted, vote
from fiftyone_resclip.core.windows import WholeScores

H, W = 6, 8
KINDS = [(0, 1, 2), (0, 0, 1, 2, 2)]
DECIDING = {"logit_scale": 10.0, "fallback": -1}


def scores(seed: int, phrases: int) -> WholeScores:
    return WholeScores(torch.randn(phrases, H, W, generator=torch.Generator().manual_seed(seed)))


def regions(*layers: torch.Tensor) -> Regions:
    stacked = torch.stack(layers).int()
    return Regions(stacked, torch.bincount(stacked.flatten().long())[1:])


def everything(seed: int, kind: tuple[int, ...], threshold: float, known: Regions) -> tuple[object, ...]:
    logits = scores(seed, len(kind))
    found = label_map(logits, kind, threshold=threshold, **DECIDING)
    return found, painted(found, vote(logits, kind, known, threshold=threshold, **DECIDING), known)


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 1000), threshold=st.sampled_from([0.0, 0.6]))
@settings(max_examples=10, deadline=None)
def test_regions_of_single_pixels_change_nothing(kind: tuple[int, ...], seed: int, threshold: float) -> None:
    before, after = everything(seed, kind, threshold, regions(torch.arange(1, H * W + 1).view(H, W)))
    assert torch.equal(before.labels, after.labels)
    torch.testing.assert_close(before.confidence, after.confidence)
    assert torch.equal(before.phrases, after.phrases)


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_a_region_over_everything_gives_the_class_of_the_highest_mean(kind: tuple[int, ...], seed: int) -> None:
    _, after = everything(seed, kind, 0.0, regions(torch.ones(H, W)))
    probs = (10 * scores(seed, len(kind)).values).softmax(0)
    means = torch.stack([probs[torch.tensor(kind) == c].amax(0).mean() for c in range(3)])
    assert set(after.labels.flatten().tolist()) == {int(means.argmax())}
    torch.testing.assert_close(after.confidence.mean(), means.max())


def test_a_smaller_region_is_painted_over_a_larger_one_but_both_vote_with_all_their_pixels() -> None:
    values = torch.zeros(2, H, W)
    values[0, :, :6], values[1, :, 6:], values[1, :2, :2] = 1, 1, 5  # mostly class 0; one corner is clearly class 1
    whole, corner = torch.ones(H, W), torch.zeros(H, W)
    corner[:3, :3] = 2
    known = regions(whole, corner)
    found = label_map(WholeScores(values), (0, 1), threshold=0.0, **DECIDING)
    after = painted(found, vote(WholeScores(values), (0, 1), known, threshold=0.0, **DECIDING), known)
    assert known.pixels.tolist() == [H * W, 9]
    assert set(after.labels[corner == 0].tolist()) == {0}
    assert len(set(after.labels[corner > 0].tolist())) == 1


def test_pixels_in_no_region_keep_their_label() -> None:
    half = torch.zeros(H, W)
    half[:, :4] = 1
    before, after = everything(1, KINDS[0], 0.0, regions(half))
    assert torch.equal(before.labels[:, 4:], after.labels[:, 4:])
    assert torch.equal(before.confidence[:, 4:], after.confidence[:, 4:])


def test_a_region_that_is_too_uncertain_gets_the_fallback() -> None:
    _, after = everything(2, KINDS[0], 0.99, regions(torch.ones(H, W)))
    assert set(after.labels.flatten().tolist()) == {-1}
