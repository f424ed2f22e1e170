"""Copies tensors to another device."""

from __future__ import annotations

import torch
from torch import Tensor


def sent(values: Tensor, device: torch.device) -> Tensor:
    """Copies a tensor to a device. The call does not wait for a GPU: the copy is queued there, which needs pinned memory.

    Args:
        values: a tensor of any shape
        device: the target device

    Returns:
        the same values on ``device``
    """
    if device.type == "cuda" and values.device.type == "cpu":
        values = values.pin_memory()
    return values.to(device, non_blocking=True)
