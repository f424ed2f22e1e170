"""Turns cosines into labels: the label, confidence and winning phrase of each pixel are decided here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fiftyone_resclip.core.transfer import sent
from fiftyone_resclip.core.windows import Scores

#: Pixels that are counted together, so that their 64-bit indices stay small.
_PIXELS_AT_ONCE = 2**22


class LabelMap(NamedTuple):
    """Labels of one image and how certain they are.

    Attributes:
        labels: class index per pixel, -1 for no label, ``(H, W)`` int16
        confidence: probability of the likeliest class, ``(H, W)`` float32 in [0, 1]; with
            ``mean_only`` its sum over the pixels without a label and over those of each class, ``(1 + Q,)`` float64: with fewer
            classes than phrases, zeros follow
        phrases: index of the winning phrase, even where it is too uncertain to give a label, ``(H, W)`` int16; with
            ``mean_only`` none, ``(0,)``
    """

    labels: Tensor
    confidence: Tensor
    phrases: Tensor

    @property
    def mean_confidence(self) -> Tensor:
        """The mean of the confidence over all pixels, ``()`` float64."""
        return self.confidence.sum(dtype=torch.float64) / self.labels.numel()


def label_map(
    logits: Scores,
    phrase_classes: Sequence[int],
    *,
    logit_scale: float,
    threshold: float,
    fallback: int,
    min_area: float = 0.0,
    mean_only: bool = False,
    find: Callable[..., LabelMap] | None = None,
) -> LabelMap:
    """Computes the class of each pixel.

    Args:
        logits: cosines at the size of the result
        phrase_classes: the class of each phrase, ascending
        logit_scale: factor before the softmax over phrases
        threshold: a pixel gets ``fallback`` if its likeliest class has a lower probability than this
        fallback: a class index, or -1 for no label
        min_area (0.0): classes that win less than this share of the image are removed, except the largest
        mean_only (False): whether to leave out what is not needed for a mask, which takes a quarter of the memory
        find (None): finds what :func:`winners` finds; a faster one is :func:`fiftyone_resclip.core.kernels.winners`

    Returns:
        labels, confidence and phrases

    Differs:
        the release's area threshold fails, and would have no effect if it ran; here it works and is off by default. To find
        the likeliest phrase of a class, the release builds a ``C x Q x H x W`` tensor
    """
    find = find or winners
    classes = sent(torch.tensor(phrase_classes, dtype=torch.int16), logits.device)
    scaled, allowed = logits.scaled(logit_scale), None
    if min_area > 0:
        won = find(scaled, classes, mean_only=True).labels
        areas = _pixels_of_each(won, len(classes)) / won.numel()
        allowed = ((areas >= min_area) | (areas == areas.max()))[classes.long()]
    return find(scaled, classes, allowed, threshold, fallback, mean_only=mean_only)


def likeliest(logits: Tensor, dim: int, allowed: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Finds the likeliest phrase under a softmax over all phrases.

    Args:
        logits: cosines times the logit scale
        dim: dimension of the phrases
        allowed (None): which phrases may win, broadcastable to ``logits``; by default all

    Returns:
        phrase index, int64 (a tie goes to the first), and its probability
    """
    phrase = (logits if allowed is None else logits.masked_fill(~allowed, -torch.inf)).argmax(dim=dim, keepdim=True)
    return phrase.squeeze(dim), logits.softmax(dim=dim).gather(dim, phrase).squeeze(dim)


def winners(
    logits: Scores, classes: Tensor, allowed: Tensor | None = None, threshold: float = 0.0, fallback: int = -1, *, mean_only: bool
) -> LabelMap:
    """Finds the likeliest allowed phrase of every pixel, and its class: a class is as likely as its likeliest phrase.

    Args:
        logits: cosines times the logit scale, at the size of the result
        classes: class of each phrase, ascending, ``(Q,)`` int16
        allowed (None): which phrases may win, ``(Q,)`` bool; by default all
        threshold (0.0): as for :func:`label_map`
        fallback (-1): as for :func:`label_map`
        mean_only: as for :func:`label_map`

    Returns:
        labels, confidence and phrases
    """
    image_hw, device = logits.image_hw, classes.device
    labels = torch.empty(image_hw, dtype=torch.int16, device=device)
    phrases = torch.empty((0,) if mean_only else image_hw, dtype=torch.int16, device=device)
    confidence = no_confidence(classes) if mean_only else torch.empty(image_hw, device=device)
    for rows, columns, scores in logits.tiles():
        phrase, certainty = likeliest(scores, 1, None if allowed is None else allowed[:, None])
        labels[rows, columns] = label = classes[phrase].masked_fill_(certainty < threshold, fallback)
        if mean_only:
            add_confidence(confidence, label, certainty)
        else:
            phrases[rows, columns], confidence[rows, columns] = phrase, certainty
    return LabelMap(labels, confidence, phrases)


def no_confidence(classes: Tensor) -> Tensor:
    """Returns the sums of confidence before the first pixel, ``(1 + Q,)``; see :class:`LabelMap`.

    There is one class for each phrase at most; to know how many there are would be to wait for a GPU.
    """
    return torch.zeros(1 + len(classes), dtype=torch.float64, device=classes.device)


def add_confidence(sums: Tensor, labels: Tensor, confidence: Tensor) -> None:
    """Adds the confidence of some pixels to the sums.

    Args:
        sums: from :func:`no_confidence`
        labels: class index per pixel, -1 for no label, of any shape
        confidence: of each pixel, of the same shape
    """
    sums.index_add_(0, (labels + 1).flatten().int(), confidence.flatten().double())


def _pixels_of_each(labels: Tensor, n_classes: int) -> Tensor:
    """Counts the pixels of each class, ``(n_classes,)`` int64; :func:`torch.bincount` would wait for a GPU."""
    counts = torch.zeros(n_classes, dtype=torch.int64, device=labels.device)
    for part in labels.flatten().split(_PIXELS_AT_ONCE):
        counts.scatter_add_(0, part.long(), counts.new_ones(1).expand(part.numel()))
    return counts
