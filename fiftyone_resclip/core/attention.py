"""Attention of the last block: score strategies, the locality bias, and the one blend that RCS and SFR share."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from fiftyone_resclip.config import RCS, SFR, Strategy


def blend(values: Tensor, target: Tensor, gain: float, mix: float) -> Tensor:
    """Moves ``values`` towards ``target`` and scales: ``gain * ((1 - mix) * values + mix * target)``.

    SFR applies it to scores, before the softmax; RCS to attention, after it. Both are linear, so :func:`attend` may do it where
    less is to be computed.

    Args:
        values: any shape
        target: broadcastable to ``values``
        gain: ``tau`` of the paper
        mix: ``lambda`` of the paper, in [0, 1]

    Returns:
        the blend, shape of ``values``

    Source:
        ResCLIP (CVPR 2025), equations of RCS and SFR
    """
    return gain * ((1 - mix) * values + mix * target)


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
    """Gathers values by the last block's attention under a strategy, with the additions of ResCLIP.

    The attention itself never exists: SFR's blend goes into the fused kernel's scale and mask, and RCS blends what was gathered.

    Args:
        q: queries, ``(B, heads, N, d)``
        k: keys, ``(B, heads, N, d)``
        v: values, ``(B, heads, N, d)``; the identity ``(B, heads, N, N)`` gives the attention
        strategy: which projections score each other
        bias (None): locality bias, ``(N, N)``, added after SFR and untouched by its gain
        rcs (None): the setting and the mean attention of earlier blocks, ``(B, heads, N, N)``
        sfr (None): the setting and the feedback matrix, ``(B, N, N)``

    Returns:
        gathered values, ``(B, heads, N, d)``; the weights of a row sum to the strategy's number of pairs, and with RCS (for one
        pair) to ``rcs.gain``
    """
    sides = {"q": q, "k": k}
    scale, mask = q.shape[-1] ** -0.5, bias
    if sfr is not None:
        setting, feedback = sfr
        scale *= setting.gain * (1 - setting.mix)
        target = (setting.gain * setting.mix) * feedback[:, None].to(q.dtype)
        mask = target if bias is None else target.add_(bias)
    parts = [
        functional.scaled_dot_product_attention(sides[left], sides[right], v, attn_mask=mask, scale=scale)
        for left, right in strategy.pairs
    ]
    gathered: Tensor = sum(parts[1:], start=parts[0])
    if rcs is not None:
        gathered = blend(gathered, rcs[1] @ v, rcs[0].gain, rcs[0].mix)
    return gathered


def attention(q: Tensor, k: Tensor) -> Tensor:
    """Gives CLIP's own attention, ``(B, heads, N, N)``, which the fused kernel would not show.

    Args:
        q: queries, ``(B, heads, N, d)``
        k: keys, ``(B, heads, N, d)``

    Returns:
        attention; rows sum to 1
    """
    scores: Tensor = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    return scores.softmax(dim=-1)


@lru_cache(maxsize=16)
def locality_bias(grid_hw: tuple[int, int], sigma: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Gives the bias towards near patches: ``exp(-distance^2 / (2 sigma^2))``.

    Args:
        grid_hw: patches down and across
        sigma: width in patches, > 0
        dtype: of the result
        device: of the result

    Returns:
        ``(N, N)`` with ``N = 1 + h * w``; row and column of the class token are 0. The tensor is shared: don't write to it

    Source:
        NACLIP (Hajimiri et al., WACV 2025, MIT)
    """
    rows, columns = patch_offsets(grid_hw, device)
    squared = rows**2 + columns**2
    bias = torch.zeros(1 + squared.shape[0], 1 + squared.shape[0], dtype=dtype, device=device)
    bias[1:, 1:] = torch.exp(-squared.float() / (2 * sigma**2))
    return bias


def patch_offsets(grid_hw: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Gives the signed row and column distance of every pair of patches.

    Args:
        grid_hw: patches down and across
        device: of the result

    Returns:
        two ``(P, P)`` int64 tensors, rows then columns
    """
    rows = torch.arange(grid_hw[0], device=device).repeat_interleave(grid_hw[1])
    columns = torch.arange(grid_hw[1], device=device).repeat(grid_hw[0])
    return rows[:, None] - rows[None], columns[:, None] - columns[None]
