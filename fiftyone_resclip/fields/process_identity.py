"""Tells processes apart, also those of containers with the same host name, and says which of them have ended for certain."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process, as processes elsewhere may know it.

    Attributes:
        host: name of its machine or container
        pid: its number
        space: where that number counts, see :func:`pid_space`
        started: when it started, in clock ticks since the machine did; ``None`` without ``space``. Another process may get the
            same number later
    """

    host: str
    pid: int
    space: str | None
    started: int | None

    @classmethod
    def own(cls) -> Process:
        """Returns the process that calls this."""
        space, pid = pid_space(), os.getpid()
        return cls(socket.gethostname(), pid, space, None if space is None else _state_of(pid)[1])

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    def has_ended(self) -> bool:
        """Returns whether the process has ended for certain. ``False`` if it lives, or if that can't be seen from here."""
        if self.space is None or self.space != pid_space():
            return False
        try:
            os.kill(self.pid, 0)  # a process of another user may be hidden in /proc
            state, started = _state_of(self.pid)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return state in "ZX" or started != self.started


def pid_space() -> str | None:
    """Returns where the process numbers that this process sees count.

    Containers have numbers of their own, often under the host name of their machine, so it is made of the machine's current
    start and the namespaces. ``None`` if the system does not tell, as on macOS and Windows.
    """
    try:
        if str(Path("/proc/self").readlink()) != str(os.getpid()):  # somebody mounted the /proc of another namespace here
            return None
        namespaces = [Path("/proc/self/ns", kind) for kind in ("pid", "time")]  # the second shifts the start times
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return " ".join([boot, *(str(path.readlink()) for path in namespaces if path.is_symlink())])
    except OSError:
        return None


def _state_of(pid: int) -> tuple[str, int]:
    """Returns the state of a process, ``"Z"`` if it ended and its parent has not noticed yet, and its start time."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    values = text.rpartition(")")[2].split()  # the name before may hold spaces and brackets
    return values[0], int(values[19])
