"""From cosines to labels: softmax over phrases, classes from synonyms, thresholds.

Full-size results are made in bands of rows, so that 150 classes on a large photograph need little memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

_BAND_VALUES = 8_000_000


class LabelMap(NamedTuple):
    """Labels of one image and how sure they are.

    Attributes:
        labels: class index per pixel, -1 where there is none, ``(H, W)`` int16
        confidence: probability of the most likely class, ``(H, W)`` float32 in [0, 1]
    """

    labels: Tensor
    confidence: Tensor


def class_probabilities(logits: Tensor, phrase_classes: Sequence[int], logit_scale: float) -> Tensor:
    """Turns cosines with phrases into probabilities of classes: a class is as likely as its likeliest phrase.

    Args:
        logits: cosines, ``(Q, H, W)``
        phrase_classes: the class of each phrase, ascending, every class at least once
        logit_scale: factor before the softmax

    Returns:
        ``(C, H, W)`` float32; the sum over classes is at most 1, and 1 without synonyms

    Differs:
        the release builds a ``C x Q x H x W`` tensor for the same maximum
    """
    probs = (logit_scale * logits.float()).softmax(dim=0)
    sizes = torch.bincount(torch.tensor(phrase_classes)).tolist()
    if max(sizes) == 1:
        return probs
    return torch.stack([part.amax(dim=0) for part in probs.split(sizes)])


def label_map(
    logits: Tensor,
    out_hw: tuple[int, int],
    phrase_classes: Sequence[int],
    *,
    logit_scale: float,
    threshold: float,
    fallback: int,
    min_area: float = 0.0,
) -> LabelMap:
    """Gives each pixel of an image its class.

    Args:
        logits: cosines at any resolution, ``(Q, h, w)``
        out_hw: height and width of the result; ``logits`` are resized bilinearly
        phrase_classes: the class of each phrase, ascending
        logit_scale: factor before the softmax over phrases
        threshold: a pixel whose likeliest class is below it gets ``fallback``
        fallback: a class index, or -1 for no label
        min_area (0.0): classes that are likeliest on less than this share of the image are taken out, all but the largest

    Returns:
        the labels and the confidence of the class that was chosen

    Differs:
        the release's area threshold fails, and would change nothing; off by default
    """
    allowed = torch.ones(max(phrase_classes) + 1, dtype=torch.bool, device=logits.device)
    result = _likeliest(logits, out_hw, phrase_classes, logit_scale, allowed)
    if min_area > 0:
        areas = torch.bincount(result.labels.flatten().long(), minlength=len(allowed)) / result.labels.numel()
        allowed = (areas >= min_area) | (areas == areas.max())
        if not bool(allowed[areas > 0].all()):
            result = _likeliest(logits, out_hw, phrase_classes, logit_scale, allowed)
    return LabelMap(result.labels.masked_fill(result.confidence < threshold, fallback), result.confidence)


def _likeliest(
    logits: Tensor, out_hw: tuple[int, int], phrase_classes: Sequence[int], logit_scale: float, allowed: Tensor
) -> LabelMap:
    """The likeliest of the allowed classes at every pixel."""
    labels = torch.empty(out_hw, dtype=torch.int16, device=logits.device)
    confidence = torch.empty(out_hw, device=logits.device)
    for rows, band in _bands(logits.float(), out_hw):
        probs = class_probabilities(band, phrase_classes, logit_scale)
        confidence[rows], best = probs.masked_fill(~allowed[:, None, None], -1).max(dim=0)
        labels[rows] = best.to(torch.int16)
    return LabelMap(labels, confidence)


def _bands(logits: Tensor, out_hw: tuple[int, int]) -> Iterator[tuple[slice, Tensor]]:
    """Yields the bilinearly resized ``logits`` (``align_corners=False``) in bands of output rows."""
    if out_hw == tuple(logits.shape[-2:]):
        source_rows = None
    else:
        source_rows = _source_rows(logits.shape[-2], out_hw[0], logits.device)
    height = max(_BAND_VALUES // (logits.shape[0] * out_hw[1]), 1)
    for top in range(0, out_hw[0], height):
        rows = slice(top, min(top + height, out_hw[0]))
        if source_rows is None:
            yield rows, logits[:, rows]
            continue
        upper, lower, share = (values[rows] for values in source_rows)
        band = torch.lerp(logits[:, upper], logits[:, lower], share[:, None])
        yield rows, functional.interpolate(band[None], size=(band.shape[1], out_hw[1]), mode="bilinear", align_corners=False)[0]


def _source_rows(in_rows: int, out_rows: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """For each output row the two input rows it lies between, and the share of the lower one."""
    position = ((torch.arange(out_rows, device=device) + 0.5) * (in_rows / out_rows) - 0.5).clamp(0, in_rows - 1)
    upper = position.floor().long()
    return upper, (upper + 1).clamp(max=in_rows - 1), position - upper
