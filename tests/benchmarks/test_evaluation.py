from __future__ import annotations

from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest

from benchmarks import evaluation
from tests.benchmarks.conftest import Clock


@pytest.mark.parametrize("on_disk", [True, False])
@pytest.mark.parametrize("ours", [2.0, 3.0])
def test_both_methods_that_are_timed_count_the_same_pixels(tmp_path: Path, clock: Clock, on_disk: bool, ours: float) -> None:
    dataset = evaluation.make_dataset(tmp_path, 3, on_disk)
    results = clock.charge(fo.Dataset, "evaluate_segmentations", lambda *_, method, **__: 6.0 * (method == "simple"))
    clock.charge(evaluation, "evaluate", lambda *_, **__: ours)  # which is a method of ``evaluate_segmentations``, too
    assert evaluation.ratio(dataset, 1) == 6.0 / ours
    right = sum(int((truth == prediction).sum()) for truth, prediction in map(evaluation.draw_pair, range(3)))
    assert [np.trace(result.pixel_confusion_matrix) for result in results] == [right, right]
