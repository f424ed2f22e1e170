"""Writes and reads the record of a pass, a plain mapping that a run stores."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timezone
from typing import Any, Literal
from uuid import uuid4

#: Plain JSON values; see :func:`new` for their names.
Record = Mapping[str, Any]
Ending = Literal["done", "stopped"]

_FAILURES_KEPT = 1000


def new(previous: Record | None, **about: Any) -> Record:
    """Returns the record of a pass that begins.

    Args:
        previous: the record of the run's last pass; ``None`` if this is the first
        **about: what the pass does: ``samples`` (a hash of their ids), ``view`` (in words), ``stages`` (of the view,
            to label it again; ``None`` if they are too long), ``images`` (their number), ``overwrite``,
            ``shards`` (their number), ``folder`` for mask files
    """
    return {
        **about,
        "id": uuid4().hex,
        "number": 1 if previous is None else previous["number"] + 1,
        "begun": [],
        "done": [],
        "stopped": [],
        "labelled": 0,
        "failed": 0,
        "failures": {},
        "started": _now(),
        "ended": None,
    }


def begun(record: Record, shard: int) -> Record:
    """Returns the record after a shard began."""
    stopped = [known for known in record["stopped"] if known != shard]
    return {**record, "begun": sorted({*record["begun"], shard}), "stopped": stopped}


def voided(record: Record) -> Record:
    """Returns the record of a pass whose masks are being removed: no process may take it for finished, or go on with it."""
    return {**record, "samples": None, "done": [], "stopped": [], "labelled": 0}


def ended(
    record: Record, shard: int, ending: Ending, labelled: int, failures: Mapping[str, str], mended: Collection[str]
) -> Record:
    """Returns the record after a shard ended.

    Args:
        record: the record
        shard: index of the shard
        ending: how it ended
        labelled: number of images of all shards that have a mask now
        failures: reason by file, for images of the shard that got no mask
        mended: files of images that have a mask now
    """
    earlier = {path: reason for path, reason in record["failures"].items() if path not in mended}
    known, stopped = {**earlier, **failures}, [other for other in record["stopped"] if other != shard]
    return {
        **record,
        "stopped": stopped,
        ending: sorted({*(record["done"] if ending == "done" else stopped), shard}),
        "ended": _now(),
        "labelled": labelled,
        "failed": len(known),
        "failures": dict(list(known.items())[:_FAILURES_KEPT]),
    }


def is_finished(record: Record) -> bool:
    """Returns whether all shards are done."""
    return len(record["done"]) == int(record["shards"])


def is_killed(record: Record) -> bool:
    """Returns whether a shard began and did not end."""
    return bool(set(record["begun"]) - {*record["done"], *record["stopped"]})


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
