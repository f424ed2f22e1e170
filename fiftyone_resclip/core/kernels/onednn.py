"""Linear layers by the fastest kernel at hand: on a CPU oneDNN's, a tenth faster than torch's own choice on some processors."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional


def linear(tokens: Tensor, weight: Tensor, bias: Tensor | None, *, gelu: bool = False) -> Tensor:
    """Applies a linear layer, and GELU (exact) if asked for.

    Args:
        tokens: ``(..., in)``
        weight: ``(out, in)``
        bias: ``(out,)``
        gelu (False): whether GELU follows

    Returns:
        ``(..., out)``
    """
    plain_cpu = tokens.device.type == "cpu" and tokens.dtype == weight.dtype == torch.float32
    if plain_cpu and not torch.is_autocast_enabled("cpu") and _fused_kernel_works():
        return _fused(tokens, weight, bias, gelu)
    result = functional.linear(tokens, weight, bias)
    return functional.gelu(result) if gelu else result


def _fused(tokens: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool) -> Tensor:
    activation, exactness = ("gelu", "none") if gelu else ("none", "")
    result: Tensor = torch.ops.mkldnn._linear_pointwise(tokens, weight, bias, activation, [], exactness)
    return result


@cache
def _fused_kernel_works() -> bool:
    """Whether this torch has the kernel, which is not part of its public interface, and it computes what it should."""
    numbers = torch.linspace(-2, 2, 48)
    tokens, weight, bias = numbers.view(6, 8), numbers[:32].view(4, 8), numbers[:4]
    try:
        return torch.allclose(
            _fused(tokens, weight, bias, True), functional.gelu(functional.linear(tokens, weight, bias)), atol=1e-5
        )
    except (AttributeError, NotImplementedError, RuntimeError):
        return False
