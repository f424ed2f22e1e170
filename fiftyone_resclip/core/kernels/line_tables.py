"""The path rule with two small tables instead of an index for every pair of patches."""

from __future__ import annotations

import torch
from torch import Tensor

from fiftyone_resclip.core.path_rule import chebyshev, line_samples


def broken_lines(labels: Tensor) -> Tensor:
    """Finds pairs as :func:`fiftyone_resclip.core.path_rule.broken_lines` does; same argument and result.

    The row of a sample depends only on the rows of start and end, and its column only on their columns. So two small tables are
    enough to look up all pairs. The dimensions ``(B, h, h, w, w)`` are image, start row, end row, start column, end column.
    """
    batch, height, width = labels.shape
    grid_hw, grid = (height, width), labels.to(torch.int16)
    sample_rows, sample_columns = (line_samples(side, max(grid_hw) - 1, labels.device) for side in grid_hw)
    distance = chebyshev(grid_hw, labels.device).view(height, width, height, width).transpose(1, 2)
    broken = torch.zeros(batch, height, height, width, width, dtype=torch.bool, device=labels.device)
    for sample in range(1, max(grid_hw)):
        met = grid[:, :, sample_columns[sample].flatten()][:, sample_rows[sample].flatten()].view_as(broken)
        broken |= (met != grid[:, :, None, :, None]) & (distance >= sample)
    return broken.transpose(2, 3).reshape(batch, height * width, height * width)
