"""How much memory this process holds.

The peak comes from Linux' own books, since psutil has neither a peak nor a way to reset one (``/proc/self/clear_refs``);
``ru_maxrss`` would be that of the parent process too.
"""

from __future__ import annotations

from pathlib import Path

import psutil

_PROCESS = Path("/proc/self")


def resident_mib() -> float:
    """Returns the memory that is held now."""
    return float(psutil.Process().memory_info().rss) / 2**20


def peak_mib() -> float:
    """Returns the most memory held since :func:`reset_peak`."""
    lines = (_PROCESS / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def reset_peak() -> None:
    """Lets the peak start from what is held now."""
    (_PROCESS / "clear_refs").write_text("5")
