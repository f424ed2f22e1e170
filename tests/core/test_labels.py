from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fiftyone_resclip.core import labels
from fiftyone_resclip.core.windows import WholeScores


def scores(seed: int, phrases: int = 5, height: int = 6, width: int = 7) -> torch.Tensor:
    return torch.randn(phrases, height, width, generator=torch.Generator().manual_seed(seed)) * 0.1


def label(
    logits: torch.Tensor, out_hw: tuple[int, int], classes: list[int], threshold: float = 0.0, fallback: int = -1
) -> labels.LabelMap:
    return labels.label_map(
        WholeScores(logits).resized(out_hw), classes, logit_scale=40.0, threshold=threshold, fallback=fallback
    )


def test_a_class_is_as_likely_as_its_likeliest_phrase() -> None:
    logits = scores(0)
    result = label(logits, (6, 7), [0, 0, 1, 2, 2])
    phrases = (40 * logits).softmax(0)
    classes = torch.stack([phrases[:2].amax(0), phrases[2], phrases[3:].amax(0)])
    torch.testing.assert_close(result.confidence, classes.amax(0))
    assert torch.equal(result.labels.long(), classes.argmax(0))


@given(st.integers(0, 500), st.permutations(range(5)))
@settings(max_examples=30, deadline=None)
def test_permuted_classes_permute_the_result(seed: int, order: list[int]) -> None:
    logits = scores(seed)
    plain = label(logits, (9, 8), [0, 1, 2, 3, 4])
    permuted = label(logits[order], (9, 8), [0, 1, 2, 3, 4])
    assert torch.equal(torch.tensor(order)[permuted.labels.long()], plain.labels.long())
    torch.testing.assert_close(permuted.confidence, plain.confidence)


@pytest.mark.parametrize("fallback", [0, -1])
def test_uncertain_pixels_fall_back(fallback: int) -> None:
    logits = torch.tensor([[[0.0, 0.0]], [[0.0, 1.0]]])
    result = label(logits, (1, 2), [0, 1], threshold=0.6, fallback=fallback)
    assert result.labels.tolist() == [[fallback, 1]]
    assert result.confidence[0, 0] == 0.5


def test_small_classes_give_way_to_the_next_likely_and_the_largest_stays() -> None:
    logits = torch.zeros(3, 1, 10)
    logits[0, 0, :7], logits[1, 0, 7:9], logits[2, 0, 9] = 1, 1, 1
    logits[1, 0, 9] = 0.5  # second there
    assert filtered(logits, 0.0) == [0] * 7 + [1] * 2 + [2]
    assert filtered(logits, 0.15) == [0] * 7 + [1] * 3
    assert filtered(logits, 0.2) == [0] * 7 + [1] * 3  # a share at the limit is enough
    assert filtered(logits, 0.25) == [0] * 10
    assert filtered(logits, 1.0) == [0] * 10


def filtered(logits: torch.Tensor, min_area: float) -> list[int]:
    result = labels.label_map(WholeScores(logits), [0, 1, 2], logit_scale=9.0, threshold=0.0, fallback=-1, min_area=min_area)
    assert result.confidence.max() <= 1 and result.confidence.min() >= 0
    return result.labels[0].tolist()


def test_a_probability_at_the_threshold_is_enough() -> None:
    assert label(torch.zeros(2, 1, 1), (1, 1), [0, 1], threshold=0.5).labels.tolist() == [[0]]


def test_the_winning_phrase_stands_beside_its_class_and_stays_where_the_pixel_is_uncertain() -> None:
    logits, classes = scores(1), [0, 0, 1, 2, 2]
    result = label(logits, (6, 7), classes, threshold=0.8, fallback=-1)
    assert torch.equal(result.phrases.long(), logits.argmax(0))
    certain = result.confidence >= 0.8
    assert 0 < certain.sum() < certain.numel()
    assert torch.equal(result.labels[certain].long(), torch.tensor(classes)[result.phrases[certain].long()])
    assert set(result.labels[~certain].tolist()) == {-1}


def test_the_winning_phrase_is_one_of_a_class_that_is_large_enough() -> None:
    logits = torch.zeros(3, 1, 10)
    logits[0, 0, :9], logits[1, 0, 9], logits[2, 0, 9] = 1, 1, 0.5
    result = labels.label_map(WholeScores(logits), [0, 1, 2], logit_scale=9.0, threshold=0.0, fallback=-1, min_area=0.2)
    assert set(result.phrases.flatten().tolist()) == set(result.labels.flatten().tolist()) == {0}
