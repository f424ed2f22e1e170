"""How much memory this process holds, from Linux' own books.

The peak is reset before a measurement (``/proc/self/clear_refs``); ``ru_maxrss`` would be that of the parent process too.
"""

from __future__ import annotations

from pathlib import Path

_PROCESS = Path("/proc/self")


def resident_mib() -> float:
    """Memory that is held now."""
    return _status("VmRSS")


def peak_mib() -> float:
    """The most memory held since :func:`reset_peak`."""
    return _status("VmHWM")


def reset_peak() -> None:
    """Lets the peak start from what is held now."""
    (_PROCESS / "clear_refs").write_text("5")


def _status(key: str) -> float:
    lines = (_PROCESS / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:")) / 1024
