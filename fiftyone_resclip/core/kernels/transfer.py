"""Tensors on their way to another device."""

from __future__ import annotations

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
