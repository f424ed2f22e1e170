from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.reprompt import CLASSES, STEPS, measure
from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.clip.trunk_cache import CachedBackbone
from fiftyone_resclip.presets import TINY
from tests.benchmarks.conftest import Clock

FILE = Path(__file__).parents[2] / "benchmarks" / "results" / "reprompt.json"


@pytest.mark.parametrize("trunk", [0, 2 * CLASSES])
def test_each_step_encodes_its_new_words_and_runs_the_trunk_never_again(tiny: Backbone, clock: Clock, trunk: int) -> None:
    """A phrase takes a second, the trunk of the image ``trunk`` seconds, the rest nothing."""
    clock.charge(Backbone, "encode_text", lambda backbone, phrases: len(phrases))
    clock.charge(Backbone, "trunk", lambda backbone, pixels, blocks: trunk)
    result = measure(tiny, TINY, 1, (144, 144))
    steps = {name.removesuffix("_over_first"): ratio for name, ratio in result.items()}
    first = CLASSES + trunk * 1
    expected = {"one_word_changed": 1 / first, "every_word_changed": CLASSES / first}
    assert steps == {step: round(expected.get(step, 0.0), 3) for step in STEPS}


def test_a_trunk_that_runs_again_is_noticed(tiny: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(self: CachedBackbone, pixels: object, blocks: object = ()) -> object:
        self.runs += 1
        return Backbone.trunk(self, pixels, blocks)  # type: ignore[arg-type]

    monkeypatch.setattr(CachedBackbone, "trunk", forgetful)
    with pytest.raises(AssertionError, match="the trunk ran again"):
        measure(tiny, TINY, 1, (96, 96))


def test_the_file_has_what_the_command_writes() -> None:
    figures = json.loads(FILE.read_text(encoding="utf-8"))
    assert figures["architecture"] == "ViT-B-16-quickgelu" and "commit" in figures
    assert {f"{step}_over_first" for step in STEPS} <= set(figures)
