"""Takes the keys of a review in the order in which they were typed, and each once, however often it arrives."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any, NamedTuple

from cachetools import LRUCache

from fiftyone_resclip.explore import review

#: The action that undoes the last step; all others are verdicts.
UNDO = "undo"


class Key(NamedTuple):
    """A key that a reviewer typed.

    Attributes:
        number: counts the keys of a session, from 1
        field: the masks under review
        action: a verdict, or :data:`UNDO`
        samples: the ids of the samples that the key was meant for; undo needs none
    """

    number: int
    field: str
    action: str
    samples: Sequence[str] = ()


_SESSIONS_KEPT = 1000
_last_numbers: LRUCache[str, int] = LRUCache(_SESSIONS_KEPT)
_TURN = Lock()


def take(dataset: Any, session: str, keys: Sequence[Key]) -> list[str | None]:
    """Does what the keys of a session ask for, except those that were taken before.

    Args:
        dataset: a FiftyOne dataset
        session: a name that a reviewer's browser made up
        keys: in any order

    Returns:
        for each undo what was undone, or ``None`` if there was nothing to undo

    Raises:
        ConfigError: if a verdict is unknown
        DatasetError: if a field or an id can't be used; the keys before that one are taken
    """
    undone = []
    with _TURN:
        for key in sorted(keys):
            if key.number <= _last_numbers.get(session, 0):
                continue
            if key.action == UNDO:
                undone.append(review.undo(dataset, key.field))
            else:
                review.mark(dataset, key.field, key.samples, key.action)  # type: ignore[arg-type]  # checked there
            _last_numbers[session] = key.number
    return undone
