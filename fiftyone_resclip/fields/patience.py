"""Waits for FiftyOne's database when it goes away, as when it restarts or the network breaks."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from pymongo.errors import ConnectionFailure

from fiftyone_resclip.errors import DatabaseError

logger = logging.getLogger(__name__)

_WAIT_S = 120.0
_T = TypeVar("_T")


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
    deadline, is_waiting = time.monotonic() + wait_s, False
    while True:
        try:
            return action()
        except ConnectionFailure as error:
            if time.monotonic() > deadline:
                raise DatabaseError(
                    f"FiftyOne's database has not answered for {wait_s:.0f} s; start it again, and then repeat the call to go on"
                ) from error
            if not is_waiting:
                logger.warning("FiftyOne's database does not answer; waiting for it")
            is_waiting = True
            time.sleep(1)
