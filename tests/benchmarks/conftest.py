"""A clock that stands still, so that tests know what a benchmark makes of its times."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import pytest


class Clock:
    """Stands in for torch's clock.

    Attributes:
        now: what it shows, in seconds
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self._monkeypatch = monkeypatch
        monkeypatch.setattr("benchmarks.timing.timer", lambda: self.now)

    def charge(self, owner: Any, name: str, cost: Callable[..., float]) -> list[Any]:
        """Lets a function take the time that ``cost`` says for its arguments; it still does its work.

        Returns:
            the results of its calls, filled as they come
        """
        function, results = getattr(owner, name), list[Any]()

        @wraps(function)
        def wrapper(*arguments: Any, **keywords: Any) -> Any:
            self.now += cost(*arguments, **keywords)
            results.append(function(*arguments, **keywords))
            return results[-1]

        self._monkeypatch.setattr(owner, name, wrapper)
        return results


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Only what a test charges takes any time."""
    return Clock(monkeypatch)
