"""Splits the samples of a collection into parts that processes can label independently, on one machine or several."""

from __future__ import annotations

import hashlib

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


def is_in(shard: Shard, sample_id: str) -> bool:
    """Returns whether a sample belongs to a shard. This depends on its id alone, so it is the same in every process."""
    return int.from_bytes(hashlib.blake2b(sample_id.encode(), digest_size=8).digest(), "big") % shard[1] == shard[0]
