from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.latency import in_fresh_process, ratios
from benchmarks.latency_process import timed
from benchmarks.pipeline import photographs

TINY_FOLDER = Path(__file__).parents[2] / "fiftyone_resclip" / "tiny"


def test_ratios_are_those_of_the_same_round_however_fast_it_was() -> None:
    rounds = [{"open_clip": speed, "segment, cold": 3 * speed, "words, warm": 0.5 * speed} for speed in (1.0, 8.0, 2.0)]
    assert ratios(rounds) == {"segment, cold": 3.0, "words, warm": 0.5}


def test_each_step_is_timed_apart() -> None:
    assert [*timed(iter([("a", lambda: None), ("b", lambda: None)]))] == ["a", "b"]


@pytest.mark.parametrize(
    ("kind", "cases"),
    [("open_clip", ["open_clip"]), ("segment", ["segment, cold", "segment, warm"]), ("words", ["words, cold", "words, warm"])],
)
def test_a_fresh_process_says_how_long_it_took(tmp_path: Path, kind: str, cases: list[str]) -> None:
    photographs(tmp_path, 2, (144, 192))
    found = in_fresh_process(kind, TINY_FOLDER, tmp_path)
    assert [*found] == cases and all(value > 0 for value in found.values())


def test_neither_torch_nor_open_clip_is_imported_before_the_clock_starts() -> None:
    code = "import json, sys, benchmarks.latency_process; print(json.dumps([*sys.modules]))"
    run = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    assert not {"torch", "open_clip"} & set(json.loads(run.stdout))
