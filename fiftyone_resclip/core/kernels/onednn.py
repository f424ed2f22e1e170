"""Linear layers with oneDNN's fused kernel, on a CPU in float32."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional


def linear(tokens: Tensor, weight: Tensor, bias: Tensor | None, *, gelu: bool = False) -> Tensor:
    """Applies a linear layer as :func:`torch.nn.functional.linear` does, with exact GELU in the same pass if ``gelu`` is set.

    It takes 0.49 of torch's time for a layer of ViT-B/16 on one thread, and a whole prediction in the fast mode takes 0.49 of the
    time it takes without (``benchmarks/results/kernels.json``); on some processors torch's is as fast. The kernel is not part of
    torch's public interface; see :func:`works`.
    """
    activation, exactness = ("gelu", "none") if gelu else ("none", "")
    result: Tensor = torch.ops.mkldnn._linear_pointwise(tokens, weight, bias, activation, [], exactness)
    return result


@cache
def works() -> bool:
    """Returns whether this torch version has the kernel and the kernel's results are correct."""
    numbers = torch.linspace(-2, 2, 48)
    tokens, weight, bias = numbers.view(6, 8), numbers[:32].view(4, 8), numbers[:4]
    try:
        fused = linear(tokens, weight, bias, gelu=True)
        return torch.allclose(fused, functional.gelu(functional.linear(tokens, weight, bias)), atol=1e-5)
    except (AttributeError, NotImplementedError, RuntimeError):
        return False
