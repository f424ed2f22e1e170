"""Labels that cost by patch and not by pixel.

Most :mod:`.cells` have only one or two phrases that can win, and only those are computed for each pixel. Where two are too close
for float32, exact scores decide. So the labels do not depend on which phrases were left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from fiftyone_resclip.core.kernels.cells import Cells, Strip, log_sums, too_far_off
from fiftyone_resclip.core.kernels.mosaic import Mosaic
from fiftyone_resclip.core.labels import LabelMap, add_confidence, likeliest, no_confidence

#: The most by which confidence is off: that of each pixel, or with ``mean_only`` the mean of all. The mean of a class on a tenth
#: of the pixels may then be off by ten times as much.
CONFIDENCE_ERROR = 1e-3

#: Rounding of a logarithm in float32, however small the scores are.
_ROUNDING = 1e-5
#: Exact scores that are computed together.
_VALUES = 2**20


def winners(
    logits: Mosaic, classes: Tensor, allowed: Tensor | None = None, threshold: float = 0.0, fallback: int = -1, *, mean_only: bool
) -> LabelMap:
    """Finds the winners as :func:`fiftyone_resclip.core.labels.winners` does; same arguments.

    Returns:
        the labels that exact scores give, where a tie goes to the first phrase; confidence is within :data:`CONFIDENCE_ERROR`
    """
    painter, image_hw = _Painter(logits, allowed, threshold, on_average=mean_only), logits.image_hw
    labels = torch.empty(image_hw, dtype=torch.int16)
    phrases = torch.empty((0,) if mean_only else image_hw, dtype=torch.int16)
    confidence = no_confidence(classes) if mean_only else torch.empty(image_hw)
    for strip in painter.cells.strips(allowed):
        phrase, score = painter.winners(strip)
        label = classes[phrase.int()]
        certainty, error = painter.log_confidence(strip, score)
        if threshold > 0:
            label.masked_fill_(painter.uncertain(strip, certainty, error), fallback)
        labels[:, strip.columns], probability = label, certainty.clamp_(max=0).exp_()
        if mean_only:
            add_confidence(confidence, label, probability)
        else:
            phrases[:, strip.columns], confidence[:, strip.columns] = phrase, probability
    return LabelMap(labels, confidence, phrases)


class _Painter:
    """Computes the pixels of one image, strip by strip.

    Args:
        logits: the scores
        allowed: which phrases may win; ``None`` for all
        threshold: the lowest probability of a certain pixel
        on_average: whether confidence may be off by more at single pixels
    """

    def __init__(self, logits: Mosaic, allowed: Tensor | None, threshold: float, *, on_average: bool) -> None:
        self._logits, self._allowed, self._threshold, self._on_average = logits, allowed, threshold, on_average
        self.cells = Cells.of(logits, CONFIDENCE_ERROR, on_average=on_average)

    def winners(self, strip: Strip) -> tuple[Tensor, Tensor]:
        """Returns the winner of each pixel of a strip, int16, and its score, both ``(H, columns)``."""
        rows, place = self.cells.rows, self.cells.columns.place[strip.columns]
        score = torch.empty(len(rows.span), len(place))
        phrase = torch.empty(score.shape, dtype=torch.int16)
        counts, begin = (each[rows.span] for each in (strip.counts, strip.counts.cumsum(0) - strip.counts))
        for count in strip.counts.unique().tolist():  # rows of cells with equally many candidates are computed together
            own = (counts == count).nonzero()[:, 0]
            candidates = strip.candidates[begin[own][:, None] + torch.arange(count)]
            node, down = rows.first[rows.span[own]][:, None], rows.place[own][:, None]
            left, right = (torch.lerp(side[node, candidates], side[node + 2, candidates], down) for side in strip.corners)
            best, lead, rank = _best(left, right, place)
            won = candidates.gather(1, rank.long()) if count > 1 else candidates.expand_as(rank)
            self._settle(won, lead, own, strip.columns, candidates)
            score[own], phrase[own] = best, won.short()
        return phrase, score

    def _settle(self, won: Tensor, lead: Tensor, rows: Tensor, columns: slice, candidates: Tensor) -> None:
        """Lets exact scores decide where the lead could come from rounding."""
        for row, column in _some_at_once(lead <= self.cells.tolerance, candidates.shape[1]):
            competing = candidates[row]
            scores = self._logits.exact(rows[row], column + columns.start, competing)
            won[row, column] = competing.gather(1, scores.argmax(dim=1, keepdim=True))[:, 0]

    def log_confidence(self, strip: Strip, score: Tensor) -> tuple[Tensor, Tensor]:
        """Returns logarithms of confidence, ``(H, columns)``, and the most by which those of each row are off, ``(H, 1)``."""
        rows = self.cells.rows
        error = strip.errors[rows.span]
        exact = too_far_off(error.expm1(), CONFIDENCE_ERROR, on_average=self._on_average)  # scores change too fast there
        node, weights = rows.first[rows.span], _quadratic(rows.place)
        down = torch.stack([weights[step] * strip.sums[:, node + step] for step in range(3)]).sum(dim=0)
        certainty = torch.addmm(score, down.T, _quadratic(self.cells.columns.place[strip.columns]), alpha=-1)
        if exact.any():
            certainty[exact] = score[exact] - self._pixel_sums(exact, strip.columns)
        return certainty, error.masked_fill(exact, 0)[:, None]

    def _pixel_sums(self, rows: Tensor, columns: slice) -> Tensor:
        """Computes the logarithms of the softmax's sums for all pixels where some rows, a mask, meet some columns."""
        part = self._logits.part(slice(None), rows, columns)
        sums = torch.empty(part.image_hw)
        for tile, inside, scores in part.tiles():
            sums[tile, inside] = log_sums(scores, dim=1)
        return sums

    def uncertain(self, strip: Strip, certainty: Tensor, error: Tensor) -> Tensor:
        """Returns which pixels of a strip are below the threshold; exact probabilities decide where it is close."""
        limit = math.log(self._threshold)
        below = certainty < limit
        every = torch.arange(self._logits.phrases)
        near = (certainty - limit).abs() <= error + self.cells.tolerance + _ROUNDING
        for row, column in _some_at_once(near, len(every)):
            scores = self._logits.exact(row, column + strip.columns.start, every.expand(len(row), -1))
            below[row, column] = likeliest(scores, 1, self._allowed)[1] < self._threshold
        return below


