from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name
from types import CodeType
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks import kernels as benchmark
from benchmarks.cases import CASES, Case
from benchmarks.comparisons import COMPARISONS, Comparison, Setting, Sides
from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.core import kernels
from fiftyone_resclip.core.kernels import onednn
from tests.benchmarks.conftest import Clock

SIDES = ("tuned", "plain")
SMALL = {
    "voc21-like": Case("voc21", (48, 64), (60, 75)),
    "voc21-like-fast": Case("voc21", (48, 64), (60, 75), mode="fast"),
    "ade20k-like": Case("ade20k", (232, 248), (300, 320)),
    "cityscapes-like": Case("cityscapes", (80, 144), (160, 288)),
}


@pytest.fixture(scope="module")
def setting() -> Setting:
    """Small images and a small CLIP, which has the GELU that oneDNN knows."""
    return Setting(Backbone.random("ViT-S-16", 0), SMALL, photo_hw=(90, 110), phrases=1)


@pytest.fixture(autouse=True)
def cells_on_small_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels of small images come from cells, too."""
    monkeypatch.setattr(kernels, "_CELL_VALUES", 0)


def assert_agree(ours: Any, expected: Any) -> None:
    """Numbers are equal but for rounding; labels on all pixels but those where rounding decides."""
    if not isinstance(ours, Tensor):
        for pair in zip(ours, expected, strict=True):
            assert_agree(*pair)
    elif ours.is_floating_point():
        torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)
    else:
        assert ours.shape == expected.shape
        assert not ours.numel() or (ours == expected).float().mean() > 0.999


@pytest.mark.parametrize("name", COMPARISONS)
def test_both_sides_give_the_same(name: str, setting: Setting) -> None:
    with torch.inference_mode():
        tuned, plain, _ = COMPARISONS[name].sides(setting)
        assert_agree(tuned(), plain())


@pytest.mark.parametrize("form", ["attend", "broken_lines", "draft_phrases", "linear", "refine", "settled_phrases", "winners"])
def test_the_test_of_both_sides_can_fail(form: str, setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    right = getattr(kernels, form)

    def wrong(*arguments: Any, **keywords: Any) -> Any:
        result = right(*arguments, **keywords)
        if form == "settled_phrases":
            return result[0] + 1, result[1]
        return ~result if form == "broken_lines" else result[::-1] if isinstance(result, tuple) else result + 1

    monkeypatch.setattr(kernels, form, wrong)
    name = next(name for name, comparison in COMPARISONS.items() if comparison.tuned == f"core.kernels.{form}")
    with pytest.raises(AssertionError):
        test_both_sides_give_the_same(name, setting)


def called_by(work: Callable[[], Any]) -> set[CodeType]:
    """The Python functions that run, by their code."""
    seen = set[CodeType]()
    sys.setprofile(lambda frame, event, argument: seen.add(frame.f_code))
    try:
        work()
    finally:
        sys.setprofile(None)
    return seen


def code(name: str) -> CodeType:
    function: Callable[..., Any] = inspect.unwrap(resolve_name(name))
    return function.__code__


@pytest.mark.parametrize("name", COMPARISONS)
def test_each_side_runs_what_its_row_names(name: str, setting: Setting) -> None:
    comparison = COMPARISONS[name]
    with torch.inference_mode():
        tuned, plain, _ = comparison.sides(setting)
        by_tuned, by_plain = called_by(tuned), called_by(plain)
    assert code(f"fiftyone_resclip.{comparison.tuned}") in by_tuned
    if comparison.plain.startswith("torch."):
        assert code("fiftyone_resclip.core.kernels.onednn.linear") not in by_plain
        assert (code("fiftyone_resclip.core.kernels.onednn.linear") in by_tuned) == onednn.works()
    else:
        formula = code(comparison.plain.replace("core.", "fiftyone_resclip.core."))
        assert formula in by_plain and formula not in by_tuned
        assert code(f"fiftyone_resclip.{comparison.tuned}") not in by_plain


def test_all_that_the_kernels_choose_is_compared() -> None:
    assert {comparison.tuned for comparison in COMPARISONS.values()} == {
        *(f"core.kernels.{name}" for name in kernels.__all__),
        "clip.backbone.Backbone.encode_text",
    }


def test_the_sizes_are_those_of_the_input() -> None:
    """On the cases that are published, without running anything."""
    setting = Setting(Backbone.random("ViT-S-16", 0))
    assert set(SMALL) <= set(CASES)
    sizes = {name: COMPARISONS[name].sides(setting).sizes for name in COMPARISONS if "attention" not in name}
    assert sizes["PAMR"] == "56 channels, 336x448 pixels"
    assert sizes["draft of SFR"] == "150 phrases, 224x224 pixels"
    assert [sizes[f"path rule, {case}-like"] for case in ("voc21", "cityscapes")] == ["21x28 patches", "35x70 patches"]
    assert sizes["stitching and labels"] == "6 windows, 150 phrases, 1536x2048 pixels"


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any], Callable[[], Any]], str]:
    """Adds a comparison and returns its name."""

    def add(tuned: Callable[[], Any], plain: Callable[[], Any]) -> str:
        sides = Sides(tuned, plain, "2 things")
        monkeypatch.setitem(COMPARISONS, "made up", Comparison("ours", "theirs", lambda setting: sides))  # type: ignore[arg-type]
        return "made up"

    return add


@pytest.mark.parametrize(("tuned", "plain", "rounds"), [(1.0, 4.0, 5), (2.0, 4.0, 5), (0.5, 1.0, 10), (0.25, 0.125, 50)])
def test_the_ratio_is_that_of_the_tuned_time_to_the_other(
    setting: Setting, clock: Clock, made_up: Any, tuned: float, plain: float, rounds: int
) -> None:
    calls: list[str] = []

    def take(side: str, cost: float) -> None:
        calls.append(side)
        clock.now += cost

    name = made_up(lambda: take("tuned", tuned), lambda: take("plain", plain))
    assert benchmark.measure(name, setting) == {
        "name": name,
        "sizes": "2 things",
        "tuned": "ours",
        "compared_with": "theirs",
        "ratio": tuned / plain,
        "rounds": rounds,
    }
    assert calls[2:] == ["plain", "tuned"] * rounds, "in turn, after each has run once"
    assert sorted(calls[:2]) == ["plain", "tuned"]


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the books of memory are Linux'")
def test_the_peak_of_attention_shows_that_the_tuned_form_builds_no_matrix() -> None:
    figures = {side: benchmark._in_fresh_process("attention with RCS and SFR", side, benchmark._RETURN_FREED) for side in SIDES}
    matrix = 12 * 589**2 * 4 / 2**20
    assert figures["tuned"] < matrix < 3 * matrix < figures["plain"]


def test_the_file_has_a_row_for_each_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], **keywords: Any) -> subprocess.CompletedProcess[str]:
        assert command[:4] == [sys.executable, "-m", "benchmarks.kernels", "--measure"]
        assert keywords["env"].keys() & {"MALLOC_MMAP_THRESHOLD_"}
        name, what = command[4:]
        asked.append([name, what])
        row = {"name": name, "sizes": "2 things", "tuned": "ours", "compared_with": "theirs", "ratio": 0.251, "rounds": 5}
        return subprocess.CompletedProcess(command, 0, json.dumps(row if what == "time" else {"tuned": 1.0, "plain": 8.04}[what]))

    threads, file = torch.get_num_threads(), tmp_path / "kernels.json"
    monkeypatch.setattr("sys.argv", ["kernels", str(file)])
    monkeypatch.setattr("benchmarks.kernels.provenance", lambda: {"commit": "0123456789ab"})
    with monkeypatch.context() as replaced:
        replaced.setattr("benchmarks.kernels.subprocess.run", run)
        benchmark.main()
    torch.set_num_threads(threads)
    figures = json.loads(file.read_text(encoding="utf-8"))
    assert asked == [[name, what] for name in COMPARISONS for what in ("time", *SIDES)]
    assert figures["commit"] == "0123456789ab" and figures["architecture"] == "ViT-B-16"
    assert [case["name"] for case in figures["cases"]] == list(COMPARISONS)
    assert figures["cases"][0] | {"peak_memory_mib": 1.0, "plain_peak_memory_mib": 8.0} == figures["cases"][0]
    row = [cell.strip() for cell in benchmark.table(figures["cases"]).splitlines()[2].strip("|").split("|")]
    assert row == ["attention with RCS and SFR", "2 things", "theirs", "0.25", "5", "1 MiB", "8 MiB"]
