"""The attention of the last block as formulas: strategies, the locality bias, and the blend that RCS and SFR share."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from fiftyone_resclip.config import RCS, SFR, Strategy


def blend(values: Tensor, target: Tensor, gain: float, mix: float) -> Tensor:
    """Moves ``values`` towards ``target`` and scales the result: ``gain * ((1 - mix) * values + mix * target)``.

    SFR blends scores, before the softmax; RCS blends attention, after it.

    Args:
        values: any shape
        target: broadcastable to ``values``
        gain: ``tau`` of the paper
        mix: ``lambda`` of the paper, in [0, 1]

    Returns:
        the blend, in the shape of ``values``

    Source:
        ResCLIP (CVPR 2025), equations of RCS and SFR
    """
    return gain * ((1 - mix) * values + mix * target)


def attention_map(
    q: Tensor,
    k: Tensor,
    strategy: Strategy,
    *,
    bias: Tensor | None = None,
    rcs: tuple[RCS, Tensor] | None = None,
    sfr: tuple[SFR, Tensor] | None = None,
) -> Tensor:
    """Computes the attention of a block under a strategy, with the additions of ResCLIP.

    Args:
        q: queries, ``(B, heads, N, d)``
        k: keys, ``(B, heads, N, d)``
        strategy: which projections are compared
        bias (None): locality bias, ``(N, N)``, added after SFR and not multiplied by its gain
        rcs (None): the setting and the mean attention of earlier blocks, ``(B, heads, N, N)``
        sfr (None): the setting and the feedback matrix, ``(B, N, N)``

    Returns:
        attention, ``(B, heads, N, N)``; rows sum to the strategy's number of pairs, or to ``rcs.gain`` with RCS and one pair
    """
    sides, parts = {"q": q, "k": k}, []
    for left, right in strategy.pairs:
        scores = (sides[left] * q.shape[-1] ** -0.5) @ sides[right].transpose(-2, -1)
        if sfr is not None:
            scores = blend(scores, sfr[1][:, None].to(scores.dtype), sfr[0].gain, sfr[0].mix)
        if bias is not None:
            scores = scores + bias
        parts.append(scores.softmax(dim=-1))
    attn: Tensor = sum(parts[1:], start=parts[0])
    return attn if rcs is None else blend(attn, rcs[1], rcs[0].gain, rcs[0].mix)


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    strategy: Strategy,
    *,
    bias: Tensor | None = None,
    rcs: tuple[RCS, Tensor] | None = None,
    sfr: tuple[SFR, Tensor] | None = None,
) -> Tensor:
    """Gathers values with the attention of :func:`attention_map`.

    Args:
        q: queries, ``(B, heads, N, d)``
        k: keys, ``(B, heads, N, d)``
        v: values, ``(B, heads, N, d)``
        strategy: as for :func:`attention_map`
        bias (None): as for :func:`attention_map`
        rcs (None): as for :func:`attention_map`
        sfr (None): as for :func:`attention_map`

    Returns:
        gathered values, ``(B, heads, N, d)``
    """
    return attention_map(q, k, strategy, bias=bias, rcs=rcs, sfr=sfr) @ v


@lru_cache(maxsize=16)
def locality_bias(grid_hw: tuple[int, int], sigma: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Returns the bias towards nearby patches: ``exp(-distance^2 / (2 sigma^2))``.

    Args:
        grid_hw: patches down and across
        sigma: width in patches, > 0
        dtype: type of the result
        device: device of the result

    Returns:
        ``(N, N)`` with ``N = 1 + h * w``; the row and column of the class token are 0. The tensor is cached: do not write to it

    Source:
        NACLIP (Hajimiri et al., WACV 2025, MIT)
    """
    rows, columns = patch_offsets(grid_hw, device)
    squared = rows**2 + columns**2
    bias = torch.zeros(1 + squared.shape[0], 1 + squared.shape[0], dtype=dtype, device=device)
    bias[1:, 1:] = torch.exp(-squared.float() / (2 * sigma**2))
    return bias


def patch_offsets(grid_hw: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Returns the signed row and column distances between all pairs of patches.

    Args:
        grid_hw: patches down and across
        device: device of the result

    Returns:
        two ``(P, P)`` int64 tensors, rows then columns
    """
    rows = torch.arange(grid_hw[0], device=device).repeat_interleave(grid_hw[1])
    columns = torch.arange(grid_hw[1], device=device).repeat(grid_hw[0])
    return rows[:, None] - rows[None], columns[:, None] - columns[None]
