"""Records how a number was measured: commit, versions, device and threads. Every JSON under ``benchmarks/`` has these entries."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

_PACKAGES = ("fiftyone-resclip", "torch", "open_clip_torch", "fiftyone", "numpy", "pillow")
_WRITTEN = [
    f":(top,exclude){path}"
    for path in ("benchmarks/results", "README.md", "docs/EVIDENCE.md", "docs/GUIDE.md", "fiftyone_resclip/tiny/CARD.md")
]


def provenance(device: str = "cpu") -> dict[str, Any]:
    """Describes this run. Call it at the start, before the checkout may change.

    Args:
        device ("cpu"): where the numbers are measured; for a GPU, the result has its model name

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
    except PackageNotFoundError:  # a machine with a GPU may not have FiftyOne
        return None


def _commit() -> str:
    """Returns the checkout's commit, with a ``+`` if files differ from it; ``unknown`` outside a checkout of this project.

    Files that the benchmarks themselves write are ignored: the results, and the documents and the card with their tables.
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
