from __future__ import annotations

import pytest
import torch

from benchmarks import gpu, speed
from fiftyone_resclip.clip.backbone import Backbone


def test_each_precision_is_measured_and_compared_with_float32(tiny: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no GPU, everything but its kernel is measured."""
    monkeypatch.setattr(speed, "measure", lambda name, *_: {"case": name, "ratio_to_plain": 1.0})
    monkeypatch.setattr(gpu, "compiled_ratio", lambda *_: 0.5)
    figures = gpu.measure(tiny, 1, ["voc21-like-fast"])
    assert [row["precision"] for row in figures["cases"]] == ["float32", "bfloat16", "float16"]
    exact, *half = (row["labels_as_in_float32"] for row in figures["cases"])
    assert exact == 1 and all(0.9 < share <= 1 for share in half)
    assert figures["kernel_of_pamr_over_shifted_views"] is None or torch.cuda.is_available()
    assert figures["compiled_over_plain"] == 0.5
