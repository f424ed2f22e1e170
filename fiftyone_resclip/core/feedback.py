"""SFR's feedback matrix: patch labels of the draft, path rule, decay, blur.

Everything is per image: a batch of n gives what n single images give.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from fiftyone_resclip.config import SFR
from fiftyone_resclip.core import pamr
from fiftyone_resclip.core.attention import patch_offsets
from fiftyone_resclip.core.labels import RunningLikeliest
from fiftyone_resclip.core.windows import upsample


def feedback_map(draft: Tensor, pixels: Tensor, patch_px: int, sfr: SFR, logit_scale: float) -> Tensor:
    """Turns the first segmentation into a matrix that is large where two patches belong together.

    Args:
        draft: cosines of the first pass, ``(B, Q, h, w)``
        pixels: the normalised image, ``(B, 3, H, W)``
        patch_px: side of a patch in pixels
        sfr: the settings
        logit_scale: factor before the softmax over phrases

    Returns:
        ``(B, N, N)`` in the dtype of ``draft``, in [0, 1], maximum 1 per image; row and column of the class token are 0

    Differs:
        the release divides by the maximum over the batch and rounds to float16; here per image, in full precision
    """
    at_once = draft.shape[0] if draft.device.type == "cuda" else 1  # a processor's cache holds one image
    parts = zip(draft.split(at_once), pixels.split(at_once), strict=True)
    return torch.cat([_feedback_map(*part, patch_px, sfr, logit_scale) for part in parts])


def _feedback_map(draft: Tensor, pixels: Tensor, patch_px: int, sfr: SFR, logit_scale: float) -> Tensor:
    """:func:`feedback_map` at one go."""
    labels = patch_labels(draft, pixels, patch_px, sfr, logit_scale)
    matrix = blurred_rows(agreement(labels, path_rule=sfr.path_rule), sfr.sigma)
    matrix = matrix / matrix.amax(dim=(1, 2), keepdim=True)
    return functional.pad(matrix, (1, 0, 1, 0)).to(draft.dtype)


def patch_labels(draft: Tensor, pixels: Tensor, patch_px: int, sfr: SFR, logit_scale: float) -> Tensor:
    """Gives each patch the label of most of its pixels in the refined draft.

    Args:
        draft: cosines of the first pass, ``(B, Q, h, w)``
        pixels: the normalised image, ``(B, 3, H, W)``
        patch_px: side of a patch in pixels
        sfr: the settings; pixels less certain than ``sfr.threshold`` count as phrase 0
        logit_scale: factor before the softmax over phrases

    Returns:
        phrase index per patch, ``(B, h, w)`` int64; a tie goes to the smaller index
    """
    refined = pamr.Refinement(pixels, sfr.pamr.steps, sfr.pamr.dilations) if sfr.pamr else Tensor.float
    best = RunningLikeliest((pixels.shape[0], *pixels.shape[2:]), draft.device)
    for phrases in (draft * logit_scale).split(pamr.CHANNELS_AT_ONCE, dim=1):
        scores = upsample(phrases.contiguous(memory_format=torch.channels_last), (pixels.shape[2], pixels.shape[3]))
        best.add(refined(scores).permute(0, 2, 3, 1))
    labels = best.phrase.masked_fill(best.confidence < sfr.threshold, 0)
    return most_frequent(labels, patch_px, draft.shape[1])


def most_frequent(labels: Tensor, patch_px: int, n_labels: int) -> Tensor:
    """Gives each patch its most frequent label; a tie goes to the smaller label, remainder pixels are left out.

    Args:
        labels: ``(B, H, W)`` int64 in ``[0, n_labels)``
        patch_px: side of a patch in pixels
        n_labels: number of labels

    Returns:
        ``(B, H // patch_px, W // patch_px)`` int64
    """
    batch, rows, columns = labels.shape[0], labels.shape[1] // patch_px, labels.shape[2] // patch_px
    patches = labels[:, : rows * patch_px, : columns * patch_px].unflatten(2, (columns, patch_px)).unflatten(1, (rows, patch_px))
    patches = patches.transpose(2, 3).flatten(3)
    counts = torch.zeros(batch, rows, columns, n_labels, dtype=torch.int32, device=labels.device)
    counts.scatter_add_(3, patches, torch.ones_like(patches, dtype=torch.int32))
    return counts.argmax(dim=3)


def agreement(labels: Tensor, *, path_rule: bool) -> Tensor:
    """Says which patches agree: 1 where labels are equal, less where the line between two such patches leaves their label.

    Args:
        labels: ``(B, h, w)`` int64
        path_rule: whether lines are looked at; a broken one is weakened by ``exp(-distance / longest distance)``

    Returns:
        ``(B, P, P)`` float32 in [0, 1], diagonal 1; not symmetric with the path rule, see :func:`_broken_lines`
    """
    grid_hw = (labels.shape[1], labels.shape[2])
    flat = labels.flatten(1)
    same = flat[:, :, None] == flat[:, None, :]
    if not path_rule or max(grid_hw) == 1:
        return same.float()
    decay = torch.exp(-_chebyshev(grid_hw, labels.device).float() / (max(grid_hw) - 1))
    return torch.where(_broken_lines(labels, same), decay, same.float())


def blurred_rows(matrix: Tensor, sigma: float) -> Tensor:
    """Blurs each row along the flattened patch index and lets it sum to one. The blur runs across the ends of patch rows.

    Args:
        matrix: ``(B, P, P)``, not negative
        sigma: in patches

    Returns:
        ``(B, P, P)``
    """
    patches = matrix.shape[-1]
    taps = min(int(6 * sigma + 1), patches)
    taps += 1 - taps % 2
    offsets = torch.arange(taps, dtype=matrix.dtype, device=matrix.device) - taps // 2
    kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
    blurred = functional.conv1d(matrix.reshape(-1, 1, patches), (kernel / kernel.sum()).view(1, 1, -1), padding=taps // 2)
    blurred = blurred.view_as(matrix)
    return blurred / (blurred.sum(dim=-1, keepdim=True) + 1e-8)


def _broken_lines(labels: Tensor, same: Tensor) -> Tensor:
    """Finds the agreeing pairs whose line meets another label, ``(B, P, P)`` bool.

    ``M + 1`` samples lie on every line, ``M`` the longest Chebyshev distance of the grid, but a pair at distance ``s`` is
    checked at samples ``0 ... s`` only: over the first part ``s / M`` of its line. That is the method as it was measured.

    A sample's row depends on the rows of start and end alone, its column on their columns, so all pairs are looked up with
    two small tables: ``(B, h, h, w, w)`` stands for image, start row, end row, start column, end column.
    """
    batch, height, width = labels.shape
    grid_hw, grid = (height, width), labels.to(torch.int16)
    sample_rows, sample_columns = (_line_samples(side, max(grid_hw) - 1, labels.device) for side in grid_hw)
    distance = _chebyshev(grid_hw, labels.device).view(height, width, height, width).transpose(1, 2)
    broken = torch.zeros(batch, height, height, width, width, dtype=torch.bool, device=labels.device)
    for sample in range(1, max(grid_hw)):
        met = grid[:, :, sample_columns[sample].flatten()][:, sample_rows[sample].flatten()].view_as(broken)
        broken |= (met != grid[:, :, None, :, None]) & (distance >= sample)
    return broken.transpose(2, 3).reshape_as(same) & same


@lru_cache(maxsize=8)
def _line_samples(side: int, last: int, device: torch.device) -> Tensor:
    """One coordinate of the samples on every line: ``(last + 1, side, side)`` int64 for sample, start and end.

    The positions ``t`` are float32 as ``torch.linspace`` makes them, from 0 upwards and from 1 downwards; on grids whose longer
    side is odd, samples fall on exact halves and this rounding decides.
    """
    step = torch.tensor(1 / last, dtype=torch.float32).double()
    index = torch.arange(last + 1, dtype=torch.float64)
    t = torch.where(index < (last + 1) // 2, index * step, 1 - (last - index) * step).float()[:, None, None]
    place = torch.arange(side, dtype=torch.float32)
    return (place[:, None] * (1 - t) + place[None, :] * t).round().long().to(device)


@lru_cache(maxsize=8)
def _chebyshev(grid_hw: tuple[int, int], device: torch.device) -> Tensor:
    rows, columns = patch_offsets(grid_hw, device)
    return torch.maximum(rows.abs(), columns.abs()).to(torch.int16)
