"""Measures how much memory this process holds.

The peak comes from Linux's ``/proc``, because psutil neither reports a peak nor can reset it (``/proc/self/clear_refs``);
``ru_maxrss`` would include the parent process.
"""

from __future__ import annotations

from pathlib import Path

import psutil

_PROCESS = Path("/proc/self")


def resident_mib() -> float:
    """Returns the memory held now."""
    return float(psutil.Process().memory_info().rss) / 2**20


def peak_mib() -> float:
    """Returns the most memory held since :func:`reset_peak`."""
    lines = (_PROCESS / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def reset_peak() -> None:
    """Resets the peak to the memory held now."""
    (_PROCESS / "clear_refs").write_text("5")
