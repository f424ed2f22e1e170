"""RCS, the first addition of ResCLIP: the attention of earlier blocks, averaged for the last one.

:func:`fiftyone_resclip.core.attention.blend` mixes it in, after the softmax.
"""

from __future__ import annotations

from torch import Tensor

from fiftyone_resclip.config import RCS


def residual_map(mean_attention: Tensor | None, rcs: RCS | None) -> Tensor | None:
    """Returns the attention that RCS mixes into that of the last block.

    Args:
        mean_attention: mean of ``softmax(q k^T / sqrt(d))`` over ``rcs.blocks``, ``(B, heads, N, N)``; the trunk builds it with
            :func:`running_mean` as its blocks run
        rcs: the setting; ``None`` turns RCS off

    Returns:
        ``mean_attention``, class token included; ``None`` if RCS is off

    Source:
        ResCLIP (CVPR 2025), residual cross-correlation self-attention
    """
    return None if rcs is None else mean_attention


def running_mean(mean: Tensor | None, attn: Tensor, n_blocks: int) -> Tensor:
    """Adds the attention of one block to the mean, so that only one attention map is in memory.

    Args:
        mean: the mean so far; ``None`` before the first block; overwritten
        attn: attention of the next block, same shape; overwritten
        n_blocks: number of blocks in the mean

    Returns:
        the new mean so far
    """
    share = 1 / n_blocks
    return attn.mul_(share) if mean is None else mean.add_(attn, alpha=share)
