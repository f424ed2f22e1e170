"""Learning is compared with labelling of the same photographs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import learning_cost
from benchmarks.pipeline import PHOTOS_HW, photographs, tiny_model


def test_the_ratio_is_that_of_learning_to_labelling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = list[object]()
    took = iter([3.0, 6.0])

    def seconds(work: Callable[[], object]) -> float:
        results.append(work())
        return next(took)

    monkeypatch.setattr(learning_cost, "seconds", seconds)
    found = learning_cost.measure(tiny_model(), photographs(tmp_path, 1, PHOTOS_HW[1]))
    assert (found["images"], found["ratio"]) == (1, 0.5) and found["peak_mib"] > 0
    taught, report = results
    assert min(taught.taught.examples.values()) == 1 and report.labelled == 1  # type: ignore[attr-defined]
