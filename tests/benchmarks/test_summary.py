"""The ratio of both ways of labelling, however fast the processors were at the time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import summary
from benchmarks.summary import Cost


@pytest.mark.parametrize("more", [1.0, 1.5])
def test_ratios_of_pairs_do_not_depend_on_the_drift(monkeypatch: pytest.MonkeyPatch, more: float) -> None:
    drift = iter(range(1, 100))
    ways: list[bool] = []

    def cost(model: Any, paths: Any, output_dir: Path | None, *, summary: bool) -> Cost:
        ways.append(summary)
        seconds = 100 + next(drift)
        return Cost(seconds * (more if summary else 1), 2.0)

    monkeypatch.setattr(summary, "cost", cost)
    found = summary.measure(None, [Path("a")] * 3, rounds=4)  # type: ignore[arg-type]
    assert found["disk"]["clock"] == pytest.approx(more, rel=0.02)
    assert found["database"] == {"clock": pytest.approx(more, rel=0.02), "processors": 1.0}
    assert ways[1:5] == [False, True, True, False]  # each way comes first as often as second
