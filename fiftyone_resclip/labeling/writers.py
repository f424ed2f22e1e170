"""Keeps track of the processes that label right now: they report how far they are, and anyone may ask them to stop.

A writer is one call of :func:`fiftyone_resclip.label`. It writes a heartbeat to FiftyOne's database from a thread of its own, so
a killed one is recognised: at once by processes that see its process number, otherwise when its heartbeat is three minutes old.
Time is that of the database, because the clocks of machines differ.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any
from uuid import uuid4

from pymongo.errors import PyMongoError

from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.fields.private import database, dataset_id
from fiftyone_resclip.fields.process_identity import Process

_BEAT_S = 10.0
_DEAD_AFTER_S = 180.0  # longer than label() waits for a database that is away, because no heart beats meanwhile


@dataclass(frozen=True)
class Progress:
    """How far a writer is.

    Attributes:
        done: images that are finished
        total: images in all
        seconds: time since it began
    """

    done: int
    total: int
    seconds: float

    @property
    def share(self) -> float:
        """The finished part, between 0 and 1."""
        return self.done / self.total if self.total else 1.0

    def __str__(self) -> str:
        count = f"{self.done} of {self.total} image{'s' * (self.total != 1)}"
        if not self.done or not self.seconds:
            return count
        rate, left = self.done / self.seconds, self.seconds / self.done * (self.total - self.done)
        told = f"{count}, {rate:.1f} per second" if rate >= 1 else f"{count}, {rate:.2g} per second"
        rest = f"{left:.0f} s" if left < 120 else f"{left / 60:.0f} min"
        return f"{told}, about {rest} left" if left else told


@dataclass(frozen=True)
class Writer:
    """A call of :func:`fiftyone_resclip.label` that is under way.

    Attributes:
        dataset: id of the dataset, as text
        label_field: the field that it writes
        recipe: hash of what decides its masks
        shard: index and number of its part of the samples
        process: its process
        progress: how far it was when it was loaded; not known at first
        id: unique id
    """

    dataset: str
    label_field: str
    recipe: str
    shard: tuple[int, int] = (0, 1)
    process: Process = field(default_factory=Process.own)
    progress: Progress | None = field(default=None, compare=False)
    id: str = field(default_factory=lambda: uuid4().hex)

    def __str__(self) -> str:
        return str(self.process)


class Presence:
    """Keeps a writer's heart beating while its ``with`` block lasts; within it, :meth:`announce` puts the writer on the list.

    Args:
        writer: the writer
    """

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="resclip-heartbeat", daemon=True)

    def announce(self) -> None:
        """Lists the writer; doing so twice does no harm."""
        values = {name: value for name, value in asdict(self.writer).items() if name != "id"}
        beginning = {"$replaceWith": {"$mergeObjects": ["$$ROOT", {"$literal": values}, {"beat": "$$NOW"}]}}
        _collection().update_one({"_id": self.writer.id}, [beginning], upsert=True)

    def __enter__(self) -> Presence:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._left.set()
        self._thread.join()
        with suppress(PyMongoError):  # the heartbeat stops, which says the same
            _collection().delete_one({"_id": self.writer.id})

    def tell(self, progress: Progress) -> bool:
        """Tells the others how far this writer is.

        Returns:
            whether someone asked this writer to stop
        """
        change = {"$set": {"progress": asdict(progress)}}
        before = _collection().find_one_and_update({"_id": self.writer.id}, change)
        return before is not None and before.get("stop", False)

    def refuse_dead(self) -> None:
        """Checks that this writer is still listed.

        Raises:
            DatasetError: if another process took it for dead, as after three minutes of sleep, and may have gone on without it
        """
        if _collection().find_one({"_id": self.writer.id}) is None:
            raise DatasetError(
                f"labelling {self.writer.label_field!r} slept so long that it was taken for dead; label it again to go on"
            )

    def _beat(self) -> None:
        while not self._left.wait(_BEAT_S):
            with suppress(PyMongoError):  # the database is away; label() waits for it, too
                _collection().update_one({"_id": self.writer.id}, [{"$set": {"beat": "$$NOW"}}])


def alive(dataset: Any, label_field: str | None = None) -> list[Writer]:
    """Returns the writers of a dataset that are under way; changes nothing.

    Args:
        dataset: a FiftyOne dataset
        label_field (None): only those of this field
    """
    found = _collection().find({**_of(dataset, label_field), "$expr": {"$not": _is_silent()}})
    return [writer for writer in map(_loaded, found) if not writer.process.has_ended()]


def remaining(dataset: Any, label_field: str) -> list[Writer]:
    """Takes the dead writers of a field off the list, for good, and returns the others.

    Call it before changing what they filled: one that was only asleep then stops when it wakes, see :meth:`Presence.refuse_dead`.

    Args:
        dataset: a FiftyOne dataset
        label_field: the field
    """
    _collection().delete_many({**_of(dataset, label_field), "$expr": _is_silent()})  # unless they wake at this very moment
    found = list(map(_loaded, _collection().find(_of(dataset, label_field))))
    ended = {writer.id for writer in found if writer.process.has_ended()}
    _collection().delete_many({"_id": {"$in": list(ended)}})
    return [writer for writer in found if writer.id not in ended]


def stop_all(dataset: Any, label_field: str | None = None) -> int:
    """Asks every writer of a dataset to stop after its current batch.

    Args:
        dataset: a FiftyOne dataset
        label_field (None): asks only those of this field

    Returns:
        the number of writers that were asked to stop
    """
    ids = [writer.id for writer in alive(dataset, label_field)]
    _collection().update_many({"_id": {"$in": ids}}, {"$set": {"stop": True}})
    return len(ids)


def _of(dataset: Any, label_field: str | None) -> dict[str, Any]:
    return {"dataset": str(dataset_id(dataset)), **({} if label_field is None else {"label_field": label_field})}


def _is_silent() -> dict[str, Any]:
    return {"$lt": ["$beat", {"$subtract": ["$$NOW", int(_DEAD_AFTER_S * 1000)]}]}


def _loaded(document: dict[str, Any]) -> Writer:
    values = {name: document[name] for name in ("dataset", "label_field", "recipe")}
    told = document.get("progress")
    return Writer(
        **values,
        shard=tuple(document["shard"]),
        process=Process(**document["process"]),
        progress=told and Progress(**told),
        id=document["_id"],
    )


def _collection() -> Any:
    return database()["fiftyone_resclip.writers"]
