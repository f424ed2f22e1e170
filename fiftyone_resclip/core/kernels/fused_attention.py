"""Computes the last block's attention without building its attention matrix."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from fiftyone_resclip.config import RCS, SFR, Strategy
from fiftyone_resclip.core.attention import blend


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
    """Gathers values as :func:`fiftyone_resclip.core.attention.attend` does; same arguments and result.

    The blend of SFR becomes the scale and mask of torch's fused kernel, and the blend of RCS is applied to the gathered values.
    Both blends are linear, so this gives the same result without building the last block's attention matrix.
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
    return gathered if rcs is None else blend(gathered, rcs[1] @ v, rcs[0].gain, rcs[0].mix)
