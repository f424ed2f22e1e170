"""What a GPU needs to be told, and a processor does not mind."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor


def sent(values: Tensor, device: torch.device) -> Tensor:
    """Copies to a device. A GPU is not waited for: the copy takes its turn there, for which the memory must be pinned.

    Args:
        values: of any shape
        device: where to

    Returns:
        the same values there
    """
    if device.type == "cuda" and values.device.type == "cpu":
        values = values.pin_memory()
    return values.to(device, non_blocking=True)


def whole_float32() -> AbstractContextManager[None]:
    """Keeps a GPU from rounding float32 to 10 bits in convolutions, as cuDNN does by default; matrix products never do."""
    cudnn = torch.backends.cudnn
    as_they_are = {"enabled": cudnn.enabled, "benchmark": cudnn.benchmark, "deterministic": cudnn.deterministic}
    return cudnn.flags(**as_they_are, allow_tf32=False)
