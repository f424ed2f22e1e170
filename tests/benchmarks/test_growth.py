from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from open_clip.transformer import VisionTransformer
from PIL import Image

from benchmarks import growth
from fiftyone_resclip import segmenter
from fiftyone_resclip.clip.backbone import Backbone
from tests.benchmarks.conftest import Clock


def test_a_case_varies_one_thing() -> None:
    words, mask = growth.scene("phrases", 20, "fast"), growth.scene("megapixels", 12, "full")
    assert len(words.vocabulary.flat_phrases) == 20 and words.photo_hw == words.image_hw and words.config.sfr is None
    assert mask.photo_hw == (3000, 4000) and mask.config.sfr is not None


def test_time_is_that_of_the_method_over_the_plain_forward(tiny: Backbone, clock: Clock) -> None:
    clock.charge(VisionTransformer, "forward", lambda *_: 4.0)
    clock.charge(Backbone, "trunk", lambda *_: 5.0)
    clock.charge(segmenter, "label_map", lambda *_, **__: 1.0)
    assert growth.against_plain(growth.scene("megapixels", 0.01, "fast"), tiny, 2) == 6 / 4


def test_slopes_lead_from_the_smallest_to_the_largest() -> None:
    rows = [{"axis": "phrases", "mode": "full", "size": size, "time": time} for size, time in ((10, 1.0), (20, 9.0), (110, 2.0))]
    assert growth.slopes(rows) == {"phrases, full": 0.01}


def test_an_axis_that_is_measured_alone_leaves_the_others_in_the_file_and_all_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, picture = tmp_path / "growth.json", tmp_path / "growth.png"

    def measured(axis: str) -> Callable[[int], list[growth.Row]]:
        return lambda rounds: [{"axis": axis, "mode": "fast", "size": size, "time": rounds} for size in (1, 10)]

    monkeypatch.setattr(growth, "AXES", {axis: measured(axis) for axis in growth.AXES})
    for arguments in (["--rounds", "1"], ["--axis", "batch", "--rounds", "2"], ["--plot", str(picture)]):
        monkeypatch.setattr(sys, "argv", ["growth", str(file), *arguments])
        growth.main()
    assert {row["axis"]: row["time"] for row in json.loads(file.read_text())["rows"]} == {
        "phrases": 1, "megapixels": 1, "batch": 2, "images": 1
    }  # fmt: skip
    with Image.open(picture) as drawn:
        assert min(drawn.size) > 400
