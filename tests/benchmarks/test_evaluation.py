from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.evaluation import draw_pair, make_dataset, ratio
from fiftyone_resclip.evaluation.evaluate import evaluate


@pytest.mark.parametrize("on_disk", [True, False])
def test_both_methods_that_are_timed_count_the_same_pixels(tmp_path: Path, on_disk: bool) -> None:
    dataset = make_dataset(tmp_path, 3, on_disk)
    simple = dataset.evaluate_segmentations("prediction", "truth", mask_targets=dataset.mask_targets["truth"], progress=False)
    ours = evaluate(dataset, "prediction", "truth", progress=False)
    right = sum(int((truth == prediction).sum()) for truth, prediction in map(draw_pair, range(3)))
    assert np.trace(simple.pixel_confusion_matrix) == np.trace(ours.pixel_confusion_matrix) == right
    assert ratio(dataset, 1) > 0
