"""From cosines to labels: softmax over phrases, classes from synonyms, thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fiftyone_resclip.core.kernels.transfer import sent
from fiftyone_resclip.core.windows import Mosaic


class LabelMap(NamedTuple):
    """Labels of one image and how sure they are.

    Attributes:
        labels: class index per pixel, -1 where there is none, ``(H, W)`` int16
        confidence: probability of the most likely class, ``(H, W)`` float32 in [0, 1]
    """

    labels: Tensor
    confidence: Tensor


class RunningLikeliest:
    """Finds the likeliest phrase at every pixel from logits that come some phrases at a time.

    Args:
        shape: of the pixels
        device: where they are
    """

    def __init__(self, shape: Sequence[int], device: torch.device) -> None:
        self._highest = torch.full(shape, -torch.inf, device=device)
        self._total = torch.zeros(shape, device=device)
        self._seen = 0
        #: Index of the likeliest phrase so far, int64; of equals the first.
        self.phrase = torch.zeros(shape, dtype=torch.int64, device=device)

    def add(self, logits: Tensor) -> None:
        """Takes the next phrases.

        Args:
            logits: cosines times the logit scale, phrases last, ``(*shape, q)``; overwritten
        """
        value, phrase = logits.max(dim=-1)
        highest = torch.maximum(self._highest, value)
        self._total *= (self._highest - highest).exp_()
        self._total += logits.sub_(highest[..., None]).exp_().sum(dim=-1)
        self.phrase = torch.where(value > self._highest, phrase + self._seen, self.phrase)
        self._highest = highest
        self._seen += logits.shape[-1]

    @property
    def confidence(self) -> Tensor:
        """The softmax over all phrases so far, at the likeliest."""
        return 1 / self._total


def label_map(
    logits: Mosaic,
    phrase_classes: Sequence[int],
    *,
    logit_scale: float,
    threshold: float,
    fallback: int,
    min_area: float = 0.0,
) -> LabelMap:
    """Gives each pixel of an image its class.

    Args:
        logits: cosines at the size of the result
        phrase_classes: the class of each phrase, ascending
        logit_scale: factor before the softmax over phrases
        threshold: a pixel whose likeliest class is below it gets ``fallback``
        fallback: a class index, or -1 for no label
        min_area (0.0): classes that are likeliest on less than this share of the image are taken out, all but the largest

    Returns:
        the labels and the confidence of the class that was chosen

    Differs:
        the release's area threshold fails, and would change nothing; off by default. For the likeliest phrase of a class it
        builds a ``C x Q x H x W`` tensor
    """
    classes = sent(torch.tensor(phrase_classes, dtype=torch.int16), logits.patches.device)
    scaled = logits._replace(patches=logits.patches * logit_scale)
    result = _most_likely(scaled, classes, None)
    if min_area > 0:
        areas = _pixels_of_each(result.labels, len(classes)) / result.labels.numel()
        allowed = (areas >= min_area) | (areas == areas.max())
        result = _most_likely(scaled, classes, allowed[classes.long()])
    return LabelMap(result.labels.masked_fill(result.confidence < threshold, fallback), result.confidence)


def _pixels_of_each(labels: Tensor, n_classes: int) -> Tensor:
    """Counts the pixels of each class, ``(n_classes,)`` int64; :func:`torch.bincount` would wait for a GPU."""
    counts = torch.zeros(n_classes, dtype=torch.int64, device=labels.device)
    return counts.scatter_add_(0, labels.flatten().long(), counts.new_ones(1).expand(labels.numel()))


def _most_likely(logits: Mosaic, classes: Tensor, allowed: Tensor | None) -> LabelMap:
    """The class of the likeliest of the allowed phrases at every pixel: a class is as likely as its likeliest phrase."""
    labels = torch.empty(logits.image_hw, dtype=torch.int16, device=classes.device)
    confidence = torch.empty(logits.image_hw, device=classes.device)
    for rows, columns, scores in logits.tiles():
        probs = scores.softmax(dim=1)
        if allowed is not None:
            probs.masked_fill_(~allowed[:, None], -1)
        confidence[rows, columns], phrase = probs.max(dim=1)
        labels[rows, columns] = classes[phrase]
    return LabelMap(labels, confidence)
