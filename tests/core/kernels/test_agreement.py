"""Every tuned form gives what the formula gives that it stands for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from fiftyone_resclip.config import PAMR, RCS, SFR, STRATEGIES, Window
from fiftyone_resclip.core import attention, feedback, kernels, pamr, path_rule, windows
from fiftyone_resclip.core.kernels import gathered_pamr, onednn


class Pair(NamedTuple):
    """A formula, the form that runs, and what makes arguments for both from a seed."""

    formula: Callable[..., Any]
    tuned: Callable[..., Any]
    arguments: Callable[[torch.Generator], tuple[Any, ...]]


def drawn(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator)


def attention_arguments(name: str, additions: bool, generator: torch.Generator) -> tuple[Any, ...]:
    q, k, v = (drawn(generator, 2, 3, 7, 8) for _ in range(3))
    bias, residual, matrix = (drawn(generator, *shape).abs() for shape in ((7, 7), (2, 3, 7, 7), (2, 7, 7)))
    keywords = {"bias": bias, "rcs": (RCS(2.0, 0.3), residual), "sfr": (SFR(2.1, 0.7), matrix)} if additions else {}
    return q, k, v, STRATEGIES[name], keywords


def with_keywords(attend: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, strategy: Any, keywords: Any) -> Tensor:
    return attend(q, k, v, strategy, **keywords)


def linear_arguments(gelu: bool, biased: bool, generator: torch.Generator) -> tuple[Any, ...]:
    weight = drawn(generator, 12, 7).T  # transposed, as CLIP's projection is
    return drawn(generator, 2, 5, 12), weight, drawn(generator, 7) if biased else None, gelu


def plain_linear(tokens: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool) -> Tensor:
    result = functional.linear(tokens, weight, bias)
    return functional.gelu(result) if gelu else result


def refine_arguments(channels: int, steps: int, dilations: tuple[int, ...], generator: torch.Generator) -> tuple[Any, ...]:
    return drawn(generator, 2, channels, 12, 15), drawn(generator, 2, 3, 12, 15), steps, dilations


def refined(refine: Callable[..., Tensor], scores: Tensor, image: Tensor, steps: int, dilations: tuple[int, ...]) -> Tensor:
    return refine(scores, image, steps=steps, dilations=dilations)


def gathered_in_small_parts(scores: Tensor, image: Tensor, steps: int, dilations: tuple[int, ...]) -> Tensor:
    gather = gathered_pamr.by_embedding_bag((12, 15), dilations, pixels_at_once=50)
    return gathered_pamr.Refinement(image, steps, dilations, gather)(scores)


def draft_arguments(phrases: int, setting: PAMR | None, generator: torch.Generator) -> tuple[Any, ...]:
    return drawn(generator, 2, phrases, 3, 4), drawn(generator, 2, 3, 24, 33), setting, 40.0


def labels_on(height: int, width: int, generator: torch.Generator) -> tuple[Any, ...]:
    return (torch.randint(0, 3, (2, height, width), generator=generator),)


PAIRS = {
    **{
        f"attention of {name}{', RCS and SFR' if additions else ''}": Pair(
            partial(with_keywords, attention.attend), partial(with_keywords, kernels.attend),
            partial(attention_arguments, name, additions),
        )
        for name in STRATEGIES
        for additions in (False, True)
    },
    **{
        f"linear{', GELU' if gelu else ''}{', bias' if biased else ''}, {name}": Pair(
            plain_linear, lambda *a, form=form: form(*a[:3], gelu=a[3]), partial(linear_arguments, gelu, biased)
        )
        for gelu in (False, True)
        for biased in (False, True)
        for name, form in (("as chosen", kernels.linear), ("oneDNN", onednn.linear))
        if name == "as chosen" or onednn.works()
    },
    **{
        f"PAMR, {channels} channels, {steps} steps at {dilations}": Pair(
            partial(refined, pamr.refine), partial(refined, kernels.refine), partial(refine_arguments, channels, steps, dilations)
        )
        for channels, steps, dilations in ((3, 1, (1, 4)), (40, 3, (8, 16)), (33, 4, (1,)))
    },
    "PAMR, few pixels at once": Pair(
        partial(refined, pamr.refine), gathered_in_small_parts, partial(refine_arguments, 40, 4, (1, 4))
    ),
    **{
        f"draft of {phrases} phrases{', PAMR' if setting else ''}": Pair(
            feedback.draft_phrases, kernels.draft_phrases, partial(draft_arguments, phrases, setting)
        )
        for phrases in (5, 70)
        for setting in (None, PAMR(2, (1, 4)))
    },
    **{
        f"lines on {height}x{width} patches": Pair(
            path_rule.broken_lines, kernels.broken_lines, partial(labels_on, height, width)
        )
        for height, width in ((1, 6), (5, 5), (6, 9), (4, 3))
    },
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_tuned_form_gives_what_its_formula_gives(name: str, seed: int) -> None:
    pair = PAIRS[name]
    expected, ours = (form(*pair.arguments(torch.Generator().manual_seed(seed))) for form in (pair.formula, pair.tuned))
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


def test_the_comparison_can_fail() -> None:
    pair = PAIRS["lines on 6x9 patches"]
    with pytest.raises(AssertionError):
        torch.testing.assert_close(*(pair.tuned(*pair.arguments(torch.Generator().manual_seed(seed))) for seed in (0, 1)))


SIDES = st.integers(9, 50)


@given(SIDES, SIDES, st.integers(1, 40), st.data(), st.integers(1, 70), st.integers(1, 70), st.integers(1, 400))
@settings(max_examples=100, deadline=None)
def test_tiles_of_any_size_are_the_resized_average(
    height: int, width: int, crop: int, data: st.DataObject, out_height: int, out_width: int, values: int
) -> None:
    boxes = windows.window_boxes((height, width), Window(crop, data.draw(st.integers(1, crop))))
    logits = list(torch.randn(len(boxes), 4, 2, 4, generator=torch.Generator().manual_seed(height)))
    inner = slice(1, 3), slice(height // 4, max(height - 3, 1)), slice(width // 3, max(width - 2, 1))
    plain, mosaic = (
        stitch(logits, boxes, (height, width)).part(*inner).scaled(3.0).resized((out_height, out_width))
        for stitch in (windows.stitch, kernels.stitch)
    )
    torch.testing.assert_close(mosaic.whole(), plain.whole(), atol=1e-5, rtol=1e-5)
    assert mosaic.image_hw == plain.image_hw == (out_height, out_width)
    for scores, tiles in ((plain, plain.tiles()), (mosaic, mosaic.tiles((values, 1 + values // 9)))):
        put = torch.full((2, out_height, out_width), torch.nan)
        for rows, columns, tile in tiles:
            put[:, rows, columns] = tile.transpose(0, 1)
        torch.testing.assert_close(put, scores.whole(), atol=1e-5, rtol=1e-5)


@given(st.integers(0, 500), st.integers(1, 6), st.booleans())
@settings(max_examples=30, deadline=None)
def test_phrases_that_arrive_in_parts_give_the_softmax_over_all(seed: int, at_once: int, shuffled: bool) -> None:
    logits = (4 * drawn(torch.Generator().manual_seed(seed), 7, 5, 6)).round()  # with ties
    best = kernels.RunningLikeliest(logits.shape[:2], logits.device)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed)) if shuffled else torch.arange(6)
    for numbers in order.split(at_once):
        ascending = numbers.sort().values
        best.add(logits[..., ascending].clone(), ascending)
    confidence, phrase = logits.softmax(-1).amax(-1), logits.argmax(-1)
    assert torch.equal(best.phrase, phrase)
    torch.testing.assert_close(best.confidence, confidence)


@pytest.mark.parametrize("setting", [PAMR(3, (1, 2)), PAMR(2, (1, 4)), PAMR(20, (4,))])
@pytest.mark.parametrize("side", [7, 10, 100])
def test_tiles_of_the_final_pamr_are_those_of_the_whole(setting: PAMR, side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = kernels.stitch([drawn(generator, 5, 3, 4)], [windows.Box(0, 0, 12, 16)], (12, 16))
    image, out_hw = drawn(generator, 3, 10, 12), (23, 31)
    whole = kernels.refined_scores(scores, image, out_hw, setting)
    monkeypatch.setattr(kernels, "_WHOLE_VALUES", 0)
    tiled = kernels.refined_scores(scores, image, out_hw, setting)
    put = torch.full((5, *out_hw), torch.nan)
    for rows, columns, tile in tiled.scaled(2.0).tiles(side):
        put[:, rows, columns] = tile.transpose(0, 1)
    torch.testing.assert_close(put, 2 * whole.whole(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(tiled.whole(), whole.whole(), atol=1e-4, rtol=1e-4)
    assert torch.equal(put.argmax(0), whole.whole().argmax(0))


@pytest.mark.parametrize("threshold", [0.0, 0.02, 0.1, 0.5])
@pytest.mark.parametrize("spread", [0.001, 0.02, 0.1])
@pytest.mark.parametrize("seed", range(3))
def test_patches_are_labelled_as_by_all_phrases(
    threshold: float, spread: float, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(seed)
    phrases, sfr = 100, SFR(2.0, 0.7, threshold, pamr=PAMR(3, (1, 4)))
    common, own = drawn(generator, 1, phrases, 1, 1), drawn(generator, 1, phrases, 4, 5)
    draft, pixels = 0.05 * common + spread * own, drawn(generator, 1, 3, 35, 43)
    draft[:, 7], draft[:, 30] = draft[:, 60], -1e3  # a tie, and a class that can't be present
    refined = []
    refinement = kernels._refinement

    def counted(*arguments: Any) -> Callable[[Tensor], Tensor]:
        refine = refinement(*arguments)
        return lambda scores: refined.append(scores.shape[1]) or refine(scores)  # type: ignore[func-returns-value]

    monkeypatch.setattr(kernels, "_refinement", counted)
    ours = feedback.patch_labels(draft, pixels, 8, sfr, 40.0)
    channels = sum(refined)
    monkeypatch.setattr(
        kernels, "settled_phrases", lambda draft, pixels, sfr, _, scale: feedback.draft_phrases(draft, pixels, sfr.pamr, scale)
    )
    assert torch.equal(ours, feedback.patch_labels(draft, pixels, 8, sfr, 40.0))
    if spread == 0.001 and threshold in (0.0, 0.5):
        assert channels == 32  # phrases that are far apart are settled by the first few
