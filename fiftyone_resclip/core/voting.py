"""Lets the pixels of a region vote, so that its class is decided once and its outline becomes the border of the mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fiftyone_resclip.core.labels import LabelMap
from fiftyone_resclip.core.text import best_of_classes
from fiftyone_resclip.core.windows import Scores


class Regions(NamedTuple):
    """The regions of one image, of unknown class; they may overlap.

    Attributes:
        layers: region of each pixel, ``(L, H, W)`` int32, 0 for none; regions of one layer do not overlap. Regions are counted
            from 1, larger ones first
        pixels: pixels of each region, ``(R,)`` int64
    """

    layers: Tensor
    pixels: Tensor


class Votes(NamedTuple):
    """What the regions of an image vote for.

    Attributes:
        labels: class index per region, -1 for no label, ``(R,)`` int16
        confidence: mean probability of the likeliest class, ``(R,)`` float32 in [0, 1]
        phrases: index of the likeliest phrase of that class, ``(R,)`` int16
    """

    labels: Tensor
    confidence: Tensor
    phrases: Tensor


def vote(
    logits: Scores, phrase_classes: Sequence[int], regions: Regions, *, logit_scale: float, threshold: float, fallback: int
) -> Votes:
    """Finds the class with the highest mean probability in each region.

    Args:
        logits: cosines at the size of the regions
        phrase_classes: the class of each phrase, ascending; a class is as likely in a pixel as its likeliest phrase
        regions: the regions
        logit_scale: factor before the softmax over phrases
        threshold: a region gets ``fallback`` if its likeliest class has a lower mean probability than this
        fallback: a class index, or -1 for no label

    Returns:
        the votes

    Source:
        the mask proposal classification of CorrCLIP and of Retrieve and Segment, here without a second model
    """
    layers = regions.layers.to(logits.device)
    classes = torch.tensor(phrase_classes, device=layers.device)
    n_classes, n_regions = phrase_classes[-1] + 1, len(regions.pixels)
    of_classes = torch.zeros(n_regions + 1, n_classes, dtype=torch.float64, device=layers.device)
    of_phrases = torch.zeros(n_regions + 1, len(classes), dtype=torch.float64, device=layers.device)
    for rows, columns, scores in logits.scaled(logit_scale).tiles():
        inside = layers[:, rows, columns]
        if not inside.any():
            continue
        probs = scores.softmax(dim=1).transpose(1, 2).flatten(0, 1)
        best = best_of_classes(probs, classes, n_classes)
        for layer in inside:
            _add(of_classes, layer.flatten(), best)
            if n_classes < len(classes):
                _add(of_phrases, layer.flatten(), probs)
    totals = (of_classes if n_classes == len(classes) else of_phrases)[1:]
    confidence, label = (of_classes[1:] / regions.pixels.to(layers.device)[:, None]).float().max(dim=1)
    phrase = totals.masked_fill(classes != label[:, None], -1).argmax(dim=1)
    return Votes(label.masked_fill(confidence < threshold, fallback).short(), confidence, phrase.short())


def painted(found: LabelMap, votes: Votes, regions: Regions) -> LabelMap:
    """Gives every pixel inside a region what the region voted for; smaller regions are painted over larger ones.

    Args:
        found: the result without regions, with the confidence of each pixel
        votes: from :func:`vote`
        regions: the regions

    Returns:
        the label map; pixels outside all regions keep what they had
    """
    region = regions.layers.to(found.labels.device).amax(dim=0)
    outside = region == 0
    number = (region - 1).clamp_(min=0).long()
    parts = zip(found, votes, strict=True)
    return LabelMap(*(before.where(outside, voted[number]) for before, voted in parts))


def _add(sums: Tensor, region: Tensor, values: Tensor) -> None:
    """Adds the values of each pixel, ``(n, C)``, to its region. Few pixels are added at a time, so float32 is exact enough."""
    sums += torch.zeros(sums.shape, device=sums.device).index_add_(0, region.long(), values)
