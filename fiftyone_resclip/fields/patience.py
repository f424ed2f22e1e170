"""Waits for FiftyOne's database when it goes away, as when it restarts or the network breaks."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from pymongo.errors import ConnectionFailure, CursorNotFound

from fiftyone_resclip.errors import DatabaseError

logger = logging.getLogger(__name__)

_WAIT_S = 120.0
_ANSWERED_S = 60.0  # an attempt that fails so late has had answers from the database; pymongo gives up after 30 s without any
_T = TypeVar("_T")
_P = ParamSpec("_P")


def patiently(action: Callable[[], _T], wait_s: float = _WAIT_S) -> _T:
    """Repeats an action until the database answers.

    Args:
        action: reads or writes the database; doing it twice must do no harm
        wait_s (120): how long to wait, in seconds

    Returns:
        what the action returns

    Raises:
        DatabaseError: if the database has not answered for that long
    """
    deadline = None
    while True:
        began = time.monotonic()
        try:
            return action()
        except (ConnectionFailure, CursorNotFound) as error:  # a database that was restarted knows no earlier cursors
            now = time.monotonic()
            if deadline is None:
                logger.warning("FiftyOne's database does not answer; waiting for it")
            if deadline is None or now - began > _ANSWERED_S:
                deadline = now + wait_s
            if now > deadline:
                raise DatabaseError(
                    f"FiftyOne's database has not answered for {wait_s:.0f} s; start it again, and then repeat the call to go on"
                ) from error
            time.sleep(1)


def patient(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Makes a function repeat itself :func:`patiently`; calling it twice must do no harm."""

    @functools.wraps(function)
    def repeated(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        return patiently(lambda: function(*args, **kwargs))

    return repeated
