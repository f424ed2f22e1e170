"""Faster versions of the formulas in core. This file chooses what runs; each function has the same signature as its formula.

| step | formula | what runs |
|---|---|---|
| last block | ``attention.attend`` | :mod:`.fused_attention` |
| linear layers | ``torch.nn.functional.linear`` | :mod:`.onednn` on a CPU in float32, torch's own elsewhere |
| PAMR | ``pamr.refine`` | :mod:`.gathered_pamr`, on a GPU with :mod:`.triton_pamr`; the formula elsewhere and on large images |
| draft of SFR | ``feedback.draft_phrases`` | :func:`draft_phrases`: a few phrases at a time, with :mod:`.running_softmax` |
| labels of SFR's patches | ``feedback.draft_phrases`` | :func:`settled_phrases`: on a CPU, :mod:`.settling` |
| path rule | ``path_rule.broken_lines`` | :mod:`.line_tables` |
| final PAMR | ``windows.upsample``, ``pamr.refine`` | :func:`refined_scores`: in tiles if large, with :mod:`.refined_scores` |
| stitching | ``windows.stitch`` | :mod:`.mosaic` |
| labels | ``labels.winners`` | :mod:`.cell_labels` for many scores on a CPU; the formula elsewhere |

``tests/core/kernels/test_agreement.py`` compares each pair; ``benchmarks/kernels.py`` measures how much each one gains.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from fiftyone_resclip.config import PAMR, SFR
from fiftyone_resclip.core import labels, pamr
from fiftyone_resclip.core.kernels import cell_labels, gathered_pamr, onednn
from fiftyone_resclip.core.kernels.fused_attention import attend
from fiftyone_resclip.core.kernels.line_tables import broken_lines
from fiftyone_resclip.core.kernels.mosaic import Mosaic, stitch
from fiftyone_resclip.core.kernels.refined_scores import RefinedScores
from fiftyone_resclip.core.kernels.running_softmax import RunningLikeliest
from fiftyone_resclip.core.kernels.settling import settle
from fiftyone_resclip.core.windows import Box, ResizableScores, Scores, WholeScores, upsample

# refined_scores saves memory and not time, so it is not among the faster forms that are measured
__all__ = ["attend", "broken_lines", "draft_phrases", "linear", "refine", "settled_phrases", "stitch", "winners"]

#: Channels that PAMR refines together: more would not fit the CPU's cache, fewer would leave its vector units idle.
CHANNELS_AT_ONCE = 32

#: The most values, scores and affinities together, for which the final PAMR works on the whole image: half a GiB of each.
_WHOLE_VALUES = 2**27


#: The fewest scores, phrases times pixels, for which cells are worth their overhead; a few phrases count as many.
_CELL_VALUES, _FEW_PHRASES = 2**26, 16


def linear(tokens: Tensor, weight: Tensor, bias: Tensor | None, *, gelu: bool = False) -> Tensor:
    """Applies a linear layer, and exact GELU if ``gelu`` is set.

    Args:
        tokens: ``(..., in)``
        weight: ``(out, in)``
        bias: ``(out,)``
        gelu (False): whether GELU follows

    Returns:
        ``(..., out)``
    """
    plain_cpu = tokens.device.type == "cpu" and tokens.dtype == weight.dtype == torch.float32
    if plain_cpu and not torch.is_autocast_enabled("cpu") and onednn.works():
        return onednn.linear(tokens, weight, bias, gelu=gelu)
    result = functional.linear(tokens, weight, bias)
    return functional.gelu(result) if gelu else result


def refine(probs: Tensor, image: Tensor, *, steps: int = 10, dilations: Sequence[int] = (8, 16)) -> Tensor:
    """Refines scores as :func:`fiftyone_resclip.core.pamr.refine` does, a few channels at a time; same arguments and result."""
    if steps == 0:
        return probs
    refinement = _refinement(image, steps, tuple(dilations))
    refined = torch.empty_like(probs, dtype=torch.float32)
    for start in range(0, probs.shape[1], CHANNELS_AT_ONCE):
        chunk = slice(start, start + CHANNELS_AT_ONCE)
        refined[:, chunk] = refinement(probs[:, chunk].float())
    return refined


def refined_scores(scores: ResizableScores, image: Tensor, image_hw: tuple[int, int], setting: PAMR) -> Scores:
    """Resizes the scores of an image and applies PAMR to them.

    Args:
        scores: the scores of the image
        image: the image, as for :func:`fiftyone_resclip.core.pamr.refine`, of any size, ``(3, h, w)``
        image_hw: height and width of the result
        setting: of PAMR

    Returns:
        the refined scores; those of a large result are computed on demand, within 1e-5 of what the whole would be
    """
    neighbours = 8 * len(setting.dilations)
    if setting.steps == 0:
        return scores.resized(image_hw)
    if math.prod(image_hw) * (scores.phrases + 3 * neighbours) <= _WHOLE_VALUES:
        resized, guide = upsample(scores.whole()[None], image_hw), upsample(image[None], image_hw)
        return WholeScores(refine(resized, guide, steps=setting.steps, dilations=setting.dilations)[0])
    whole = Box(0, 0, image.shape[1], image.shape[2])
    guides = stitch([image], [whole], (whole.bottom, whole.right)).resized(image_hw)
    make = partial(_refinement, steps=setting.steps, dilations=setting.dilations)
    return RefinedScores(scores.resized(image_hw), guides, make, setting.steps * max(setting.dilations), CHANNELS_AT_ONCE)


def winners(
    logits: Scores, classes: Tensor, allowed: Tensor | None = None, threshold: float = 0.0, fallback: int = -1, *, mean_only: bool
) -> labels.LabelMap:
    """Finds winners as :func:`fiftyone_resclip.core.labels.winners` does; same arguments and result.

    Confidence is within :data:`.cell_labels.CONFIDENCE_ERROR`. When a GPU is full, the CPU does the work.
    """
    deciding = classes, allowed, threshold, fallback
    if not isinstance(logits, Mosaic):
        return labels.winners(logits, *deciding, mean_only=mean_only)
    if logits.device.type == "cpu" and math.prod(logits.image_hw) * max(logits.phrases, _FEW_PHRASES) >= _CELL_VALUES:
        return cell_labels.winners(logits, *deciding, mean_only=mean_only)
    try:
        return labels.winners(logits, *deciding, mean_only=mean_only)
    except torch.cuda.OutOfMemoryError:  # cells need no GPU, and their result is small
        here, rest = logits._replace(patches=logits.patches.cpu()), None if allowed is None else allowed.cpu()
        found = cell_labels.winners(here, classes.cpu(), rest, threshold, fallback, mean_only=mean_only)
        return labels.LabelMap(*(part.to(logits.device) for part in found))


def draft_phrases(draft: Tensor, pixels: Tensor, setting: PAMR | None, logit_scale: float) -> tuple[Tensor, Tensor]:
    """Finds phrases as :func:`fiftyone_resclip.core.feedback.draft_phrases` does; same arguments and result.

    Pixel scores of only a few phrases are in memory at a time. PAMR is linear, so the draft is scaled before PAMR, where it is
    still small.
    """
    refine = _resized_refinement(pixels, setting)
    best = RunningLikeliest((pixels.shape[0], *pixels.shape[2:]), draft.device)
    numbers = torch.arange(draft.shape[1], device=draft.device)
    for some, scores in zip(numbers.split(CHANNELS_AT_ONCE), (draft * logit_scale).split(CHANNELS_AT_ONCE, dim=1), strict=True):
        best.add(refine(scores).permute(0, 2, 3, 1), some)
    return best.phrase, best.confidence


def settled_phrases(draft: Tensor, pixels: Tensor, sfr: SFR, patch_px: int, logit_scale: float) -> tuple[Tensor, Tensor]:
    """Finds phrases as :func:`fiftyone_resclip.core.feedback.draft_phrases` does, as far as labels of patches depend on them.

    Args:
        draft: cosines of the first pass, ``(B, Q, h, w)``
        pixels: the normalised image, ``(B, 3, H, W)``
        sfr: the settings
        patch_px: side of a patch in pixels
        logit_scale: factor before the softmax over phrases

    Returns:
        phrase index, ``(B, H, W)`` int64, and its probability, ``(B, H, W)`` float32
    """
    many = draft.shape[1] > 2 * CHANNELS_AT_ONCE
    if sfr.pamr is None or not many or draft.device.type != "cpu":  # a GPU would wait for each decision to go on
        return draft_phrases(draft, pixels, sfr.pamr, logit_scale)
    found = [
        settle(scores, _resized_refinement(image[None], sfr.pamr), sfr.threshold, patch_px, CHANNELS_AT_ONCE)
        for scores, image in zip(draft * logit_scale, pixels, strict=True)
    ]
    phrases, confidence = (torch.cat(parts) for parts in zip(*found, strict=True))
    return phrases, confidence


def _resized_refinement(pixels: Tensor, setting: PAMR | None) -> Callable[[Tensor], Tensor]:
    """Returns a function that resizes channels to the size of an image and refines them."""
    refinement = _refinement(pixels, setting.steps, setting.dilations) if setting else Tensor.float
    image_hw = pixels.shape[2], pixels.shape[3]
    return lambda scores: refinement(upsample(scores.contiguous(memory_format=torch.channels_last), image_hw))


def _refinement(image: Tensor, steps: int, dilations: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
    """Returns a function that refines channels of an image; it maps ``(B, c, H, W)`` float32 to the same shape."""
    image_hw, device = (image.shape[2], image.shape[3]), image.device
    if device.type == "cpu" and gathered_pamr.table_fits(image_hw, dilations):
        return gathered_pamr.Refinement(image, steps, dilations, gathered_pamr.by_embedding_bag(image_hw, dilations))
    if device.type == "cuda" and gathered_pamr.triton_works(device):
        from fiftyone_resclip.core.kernels import triton_pamr

        return gathered_pamr.Refinement(image, steps, dilations, triton_pamr.by_kernel(image_hw, dilations))
    weights = pamr.affinity(image, dilations)

    def shifted(scores: Tensor) -> Tensor:
        for _ in range(steps):
            scores = pamr.propagate(scores, weights, dilations)
        return scores

    return shifted
