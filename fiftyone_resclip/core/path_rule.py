"""The path rule of SFR: two patches with the same label agree less if the line between them crosses another label."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from fiftyone_resclip.core.attention import patch_offsets


def broken_lines(labels: Tensor) -> Tensor:
    """Finds the pairs of patches whose line meets a label other than the label at its start.

    Every line has ``M + 1`` samples, where ``M`` is the longest Chebyshev distance of the grid. But for a pair at distance ``s``
    only the samples ``0 ... s`` are checked, that is the first part ``s / M`` of its line. The published numbers were measured
    this way. The rule is not connectivity, and it is not symmetric.

    Args:
        labels: label per patch, ``(B, h, w)`` int64, on a grid of more than one patch

    Returns:
        ``(B, P, P)`` bool, indexed by start and end

    Source:
        ResCLIP (CVPR 2025), as its reported numbers were measured
    """
    height, width = labels.shape[1:]
    flat, last = labels.flatten(1), max(height, width) - 1
    place = torch.arange(height * width, device=labels.device)
    rows, columns = place // width, place % width
    row_samples, column_samples = (line_samples(side, last, labels.device) for side in (height, width))
    distance, broken = chebyshev((height, width), labels.device), torch.zeros_like(flat[:, :, None] == flat[:, None, :])
    for sample in range(1, last + 1):
        met_row = row_samples[sample][rows[:, None], rows[None]]
        met_column = column_samples[sample][columns[:, None], columns[None]]
        broken |= (flat[:, met_row * width + met_column] != flat[:, :, None]) & (distance >= sample)
    return broken


def decay(grid_hw: tuple[int, int], device: torch.device) -> Tensor:
    """Returns the weight of a broken line: ``exp(-s / M)`` for the Chebyshev distance ``s``, ``(P, P)`` float32."""
    return torch.exp(-chebyshev(grid_hw, device).float() / (max(grid_hw) - 1))


@lru_cache(maxsize=8)
def line_samples(side: int, last: int, device: torch.device) -> Tensor:
    """Returns one coordinate (row or column) of the samples on every line.

    The positions ``t`` are float32 and computed like ``torch.linspace``: from 0 upwards and from 1 downwards. On grids whose
    longer side is odd, samples fall on exact halves, and this rounding decides which patch they belong to.

    Args:
        side: patches along this coordinate
        last: index of the last sample
        device: device of the result

    Returns:
        ``(last + 1, side, side)`` int64, indexed by sample, start and end; cached: do not write to it
    """
    step = torch.tensor(1 / last, dtype=torch.float32).double()
    index = torch.arange(last + 1, dtype=torch.float64)
    t = torch.where(index < (last + 1) // 2, index * step, 1 - (last - index) * step).float()[:, None, None]
    place = torch.arange(side, dtype=torch.float32)
    return (place[:, None] * (1 - t) + place[None, :] * t).round().long().to(device)


@lru_cache(maxsize=8)
def chebyshev(grid_hw: tuple[int, int], device: torch.device) -> Tensor:
    """Returns the Chebyshev distance of every pair of patches, ``(P, P)`` int16; cached: do not write to it."""
    rows, columns = patch_offsets(grid_hw, device)
    return torch.maximum(rows.abs(), columns.abs()).to(torch.int16)
