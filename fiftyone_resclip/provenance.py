"""Where a measured figure comes from: commit, versions, device, threads. Every JSON under ``benchmarks/`` carries it."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

_PACKAGES = ("fiftyone-resclip", "torch", "open_clip_torch", "fiftyone", "numpy", "pillow")


def provenance(device: str = "cpu") -> dict[str, Any]:
    """Describes this run.

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
    """The checkout's commit, with a ``+`` where files differ from it; ``unknown`` outside a checkout of this project."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        subprocess.run([*git, "ls-files", "--error-unmatch", Path(__file__).name], check=True, capture_output=True)
        head = subprocess.run(
            [*git, "rev-parse", "--short=12", "HEAD"], check=True, capture_output=True, text=True
        ).stdout.strip()
        changed = subprocess.run([*git, "status", "--porcelain"], check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("+" if changed else "")