def _some_at_once(pixels: Tensor, phrases: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields rows and columns of the given pixels, so few at a time that exact scores of as many phrases fit into memory."""
    if pixels.any():
        for part in pixels.nonzero().split(max(_VALUES // phrases, 1)):
            yield part[:, 0], part[:, 1]


def _best(left: Tensor, right: Tensor, place: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns each pixel's highest score, its lead over the next, and its rank among the candidates; all ``(rows, columns)``.

    Args:
        left: scores of candidates at the left edge, ``(rows, k)``
        right: the same at the right edge
        place: where each column lies between them
    """
    best = torch.lerp(left[:, :1], right[:, :1], place)
    lead, rank, better = torch.full_like(best, torch.inf), torch.zeros_like(best), torch.empty_like(best)
    for number in range(1, left.shape[1]):
        score = torch.lerp(left[:, number, None], right[:, number, None], place)
        torch.gt(score, best, out=better)
        torch.maximum(rank, better.mul_(number), out=rank)
        highest = torch.maximum(best, score)
        # the next is the old best, the new score, or the next so far
        lead = torch.minimum((best - score).abs_(), lead.add_(highest).sub_(best))
        best = highest
    return best, lead, rank


def _quadratic(place: Tensor) -> Tensor:
    """Returns the weights of the three nodes of a quadratic, ``(3, n)``."""
    return torch.stack([(2 * place - 1) * (place - 1), 4 * place * (1 - place), place * (2 * place - 1)])
