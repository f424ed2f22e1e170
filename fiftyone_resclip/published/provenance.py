"""Where a measured figure comes from: commit, versions, device, threads. Every JSON under ``benchmarks/`` carries it."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

_PACKAGES = ("fiftyone-resclip", "torch", "open_clip_torch", "fiftyone", "numpy", "pillow")
_WRITTEN = [f":(top,exclude){path}" for path in ("benchmarks/results", "README.md", "fiftyone_resclip/tiny/CARD.md")]


def provenance(device: str = "cpu") -> dict[str, Any]:
    """Describes this run; to be asked for at its start, before the checkout may change.

    Args:
        device ("cpu"): where the figures are measured; for a GPU its model is named

    Returns:
        plain JSON values
    """
    return {
        "commit": _commit(),
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else platform.machine(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # a GPU may be measured where FiftyOne is not
        return None


def _commit() -> str:
    """The checkout's commit, with a ``+`` where files differ from it; ``unknown`` outside a checkout of this project.

    What the benchmarks themselves write does not count: the figures, and the README and the card with their tables.
    """
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        _output(*git, "ls-files", "--error-unmatch", Path(__file__).name)
        head = _output(*git, "rev-parse", "--short=12", "HEAD")
        changed = _output(*git, "status", "--porcelain", "--", ":(top)", *_WRITTEN)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("+" if changed else "")


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
