"""Shares a command among the GPUs of this machine: a process for each, which labels its part."""

from __future__ import annotations

import subprocess
import sys

from fiftyone_resclip.errors import ConfigError, DatasetError


def devices(gpus: str) -> list[str]:
    """Reads the value of ``--gpus``.

    Args:
        gpus: ``"all"`` or a number

    Returns:
        torch's names of the GPUs

    Raises:
        ConfigError: if there are not so many
    """
    import torch

    present = torch.cuda.device_count()
    try:
        count = present if gpus == "all" else int(gpus)
    except ValueError:
        count = 0
    if not 0 < count <= present:
        raise ConfigError(f"--gpus must be 'all' or a number from 1 to the {present} GPUs of this machine, but got {gpus!r}")
    return [f"cuda:{number}" for number in range(count)]


def share(line: list[str], devices: list[str], shard: tuple[int, int]) -> None:
    """Runs a command once for each device, each with its part of the shard, and waits for all of them.

    Args:
        line: the command line
        devices: torch's names of the devices
        shard: the part of the samples to share, its index and the number of parts

    Raises:
        DatasetError: if a process failed
    """
    from fiftyone_resclip.labeling import sharding

    command, processes = _without(line, ("--gpus", "--shard", "--device")), []
    for number, device in enumerate(devices):
        index, count = sharding.within(shard, (number, len(devices)))
        own = ["--shard", f"{index}/{count}", "--device", device]
        processes.append(subprocess.Popen([sys.executable, "-m", "fiftyone_resclip", *command, *own]))
    try:
        failed = [device for device, process in zip(devices, processes, strict=True) if process.wait()]
    finally:
        for process in processes:  # Ctrl-C reached them, too; they save what is computed
            process.wait()
    if failed:
        raise DatasetError(f"labelling failed on {', '.join(failed)}, see above; to go on, run the same command again")


def _without(line: list[str], names: tuple[str, ...]) -> list[str]:
    """Removes options and their values from a command line."""
    kept, skip = [], False
    for argument in line:
        if skip:
            skip = False
        elif argument in names:
            skip = True
        elif not argument.startswith(tuple(f"{name}=" for name in names)):
            kept.append(argument)
    return kept
