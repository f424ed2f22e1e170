"""Lets one writer at a time change a dataset's schema, class names and runs, across threads, processes and machines.

FiftyOne keeps these in one document per dataset. Each process has its own copy and writes whole lists back, so two processes that
add fields at the same time would each remove the other's.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fiftyone_resclip.fields.leases import held
from fiftyone_resclip.fields.private import dataset_id, refresh

_mine = threading.local()


@contextmanager
def exclusive(dataset: Any) -> Iterator[None]:
    """Holds a dataset's lock, with the dataset's document as it is stored; saves the dataset at the end.

    A thread that holds the lock may enter again.

    Args:
        dataset: a FiftyOne dataset; its own unsaved changes are saved first

    Raises:
        DatasetError: if the dataset was deleted, or another process holds the lock for two minutes
    """
    mine: set[Any] = _mine.__dict__.setdefault("ids", set())
    key = dataset_id(dataset)
    if key in mine:
        yield
        return
    with held(f"dataset/{key}", f"dataset {dataset.name!r}"):
        mine.add(key)
        try:
            refresh(dataset)
            yield
            dataset.save()
        finally:
            mine.remove(key)
