"""Divides a side of an image into spans in which the share of every line of patches changes evenly from pixel to pixel.

Where a span of rows and a span of columns meet, scores are bilinear: no pixel is above the highest corner or below the lowest.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

#: A change of slope between pixels that ends a stretch; float32 shares bend by less.
_BEND = 1e-5


class Spans(NamedTuple):
    """One side of an image, divided into spans. Each has three nodes: its first point, the one in the middle, and its last.

    Attributes:
        first: number of the first node of each span, ``(spans,)`` int64; the other two follow it, and spans may share the last
        shares: share of each line in each node, ``(lines, nodes)`` float32
        start: first pixel of each span, and after the last span the length of the side, ``(spans + 1,)`` int64
        span: the span of each pixel, ``(side,)`` int64
        place: where each pixel lies between the first node and the last, ``(side,)`` float32 in [0, 1]
        error: the most by which shares interpolated between first and last nodes differ from a pixel's own, added up over lines
    """

    first: Tensor
    shares: Tensor
    start: Tensor
    span: Tensor
    place: Tensor
    error: float


def spans(shares: Tensor, parts: int) -> Spans:
    """Divides a side.

    Args:
        shares: share of each line in each pixel, ``(lines, side)`` float32
        parts: number of spans that the longest even stretch is divided into; the others are divided into spans of that length

    Returns:
        the spans, which together contain each pixel once
    """
    stretches = even_stretches(shares)
    step = max(max(last - first for first, last in stretches) / parts, 1)
    counts = [max(round((last - first) / step), 1) for first, last in stretches]
    nodes = [torch.linspace(*ends, 2 * count + 1, dtype=torch.float64) for ends, count in zip(stretches, counts, strict=True)]
    ahead = torch.tensor([0, *map(len, nodes)]).cumsum(0)
    first = torch.cat([2 * torch.arange(count) + before for count, before in zip(counts, ahead[:-1], strict=True)])
    start = torch.cat([*(each[:-1:2].ceil().long() for each in nodes), torch.tensor([shares.shape[1]])])
    span = torch.arange(len(first)).repeat_interleave(start.diff())
    node = torch.cat(nodes)
    from_px, to_px = node[first][span], node[first + 2][span]
    place = ((torch.arange(shares.shape[1]) - from_px) / (to_px - from_px).clamp(min=1)).float()
    in_nodes = _at(shares, node)
    off = torch.lerp(in_nodes[:, first[span]], in_nodes[:, first[span] + 2], place) - shares
    return Spans(first, in_nodes, start, span, place, float(off.abs().sum(dim=0).max()))


def even_stretches(shares: Tensor) -> list[tuple[int, int]]:
    """Returns the first and last pixel of each stretch in which no share bends; a bend may only be at an end.

    Args:
        shares: as for :func:`spans`
    """
    last = shares.shape[1] - 1
    bends = shares.diff(n=2, dim=1).abs().amax(dim=0) if last > 1 else shares.new_zeros(0)
    stretches, first = [], 0
    for bend in (bends > _BEND).nonzero()[:, 0] + 1:
        if bend > first:
            stretches.append((first, int(bend)))
            first = int(bend) + 1
    return [*stretches, (first, last)]


def _at(shares: Tensor, positions: Tensor) -> Tensor:
    """Returns the shares at positions between pixels."""
    before = positions.floor().long()
    after = positions.ceil().long()
    return torch.lerp(shares[:, before].double(), shares[:, after].double(), positions - before).float()
