"""Turns cosines into the probabilities of classes, pixel by pixel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fiftyone_resclip.core.windows import Scores


def class_probabilities(logits: Scores, phrase_classes: Sequence[int], wanted: Sequence[int], *, logit_scale: float) -> Tensor:
    """Computes how likely some classes are in each pixel, without the probabilities of the others in memory.

    Args:
        logits: cosines at the size of the result
        phrase_classes: the class of each phrase; a class is as likely as its likeliest phrase
        wanted: ``n`` class indices
        logit_scale: factor before the softmax over phrases

    Returns:
        ``(n, H, W)`` float32 in [0, 1]; those of all classes add up to 1 if each has one phrase, otherwise to less
    """
    phrases = [torch.tensor([phrase for phrase, of in enumerate(phrase_classes) if of == index]) for index in wanted]
    result = torch.empty(len(wanted), *logits.image_hw)
    for rows, columns, scores in logits.scaled(logit_scale).tiles():
        probs = scores.softmax(dim=1).cpu()
        for plane, own in zip(result, phrases, strict=True):
            plane[rows, columns] = probs[:, own].amax(dim=1)
    return result
