"""Laws of learning from examples."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from fiftyone_resclip.core.teaching import Example, Seen, Teacher, clearly_best, judged

CLASSES, WIDTH, PATCHES = 4, 12, 60
LAWS = settings(max_examples=10, deadline=None)


def world(seed: int, n_examples: int) -> tuple[Teacher, list[Example]]:
    """Four classes whose text features are far from the truth, so that there is something to learn."""
    draw = torch.Generator().manual_seed(seed)
    centres = functional.normalize(torch.randn(CLASSES, WIDTH, generator=draw), dim=1)

    def patches() -> tuple[Tensor, Tensor]:
        classes = torch.randint(CLASSES, (PATCHES,), generator=draw)
        return functional.normalize(centres[classes] + 0.3 * torch.randn(PATCHES, WIDTH, generator=draw), dim=1), classes

    pairs = [patches() for _ in range(n_examples)]
    examples = [Example(features, functional.one_hot(classes, CLASSES).float()) for features, classes in pairs]
    text = functional.normalize(0.2 * centres + 0.3 * torch.randn(CLASSES, WIDTH, generator=draw), dim=1)
    unlabelled = torch.cat([patches()[0] for _ in range(10)])
    return Teacher(text, torch.arange(CLASSES), 40.0, seen(examples), unlabelled), examples


def seen(examples: list[Example]) -> Seen:
    total = Seen.nothing(CLASSES, WIDTH)
    for example in examples:
        total = total.plus(Seen.of(example))
    return total


@given(seed=st.integers(0, 100), strength=st.sampled_from([0.3, 1.0, 3.0]))
@LAWS
def test_no_examples_or_no_strength_change_nothing(seed: int, strength: float) -> None:
    teacher, _ = world(seed, 2)
    for correction in (teacher.correction(0), replace(teacher, seen=Seen.nothing(CLASSES, WIDTH)).correction(strength)):
        assert not correction.weights.any() and not correction.bias.any()


@given(seed=st.integers(0, 100), order=st.permutations(range(CLASSES)))
@LAWS
def test_permuting_classes_permutes_the_result(seed: int, order: list[int]) -> None:
    teacher, _ = world(seed, 3)
    expected = teacher.correction(1.0)
    turned = replace(teacher, text=teacher.text[order], seen=Seen(*(part[order] for part in teacher.seen))).correction(1.0)
    torch.testing.assert_close(turned.weights, expected.weights[order], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(turned.bias, expected.bias[order], atol=1e-3, rtol=1e-3)


@given(seed=st.integers(0, 100), order=st.permutations(range(4)))
@LAWS
def test_the_order_of_examples_and_patches_does_not_matter_and_duplicates_change_nothing(seed: int, order: list[int]) -> None:
    teacher, examples = world(seed, 4)
    expected = teacher.correction(1.0)
    for others, patches in (
        ([examples[index] for index in order], teacher.unlabelled.flip(0)),
        (examples * 2, teacher.unlabelled.repeat(3, 1)),
    ):
        found = replace(teacher, seen=seen(others), unlabelled=patches).correction(1.0)
        torch.testing.assert_close(found.weights, expected.weights, atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(found.bias, expected.bias, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("hidden", [(), (3,)], ids=["all classes shown", "one class never shown"])
def test_examples_repair_bad_words(hidden: tuple[int, ...]) -> None:
    gains = []
    for seed in range(8):
        teacher, examples = world(seed, 4)
        shares = [example.shares.index_fill(1, torch.tensor(hidden, dtype=torch.long), 0) for example in examples]
        shown = [Example(example.features, share) for example, share in zip(examples, shares, strict=True)]
        correction = replace(teacher, seen=seen(shown)).correction(3.0)
        found = [
            (teacher.class_scores(e.features) + e.features @ weights.T + bias).argmax(1)
            for weights, bias in (teacher.correction(0), correction)
            for e in examples
        ]
        truth = [example.shares.argmax(1) for example in examples] * 2
        right = [float((a == b).float().mean()) for a, b in zip(found, truth, strict=True)]
        gains.append(sum(right[4:]) / 4 - sum(right[:4]) / 4)
    assert min(gains) > -0.02
    assert sum(gains) / len(gains) > 0.1


def test_strengths_are_judged_on_examples_that_taught_nothing() -> None:
    teacher, examples = world(1, 4)
    chosen, scores = judged(teacher, examples)
    assert list(scores) == [0.0, 0.5, 1.0, 3.0]
    assert chosen == 3.0 and scores[3.0] > scores[0.0] + 0.1
    nonsense = [Example(example.features, example.shares.roll(index + 1, 1)) for index, example in enumerate(examples)]
    words, wrong = judged(replace(teacher, seen=seen(nonsense)), nonsense)
    assert words == 0.0 and wrong[3.0] < scores[3.0] - 0.1  # masks that contradict each other can't be learned by heart


@pytest.mark.parametrize(
    ("right", "expected"),
    [
        pytest.param({0.0: [60, 60, 60, 60], 0.5: [70, 70, 70, 70], 3.0: [75, 76, 75, 74]}, 3.0, id="better in all images"),
        pytest.param({0.0: [98, 60, 68, 62], 0.5: [70, 70, 70, 70], 3.0: [60, 60, 60, 60]}, 0.5, id="better in one image"),
        pytest.param({0.0: [90, 92, 91, 93], 0.5: [70, 70, 70, 70], 3.0: [60, 60, 60, 60]}, 0.0, id="words are better"),
        pytest.param({0.0: [], 0.5: [], 3.0: []}, 0.5, id="no images"),
    ],
)
def test_the_default_strength_stays_unless_another_is_clearly_better(right: dict[float, list[int]], expected: float) -> None:
    def confusions(of_each_image: list[int]) -> Tensor:
        return torch.tensor([[[hits, 100 - hits], [100 - hits, hits]] for hits in of_each_image]).reshape(-1, 2, 2)

    assert clearly_best({strength: confusions(hits) for strength, hits in right.items()}) == expected


def test_a_class_seen_in_a_single_patch_is_learned_without_nan() -> None:
    teacher, examples = world(3, 1)
    shares = torch.zeros_like(examples[0].shares)
    shares[0, 2] = 1
    correction = replace(teacher, seen=seen([Example(examples[0].features, shares)])).correction(3.0)
    assert bool(correction.weights.isfinite().all()) and bool(correction.bias.isfinite().all())
