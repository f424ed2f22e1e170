"""Lets one writer at a time hold something by name, across threads, processes and machines.

A holder renews its lease while it works, so work may take long, and what a killed holder held is free soon. Time is that of the
database, because the clocks of machines differ.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import uuid4

from pymongo.errors import DuplicateKeyError, PyMongoError

from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.fields.private import database

_LEASE_MS = 15_000
_WAIT_S = 120.0
_LONGEST_PAUSE_S = 0.25


@contextmanager
def held(name: str, what: str) -> Iterator[Callable[[], None]]:
    """Holds a lease; waits while somebody else does.

    Args:
        name: what is held, such as ``"dataset/<id>"``
        what: the same for users, such as ``"dataset 'photos'"``

    Yields:
        a function that renews the lease, and raises a :class:`~fiftyone_resclip.errors.DatasetError` if it was lost, as after a
        long pause

    Raises:
        DatasetError: if somebody else holds the lease for two minutes
    """
    owner, deadline, pause = uuid4().hex, time.monotonic() + _WAIT_S, 0.02
    while not _take(name, owner):
        if time.monotonic() > deadline:
            raise DatasetError(f"another process has been changing {what} for {_WAIT_S:.0f} s; try again later")
        time.sleep(random.uniform(pause / 2, pause))
        pause = min(pause * 1.2, _LONGEST_PAUSE_S)  # so that hundreds of processes that wait do not keep the database busy
    released = threading.Event()
    renewing = threading.Thread(target=_renew, args=(name, owner, released), name="resclip-lease", daemon=True)
    renewing.start()

    def check() -> None:
        if not _extend({"_id": name, "owner": owner}, owner):
            raise DatasetError(f"this process paused for so long that another one has changed {what} meanwhile; try again")

    try:
        yield check
    finally:
        released.set()
        renewing.join()
        with suppress(PyMongoError):  # the database is away; the lease ends by itself
            _leases().delete_one({"_id": name, "owner": owner})


def _take(name: str, owner: str) -> bool:
    """Takes a lease if nobody holds it, or if its holder stopped renewing it."""
    with suppress(DuplicateKeyError):
        _leases().insert_one({"_id": name, "owner": owner})
        return _extend({"_id": name, "owner": owner}, owner)
    return _extend({"_id": name, "$expr": {"$lt": ["$until", "$$NOW"]}}, owner)


def _extend(condition: dict[str, Any], owner: str) -> bool:
    lease = {"owner": owner, "until": {"$add": ["$$NOW", _LEASE_MS]}}
    return bool(_leases().update_one(condition, [{"$set": lease}]).matched_count)


def _renew(name: str, owner: str, released: threading.Event) -> None:
    while not released.wait(_LEASE_MS / 5000):
        with suppress(PyMongoError):  # the database is away, which the holder notices, too
            _extend({"_id": name, "owner": owner}, owner)


def _leases() -> Any:
    return database()["fiftyone_resclip.leases"]
