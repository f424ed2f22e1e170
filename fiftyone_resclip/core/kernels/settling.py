"""Finds the phrases of the refined draft from as few phrases as settle the labels of all patches.

Up-sampling and PAMR replace a score by a weighted mean of scores around it. So the phrases that have not been refined yet are
bounded by three refined maps: their highest score; the logarithm of their softmax's sum, which is convex; and a mean of their
scores plus the entropy of its weights, which that logarithm is never below. Phrases that come close to winning are refined first.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from fiftyone_resclip.core.kernels.running_softmax import RunningLikeliest

#: Rounding of a refined score, relative to the largest.
_ROUNDING = 1e-4
#: A phrase whose score is this much below another's has no part in the softmax's sum.
_NOTHING = 100.0
_BOUNDS = 3


def settle(
    scores: Tensor, refine: Callable[[Tensor], Tensor], threshold: float, patch_px: int, channels_at_once: int
) -> tuple[Tensor, Tensor]:
    """Finds phrases as :func:`fiftyone_resclip.core.feedback.draft_phrases` does, as far as patch labels depend on them.

    Args:
        scores: draft cosines times the logit scale, ``(Q, h, w)``
        refine: up-samples and refines channels, ``(1, c, h, w)`` to ``(1, c, H, W)``
        threshold: pixels less certain than this count as phrase 0
        patch_px: side of a patch in pixels
        channels_at_once: number of channels that are refined together

    Returns:
        phrase index, ``(1, H, W)`` int64, and its probability, ``(1, H, W)`` float32. Where they are wrong, the right ones would
        not change the most frequent label of any patch
    """
    order, tolerance = _order(scores), _tolerance(scores)
    best: RunningLikeliest | None = None
    for numbers in order.split(channels_at_once - _BOUNDS):
        order = order[len(numbers) :]
        channels = scores[numbers.sort().values], *([_bounds(scores[order])] if len(order) else [])
        refined = refine(torch.cat(channels)[None]).permute(0, 2, 3, 1)
        best = best or RunningLikeliest(refined.shape[:3], refined.device)
        best.add(refined[..., : len(numbers)].clone(), numbers.sort().values)
        if len(order):
            known, confidence = _known(best, refined[..., len(numbers) :], threshold, tolerance)
            if _all_settled(best.phrase.masked_fill(confidence < threshold, 0)[0], known[0], patch_px, len(scores)):
                return best.phrase, confidence
    assert best is not None
    return best.phrase, best.confidence


def _order(scores: Tensor) -> Tensor:
    """Returns the phrases, those first that come closest to winning somewhere."""
    return (scores - scores.amax(dim=0)).amax(dim=(1, 2)).argsort(descending=True, stable=True)


def _tolerance(scores: Tensor) -> float:
    """Returns the most by which rounding moves a score of a phrase that matters anywhere."""
    matters = scores.amax(dim=(1, 2)) >= scores.amax(dim=0).min() - _NOTHING
    return _ROUNDING * float(scores[matters].abs().max())


def _bounds(scores: Tensor) -> Tensor:
    """Returns maps, ``(3, h, w)``, that refined bound each phrase, and the logarithm of their softmax's sum from both sides."""
    logarithms = scores.mean(dim=(1, 2)).log_softmax(dim=0)
    weights = logarithms.exp()
    mean = (weights[:, None, None] * scores).sum(dim=0) - (weights * logarithms.clamp(min=-_NOTHING)).sum()
    return torch.stack([scores.amax(dim=0), scores.logsumexp(dim=0), mean])


def _known(best: RunningLikeliest, rest: Tensor, threshold: float, tolerance: float) -> tuple[Tensor, Tensor]:
    """Returns the pixels whose label the rest can't change, and the least that their confidence can be."""
    highest, most, least = rest.unbind(dim=-1)
    lowest = best.highest - torch.logaddexp(best.log_sum, most)
    surpassed = best.highest <= highest + tolerance
    if threshold == 0:
        return ~surpassed, lowest.exp()
    limit = math.log(threshold)
    uncertain = torch.maximum(best.highest, highest) - torch.logaddexp(best.log_sum, least) < limit - tolerance
    certain = (lowest >= limit + tolerance) | (best.phrase == 0)
    return uncertain | (certain & ~surpassed), lowest.exp()


def _all_settled(labels: Tensor, known: Tensor, patch_px: int, phrases: int) -> bool:
    """Returns whether each patch has a label that leads by more pixels than are unknown."""
    unknown = _by_patch(~known, patch_px).sum(dim=2)
    if not unknown.any():
        return True
    doubtful = unknown > 0
    own, sure = _by_patch(labels, patch_px)[doubtful], _by_patch(known, patch_px)[doubtful]
    counts = torch.zeros(len(own), max(phrases, 2), dtype=torch.int32).scatter_add_(1, own, sure.int())
    first, second = counts.topk(2, dim=1).values.unbind(dim=1)
    return bool((first - second > unknown[doubtful]).all())


def _by_patch(pixels: Tensor, patch_px: int) -> Tensor:
    """Returns the pixels of each whole patch, ``(h, w, patch_px ** 2)``."""
    rows, columns = (side // patch_px for side in pixels.shape)
    whole = pixels[: rows * patch_px, : columns * patch_px].unflatten(1, (columns, patch_px)).unflatten(0, (rows, patch_px))
    by_patch: Tensor = whole.transpose(1, 2).flatten(2)
    return by_patch
