from __future__ import annotations

import json
from pathlib import Path

from benchmarks.reprompt import STEPS, measure
from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.presets import TINY

FILE = Path(__file__).parents[2] / "benchmarks" / "results" / "reprompt.json"


def test_each_step_is_timed_without_running_the_trunk_again(tiny: Backbone) -> None:
    result = measure(tiny, TINY, 1, (96, 96))
    assert list(result) == [f"{step}_over_first" for step in STEPS]
    assert all(value > 0 for value in result.values())


def test_the_file_has_what_the_command_writes() -> None:
    figures = json.loads(FILE.read_text(encoding="utf-8"))
    assert figures["architecture"] == "ViT-B-16-quickgelu" and "commit" in figures
    assert {f"{step}_over_first" for step in STEPS} <= set(figures)
