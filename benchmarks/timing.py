"""How long a piece of work takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch


def seconds(work: Callable[[], Any], device: str = "cpu") -> float:
    """Times a piece of work.

    Args:
        work: is called once
        device ("cpu"): where it runs; a GPU is waited for, before and after

    Returns:
        seconds
    """
    if device == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started
