from __future__ import annotations

from benchmarks.cases import ARCHITECTURE
from benchmarks.speed import measure, table
from fiftyone_resclip.clip.backbone import Backbone


def test_the_plain_forward_gets_the_crops_that_the_method_takes() -> None:
    figures = measure("voc21-like-fast", Backbone.random(ARCHITECTURE, 0), "float32", 1)
    assert figures["batches"] == [[1, 3, 336, 448]]
    assert figures["ratio_to_plain"] > 0
    assert figures["stage_shares"]["trunk"] > 0.3
    assert "images_per_second" not in figures  # a CPU is measured by ratios only
    assert table([figures]).splitlines()[2].startswith("| voc21-like-fast | 336x448 | 1 | 56 |")
