"""Lets one writer at a time change a dataset's schema, class names and runs, across threads, processes and machines.

FiftyOne keeps these in one document per dataset. Each process has its own copy and writes whole lists back, so two processes that
add fields at the same time would each remove the other's.

A process that pauses within the lock for so long that another one takes it can't know this when it wakes. Therefore each holder
leaves a mark in the document, and the database accepts no change of FiftyOne's without the mark of its process.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fiftyone_resclip.fields.leases import held
from fiftyone_resclip.fields.private import dataset_id, discard_changes, fenced, refresh

_mine = threading.local()


@contextmanager
def exclusive(dataset: Any) -> Iterator[None]:
    """Holds a dataset's lock, with the dataset's document as it is stored; saves the dataset at the end.

    If the block raises an exception, what it has not saved is forgotten. A thread that holds the lock may enter again.

    Args:
        dataset: a FiftyOne dataset; its own unsaved changes are saved first

    Raises:
        DatasetError: if the dataset was deleted, another process holds the lock for two minutes, or this process paused for so
            long that another one took the lock; then nothing is saved
    """
    mine: set[Any] = _mine.__dict__.setdefault("ids", set())
    key = dataset_id(dataset)
    if key in mine:
        yield
        return
    with held(f"dataset/{key}", f"dataset {dataset.name!r}") as check, fenced(dataset, check):
        refresh(dataset)
        mine.add(key)
        try:
            yield
            dataset.save()
        except BaseException:
            discard_changes(dataset)
            raise
        finally:
            mine.remove(key)
