"""Divides an image into cells in which scores are bilinear, and finds out what may happen in each without looking at its pixels.

Rows and columns are divided into :mod:`.spans`; where two of them meet is a cell. A phrase can win in a cell only if its highest
corner is not below the lowest corner of every other phrase.

The logarithm of a softmax's sum is smooth, so it can be interpolated from the nine nodes of a cell. Its third derivative is a
third cumulant, so the error is bounded by how far the differences between phrases move within the cell.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from fiftyone_resclip.core.kernels.mosaic import Mosaic
from fiftyone_resclip.core.kernels.spans import Spans, even_stretches, spans

#: Values that are computed together: few enough for a CPU's cache.
_VALUES = 2**20
#: The most cells between two patch centres, along a side.
_MOST_PARTS = 12
#: With Q phrases, a cell takes as long as the softmax's sums at ``_CELL_PX + _CELL_VALUES / Q`` pixels.
_CELL_PX, _CELL_VALUES = 15, 1000
#: Rounding of a score in float32, relative to the phrase's largest.
_ROUNDING = 1e-5
#: A phrase whose score is this much below another's has no part in the softmax's sum.
_NOTHING = 100.0
#: Error of a quadratic through three nodes, for the largest third cumulant of a variable whose values differ by at most 1.
_CUBIC = (3**0.5 / 216) / (6 * 3**0.5)
#: How much interpolation along one side can enlarge the error of interpolation along the other.
_LEBESGUE = 1.25


class Strip(NamedTuple):
    """The cells of one span of columns, top to bottom.

    Attributes:
        columns: its pixel columns
        corners: scores at its left and at its right edge, in each row of nodes, ``(2, nodes, Q)``
        sums: logarithms of the softmax's sums in its three columns of nodes, ``(3, nodes)``
        errors: the most by which what is interpolated from ``sums`` is off, ``(cells,)``
        counts: number of phrases that may win in each cell, ``(cells,)``
        candidates: these phrases, cell by cell and ascending, ``(sum of counts,)``
    """

    columns: slice
    corners: Tensor
    sums: Tensor
    errors: Tensor
    counts: Tensor
    candidates: Tensor


class Cells(NamedTuple):
    """All cells of an image.

    Attributes:
        patches: the image's scores, ``(patch columns, patch rows, Q)``
        rows: spans of rows
        columns: spans of columns
        rounding: the most by which a phrase's scores are off in float32, ``(Q,)``
        tolerance: the most by which differences between scores are off, among all phrases that matter anywhere
    """

    patches: Tensor
    rows: Spans
    columns: Spans
    rounding: Tensor
    tolerance: float

    @classmethod
    def of(cls, mosaic: Mosaic, limit: float, *, on_average: bool) -> Cells:
        """Divides an image.

        Args:
            mosaic: the scores at the size of the result, times the logit scale
            limit: the most by which interpolated logarithms should be off
            on_average: whether single ones may be off by more
        """
        parts = _parts(mosaic, limit, on_average=on_average)
        rows, columns = spans(mosaic.row_shares, parts), spans(mosaic.column_shares, parts)
        rounding = (_ROUNDING + rows.error + columns.error) * mosaic.patches.abs().amax(dim=(0, 2))
        matters = mosaic.patches.amax(dim=(0, 2)) >= mosaic.patches.amax(dim=1).min() - _NOTHING
        patches = mosaic.patches.permute(2, 0, 1).contiguous()
        return cls(patches, rows, columns, rounding, 2 * float(rounding[matters].max()))

    def strips(self, allowed: Tensor | None) -> Iterator[Strip]:
        """Yields all strips, left to right.

        Args:
            allowed: which phrases may win, ``(Q,)`` bool; ``None`` for all
        """
        at_once = max(_VALUES // (2 * self.rows.shares.shape[1] * self.patches.shape[2]), 1)
        for group in torch.arange(len(self.columns.first)).split(at_once):
            first = self.columns.first[group] - self.columns.first[group[0]]
            nodes = self._nodes(slice(int(self.columns.first[group[0]]), int(self.columns.first[group[-1]]) + 3))
            sums, sides = log_sums(nodes, dim=2), torch.stack([nodes.index_select(0, first), nodes.index_select(0, first + 2)])
            tops, bottoms = sides.index_select(2, self.rows.first), sides.index_select(2, self.rows.first + 2)
            mask, errors = self._may_win(tops, bottoms, allowed), _interpolation_errors(tops, bottoms)
            counts = mask.sum(dim=2)
            candidates = mask.nonzero()[:, 2].split(counts.sum(dim=1).tolist())
            for number, (span, left) in enumerate(zip(group.tolist(), first.tolist(), strict=True)):
                columns = slice(*self.columns.start[span : span + 2].tolist())
                yield Strip(columns, sides[:, number], sums[left : left + 3], errors[number], counts[number], candidates[number])

    def _nodes(self, columns: slice) -> Tensor:
        """Computes the scores of columns of nodes, ``(columns, rows of nodes, Q)``."""
        shares = self.columns.shares[:, columns]
        lines = shares.any(dim=1).nonzero()
        used = slice(int(lines[0]), int(lines[-1]) + 1)
        strip = (shares[used].T @ self.patches[used].flatten(1)).unflatten(1, self.patches.shape[1:])
        nodes: Tensor = self.rows.shares.T @ strip
        return nodes

    def _may_win(self, tops: Tensor, bottoms: Tensor, allowed: Tensor | None) -> Tensor:
        """Returns whether each phrase may win in each cell, ``(columns, rows, Q)``."""
        highest = torch.maximum(tops, bottoms).amax(dim=0).add_(self.rounding)
        lowest = torch.minimum(tops, bottoms).amin(dim=0).sub_(self.rounding)
        if allowed is not None:
            highest, lowest = (each.masked_fill_(~allowed, -torch.inf) for each in (highest, lowest))
        mask = highest >= lowest.amax(dim=2, keepdim=True)
        return mask if allowed is None else mask & allowed


def log_sums(scores: Tensor, dim: int) -> Tensor:
    """Returns logarithms of the softmax's sums; :func:`torch.logsumexp` takes five times as long."""
    highest = scores.amax(dim=dim, keepdim=True)
    return (scores - highest).exp_().sum(dim=dim).log_().add_(highest.squeeze(dim))


