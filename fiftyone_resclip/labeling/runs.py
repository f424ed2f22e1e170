"""Lets users stop labelling runs, which run in the App's server or, if delegated, in another process."""

from __future__ import annotations

from types import TracebackType
from typing import Any
from uuid import uuid4

from fiftyone.operators.store import ExecutionStore

from fiftyone_resclip.fields.private import dataset_id

_STORE = "fiftyone-resclip.runs"
_RUNNING, _STOP = "running", "stop"
_FORGOTTEN_AFTER_S = 7 * 24 * 3600  # a killed run can't remove itself from the list


class Run:
    """A run on a dataset, listed while its ``with`` block lasts.

    Args:
        dataset: a FiftyOne dataset
    """

    def __init__(self, dataset: Any) -> None:
        self._store, self._key = _store(dataset), uuid4().hex

    def __enter__(self) -> Run:
        self._store.set(self._key, _RUNNING, ttl=_FORGOTTEN_AFTER_S)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._store.delete(self._key)

    @property
    def stopped(self) -> bool:
        """Whether someone asked this run to stop."""
        return bool(self._store.get(self._key) == _STOP)


def stop_all(dataset: Any) -> int:
    """Asks every run on a dataset to stop after its current batch.

    Args:
        dataset: a FiftyOne dataset

    Returns:
        the number of runs that were asked to stop
    """
    store = _store(dataset)
    keys = store.list_keys()
    for key in keys:
        store.set(key, _STOP, ttl=_FORGOTTEN_AFTER_S)
    return len(keys)


def _store(dataset: Any) -> ExecutionStore:
    return ExecutionStore.create(_STORE, dataset_id(dataset))
