"""Splits the samples of a collection into parts that processes can label independently, on one machine or several."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping

from fiftyone_resclip.errors import ConfigError

#: Index, from 0, and number of parts.
Shard = tuple[int, int]


def checked(shard: Shard | None) -> Shard:
    """Returns a shard; ``None`` is the whole.

    Raises:
        ConfigError: if it is not an index below a number of parts
    """
    if shard is None:
        return 0, 1
    try:
        index, count = (int(part) for part in shard)
    except (TypeError, ValueError):
        index, count = 0, 0
    if not 0 <= index < count:
        raise ConfigError(f"shard must be an index from 0 and the number of parts, such as (0, 4) to (3, 4), but got {shard!r}")
    return index, count


def parse(text: str, environment: Mapping[str, str] = os.environ) -> Shard:
    """Reads a shard from text.

    Args:
        text: such as ``"0/4"``; ``"auto"`` asks the launcher: torchrun, or SLURM with an array of jobs, several tasks, or both
        environment (os.environ): the variables that launchers set

    Returns:
        the shard

    Raises:
        ConfigError: if the text is not a shard, or no launcher is found
    """
    if text != "auto":
        index, slash, count = text.partition("/")
        if not (slash and index.isdecimal() and count.isdecimal()):
            raise ConfigError(
                f"shard must be an index from 0 and the number of parts, such as 0/4 to 3/4, or 'auto', but got {text!r}"
            )
        return checked((int(index), int(count)))
    if "RANK" in environment and "WORLD_SIZE" in environment:
        return checked((int(environment["RANK"]), int(environment["WORLD_SIZE"])))
    number = {name: int(value) for name, value in environment.items() if name.startswith("SLURM_") and value.isdigit()}
    if "SLURM_ARRAY_TASK_ID" not in number and "SLURM_PROCID" not in number:
        raise ConfigError("shard 'auto' needs a launcher, but neither torchrun nor SLURM started this process; give it as 0/4")
    job = number.get("SLURM_ARRAY_TASK_ID", 0) - number.get("SLURM_ARRAY_TASK_MIN", 0)
    return within((job, number.get("SLURM_ARRAY_TASK_COUNT", 1)), (number.get("SLURM_PROCID", 0), number.get("SLURM_NTASKS", 1)))


def within(outer: Shard, inner: Shard) -> Shard:
    """Returns the shard that is part ``inner`` of the shard ``outer``."""
    return checked((outer[0] * inner[1] + inner[0], outer[1] * inner[1]))


def is_in(shard: Shard, sample_id: str) -> bool:
    """Returns whether a sample belongs to a shard. This depends on its id alone, so it is the same in every process."""
    return int.from_bytes(hashlib.blake2b(sample_id.encode(), digest_size=8).digest(), "big") % shard[1] == shard[0]
