from __future__ import annotations

import pytest
from torch.utils.benchmark import timer

from benchmarks import timing
from tests.benchmarks.conftest import Clock


def test_work_is_called_once_between_two_looks_at_the_clock(clock: Clock) -> None:
    clock.now = 5.0
    calls: list[None] = []

    def work() -> None:
        calls.append(None)
        clock.now += 3.0

    assert timing.seconds(work) == 3.0
    assert len(calls) == 1


def test_the_clock_waits_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[None] = []
    monkeypatch.setattr("torch.accelerator.is_available", lambda: True)
    monkeypatch.setattr("torch.accelerator.synchronize", lambda: waited.append(None))
    assert timing.timer is timer
    timing.seconds(lambda: waited.clear())
    assert len(waited) == 1, "once more after the work"
