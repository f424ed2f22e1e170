"""Lets one writer at a time change a dataset's schema, class names and runs, across threads, processes and machines.

FiftyOne keeps these in one document per dataset. Each process has its own copy and writes whole lists back, so two processes that
add fields at the same time would each remove the other's.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

from pymongo.errors import DuplicateKeyError

from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.fields.private import database, dataset_id, refresh

_LEASE_S = 60.0  # far longer than any change takes; then the holder must have been killed
_WAIT_S = 120.0
_held = threading.local()


@contextmanager
def exclusive(dataset: Any) -> Iterator[None]:
    """Holds a dataset's lock, with the dataset's document as it is stored; saves the dataset at the end.

    A thread that holds the lock may enter again.

    Args:
        dataset: a FiftyOne dataset; its own unsaved changes are saved first

    Raises:
        DatasetError: if the dataset was deleted, or another process holds the lock for two minutes
    """
    held: set[Any] = _held.__dict__.setdefault("ids", set())
    key = dataset_id(dataset)
    if key in held:
        yield
        return
    with _locked(dataset, key):
        held.add(key)
        try:
            refresh(dataset)
            yield
            dataset.save()
        finally:
            held.remove(key)


@contextmanager
def _locked(dataset: Any, key: Any) -> Iterator[None]:
    locks, owner = database()["fiftyone_resclip.locks"], uuid4().hex
    deadline = time.monotonic() + _WAIT_S
    while not _taken(locks, key, owner):
        if time.monotonic() > deadline:
            raise DatasetError(f"another process has been changing dataset {dataset.name!r} for {_WAIT_S:.0f} s; try again later")
        time.sleep(random.uniform(0.01, 0.05))
    try:
        yield
    finally:
        locks.delete_one({"_id": key, "owner": owner})


def _taken(locks: Any, key: Any, owner: str) -> bool:
    """Takes the lock if nobody holds it, or if its holder did not return it in time."""
    now = datetime.now(timezone.utc)
    lock = {"owner": owner, "until": now + timedelta(seconds=_LEASE_S)}
    try:
        locks.update_one({"_id": key, "until": {"$lt": now}}, {"$set": lock}, upsert=True)
    except DuplicateKeyError:
        return False
    return True