def too_far_off(errors: Tensor, limit: float, *, on_average: bool) -> Tensor:
    """Returns which errors must become 0 so that none is above the limit, or with ``on_average``, the mean of all is not.

    Args:
        errors: ``(n,)``
        limit: the most that is allowed
        on_average: whether single ones may be larger; then it returns as few as possible, the largest

    Returns:
        ``(n,)`` bool
    """
    if not on_average:
        return errors > limit
    ascending, order = errors.sort()
    return torch.empty_like(errors, dtype=torch.bool).index_copy_(0, order, ascending.cumsum(0) > limit * len(errors))


def _parts(mosaic: Mosaic, limit: float, *, on_average: bool) -> int:
    """Returns into how many cells to divide the way from patch to patch; the right number matters only for speed.

    With more of them there are more nodes, and fewer pixels at which the softmax's sums can't be interpolated.
    """
    sides = (torch.stack(pair)[:, None] for pair in zip(*_neighbours(mosaic.patches.permute(2, 0, 1), dim=0), strict=True))
    errors = torch.cat([_interpolation_errors(*_neighbours(side, dim=2)).flatten() for side in sides])
    undivided = len(even_stretches(mosaic.row_shares)) * len(even_stretches(mosaic.column_shares))
    errors *= min(len(errors) / undivided, 1) ** 1.5  # a guess: cells are smaller than the way from patch to patch
    cell_px = _CELL_PX + _CELL_VALUES / mosaic.phrases

    def cost(parts: int) -> float:
        exact = too_far_off(errors / parts**3, limit, on_average=on_average)
        return cell_px * undivided * parts**2 + math.prod(mosaic.image_hw) * float(exact.float().mean())

    return min(range(1, _MOST_PARTS + 1), key=cost)


def _neighbours(values: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Returns all lines but the last, and all but the first; if there is only one line, that line twice."""
    count = max(values.shape[dim] - 1, 1)
    return values.narrow(dim, 0, count), values.narrow(dim, values.shape[dim] - count, count)


def _interpolation_errors(tops: Tensor, bottoms: Tensor) -> Tensor:
    """Bounds the error of interpolated logarithms in each cell; takes corners, ``(2, columns, rows, Q)``."""
    across, down = _moves(torch.stack([tops, bottoms]).diff(dim=1), dim=4), _moves(bottoms - tops, dim=3)
    return _CUBIC * (across.amax(dim=(0, 1)) ** 3 + _LEBESGUE * down.amax(dim=0) ** 3)


def _moves(differences: Tensor, dim: int) -> Tensor:
    """Returns how far phrases move against each other."""
    return differences.amax(dim=dim) - differences.amin(dim=dim)
