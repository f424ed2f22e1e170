"""Keeps track of the processes that label right now: they report that they are alive, and anyone may ask them to stop.

A writer is one call of :func:`fiftyone_resclip.label`. It writes a heartbeat to FiftyOne's database from a thread of its own, so
a killed one is recognised: at once on the same machine, otherwise when its heartbeat is two minutes old.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta, timezone
from types import TracebackType
from typing import Any
from uuid import uuid4

from pymongo.errors import PyMongoError

from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.fields.private import database, dataset_id

_BEAT_S = 10.0
_DEAD_AFTER_S = 120.0


@dataclass(frozen=True)
class Writer:
    """A call of :func:`fiftyone_resclip.label` that is under way.

    Attributes:
        dataset: id of the dataset, as text
        label_field: the field that it writes
        recipe: hash of what decides its masks
        shard: index and number of its part of the samples
        host: name of its machine
        pid: its process
        id: unique id
    """

    dataset: str
    label_field: str
    recipe: str
    shard: tuple[int, int] = (0, 1)
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    id: str = field(default_factory=lambda: uuid4().hex)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class Presence:
    """Keeps a writer listed while its ``with`` block lasts; call :meth:`announce` before.

    Args:
        writer: the writer
    """

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="resclip-heartbeat", daemon=True)

    def announce(self) -> None:
        """Lists the writer; the ``with`` block keeps it listed."""
        values = {name: value for name, value in asdict(self.writer).items() if name != "id"}
        _collection().insert_one({"_id": self.writer.id, **values, "beat": _now()})

    def __enter__(self) -> Presence:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._left.set()
        self._thread.join()
        with suppress(PyMongoError):  # the heartbeat stops, which says the same
            _collection().delete_one({"_id": self.writer.id})

    @property
    def stopped(self) -> bool:
        """Whether someone asked this writer to stop."""
        return _collection().find_one({"_id": self.writer.id, "stop": True}) is not None

    def refuse_dead(self) -> None:
        """Checks that this writer is still listed.

        Raises:
            DatasetError: if another process took it for dead, as after two minutes of sleep, and may have gone on without it
        """
        if _collection().find_one({"_id": self.writer.id}) is None:
            raise DatasetError(
                f"labelling {self.writer.label_field!r} slept so long that it was taken for dead; label it again to go on"
            )

    def _beat(self) -> None:
        while not self._left.wait(_BEAT_S):
            try:
                _collection().update_one({"_id": self.writer.id}, {"$set": {"beat": _now()}})
            except PyMongoError:
                continue  # the database is away; label() waits for it, too


def alive(dataset: Any, label_field: str | None = None) -> list[Writer]:
    """Returns the writers of a dataset that are under way; forgets those that were killed.

    Args:
        dataset: a FiftyOne dataset
        label_field (None): only those of this field
    """
    found = _collection().find(
        {"dataset": str(dataset_id(dataset)), **({} if label_field is None else {"label_field": label_field})}
    )
    writers = []
    for document in found:
        writer = Writer(**{name: document[name] for name in Writer.__dataclass_fields__ if name != "id"}, id=document["_id"])
        if _is_alive(writer, document["beat"]):
            writers.append(writer)
        else:
            _collection().delete_one({"_id": writer.id})
    return writers


def stop_all(dataset: Any) -> int:
    """Asks every writer of a dataset to stop after its current batch.

    Args:
        dataset: a FiftyOne dataset

    Returns:
        the number of writers that were asked to stop
    """
    ids = [writer.id for writer in alive(dataset)]
    _collection().update_many({"_id": {"$in": ids}}, {"$set": {"stop": True}})
    return len(ids)


def _is_alive(writer: Writer, beat: datetime) -> bool:
    if _now() - beat.replace(tzinfo=timezone.utc) > timedelta(seconds=_DEAD_AFTER_S):
        return False
    if writer.host != socket.gethostname():
        return True
    try:
        os.kill(writer.pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # the process belongs to another user
        return True
    return True


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _collection() -> Any:
    return database()["fiftyone_resclip.writers"]
