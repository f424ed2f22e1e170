"""Measures how long a piece of work takes, with torch's own clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.utils.benchmark import timer


def seconds(work: Callable[[], Any]) -> float:
    """Times a piece of work, which is called once.

    The clock waits for a GPU, if there is one, before it is read.
    """
    started = timer()
    work()
    return timer() - started
