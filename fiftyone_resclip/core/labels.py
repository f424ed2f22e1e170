"""Turns cosines into labels: the label, confidence and winning phrase of each pixel are decided here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fiftyone_resclip.core.kernels.transfer import sent
from fiftyone_resclip.core.windows import Scores


class LabelMap(NamedTuple):
    """Labels of one image and how certain they are.

    Attributes:
        labels: class index per pixel, -1 for no label, ``(H, W)`` int16
        confidence: probability of the likeliest class, ``(H, W)`` float32 in [0, 1]
        phrases: index of the winning phrase, even where it is too uncertain to give a label, ``(H, W)`` int16
    """

    labels: Tensor
    confidence: Tensor
    phrases: Tensor


def label_map(
    logits: Scores,
    phrase_classes: Sequence[int],
    *,
    logit_scale: float,
    threshold: float,
    fallback: int,
    min_area: float = 0.0,
) -> LabelMap:
    """Computes the class of each pixel.

    Args:
        logits: cosines at the size of the result
        phrase_classes: the class of each phrase, ascending
        logit_scale: factor before the softmax over phrases
        threshold: a pixel gets ``fallback`` if its likeliest class has a lower probability than this
        fallback: a class index, or -1 for no label
        min_area (0.0): classes that win less than this share of the image are removed, except the largest

    Returns:
        labels, confidence and phrases

    Differs:
        the release's area threshold fails, and would have no effect if it ran; here it works and is off by default. To find
        the likeliest phrase of a class, the release builds a ``C x Q x H x W`` tensor
    """
    classes = sent(torch.tensor(phrase_classes, dtype=torch.int16), logits.device)
    scaled = logits.scaled(logit_scale)
    result = _winners(scaled, classes, None)
    if min_area > 0:
        areas = _pixels_of_each(result.labels, len(classes)) / result.labels.numel()
        allowed = (areas >= min_area) | (areas == areas.max())
        result = _winners(scaled, classes, allowed[classes.long()])
    return result._replace(labels=result.labels.masked_fill(result.confidence < threshold, fallback))


def likeliest(logits: Tensor, dim: int, allowed: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Finds the likeliest phrase under a softmax over all phrases.

    Args:
        logits: cosines times the logit scale
        dim: dimension of the phrases
        allowed (None): which phrases may win, broadcastable to ``logits``; by default all

    Returns:
        phrase index, int64 (a tie goes to the first), and its probability
    """
    probs = logits.softmax(dim=dim)
    if allowed is not None:
        probs.masked_fill_(~allowed, -1)
    confidence, phrase = probs.max(dim=dim)
    return phrase, confidence


def _winners(logits: Scores, classes: Tensor, allowed: Tensor | None) -> LabelMap:
    """Finds the likeliest allowed phrase of every pixel, and its class: a class is as likely as its likeliest phrase."""
    image_hw, device = logits.image_hw, classes.device
    labels, phrases = (torch.empty(image_hw, dtype=torch.int16, device=device) for _ in range(2))
    confidence = torch.empty(image_hw, device=device)
    for rows, columns, scores in logits.tiles():
        phrase, confidence[rows, columns] = likeliest(scores, 1, None if allowed is None else allowed[:, None])
        labels[rows, columns], phrases[rows, columns] = classes[phrase], phrase
    return LabelMap(labels, confidence, phrases)


def _pixels_of_each(labels: Tensor, n_classes: int) -> Tensor:
    """Counts the pixels of each class, ``(n_classes,)`` int64; :func:`torch.bincount` would wait for a GPU."""
    counts = torch.zeros(n_classes, dtype=torch.int64, device=labels.device)
    return counts.scatter_add_(0, labels.flatten().long(), counts.new_ones(1).expand(labels.numel()))
