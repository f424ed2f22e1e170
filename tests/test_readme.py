"""The examples run as they stand, and the README quotes them and the measured figures."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import pytest

from benchmarks.readme import TABLES, with_tables
from fiftyone_resclip import cli
from fiftyone_resclip.demo import METHODS
from tests.conftest import CLASSES

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
README = (ROOT / "README.md").read_text(encoding="utf-8")


def run(name: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [name, *arguments])
    runpy.run_path(str(ROOT / "examples" / name))


def test_label_a_dataset(
    make_dataset: Callable[..., fo.Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_dataset(2)
    for path in tmp_path.glob("*-truth.png"):
        path.unlink()
    run("label_a_dataset.py", [str(tmp_path), "resclip-tiny", "red cloth", "snow"], monkeypatch)
    assert "2 of 2 images labelled" in capsys.readouterr().out
    newest = fo.load_dataset(fo.list_datasets()[-1])
    assert newest.mask_targets["resclip"] == {1: "red cloth", 2: "snow"}


def test_zoo_and_evaluate(
    make_dataset: Callable[..., fo.Dataset], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["install"]) == 0
    try:
        run("zoo_and_evaluate.py", [make_dataset(2).name, "resclip-tiny"], monkeypatch)
    finally:
        cli.main(["uninstall"])
    printed = capsys.readouterr().out
    assert "mIoU" in printed
    assert all(name in printed for name in CLASSES)


def test_the_figures_of_the_readme_are_the_measured_ones() -> None:
    figures = measured("tiny.json")
    for name in METHODS:
        row = f"| {name} | {figures['miou_colours'][name]:.1f} | {figures['miou_colours_and_grounds'][name]:.1f} |"
        assert row in README
    half = figures["label_agreement_with_float32"]
    assert f"{half['bfloat16']:.3f} %, float16 {half['float16']:.3f} %" in README


def measured(name: str) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads((RESULTS / name).read_text(encoding="utf-8"))
    assert {"commit", "versions", "device", "threads"} <= set(figures)
    return figures


def test_the_tables_are_the_measured_ones() -> None:
    assert with_tables(README, RESULTS) == README
    told = README + (ROOT / "docs" / "EVIDENCE.md").read_text(encoding="utf-8")
    assert all(row in told for name, table in TABLES.items() for row in table(measured(name)["cases"]).splitlines())


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.name)
def test_figures_belong_to_a_commit(path: Path) -> None:
    assert re.fullmatch("[0-9a-f]{12}", measured(path.name)["commit"]), "measured on files that were changed since"


def test_the_readme_says_how_quick_evaluation_is() -> None:
    disk, database = measured("evaluation.json")["cases"]
    told = " ".join(README.split())
    default, given = (
        [f"{case[key]:.1f}" for case in (disk, database)] for key in ("ratio_to_simple_without_targets", "ratio_to_simple")
    )
    assert f"{default[0]} times as fast with masks on disk and {default[1]} times with masks in the database" in told
    assert f"where `simple` is told the values, {given[0]} and {given[1]} times" in told


def test_the_readme_says_how_many_images_were_labelled() -> None:
    assert f"labelling {measured('pipeline.json')['images']} JPEGs of two megapixels" in " ".join(README.split())


def test_the_readme_says_how_long_text_takes() -> None:
    case = next(case for case in measured("speed.json")["cases"] if case["case"] == "voc21-like")
    assert (
        f"a phrase in its 80 templates takes {case['text_of_a_phrase_to_plain']:.2f} times the plain forward of voc21-like"
        in " ".join(README.split())
    )


def test_the_readme_says_how_long_other_words_take() -> None:
    figures = measured("reprompt.json")
    told = " ".join(README.split())
    for phrase, step in (
        ("one new word takes {} % of the time of the first words", "one_word_changed"),
        ("other thresholds and mixes {} %", "threshold_and_mix_changed"),
        ("switching SFR on {} %", "sfr_switched_on"),
        ("and eight new words {} %", "every_word_changed"),
    ):
        assert phrase.format(f"{100 * figures[f'{step}_over_first']:.1f}") in told


def test_the_python_of_the_readme_runs_in_six_lines(
    make_dataset: Callable[..., fo.Dataset], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_dataset(1)
    lines = [line for line in README.split("```python\n")[1].split("```")[0].splitlines() if line]
    assert len(lines) == 6
    assert lines.pop() == "fo.launch_app(dataset).wait()"
    code = "\n".join(lines).replace("/path/to/images", str(tmp_path)).replace("resclip-vit-b-16", "resclip-tiny")
    exec(compile(code, "README.md", "exec"), {})
    assert "images labelled" in capsys.readouterr().out


def test_docstrings_say_what_tuned_forms_are_worth() -> None:
    ratio = {case["name"]: f"{case['ratio']:.2f}" for case in measured("kernels.json")["cases"]}
    for path, phrase, name in (
        ("core/kernels/onednn.py", "It takes {} of torch's time for a layer", "linear layer"),
        ("core/kernels/onednn.py", "in the fast mode takes {} of the time", "whole prediction, fast mode"),
        ("clip/backbone.py", "in {} of open_clip's time", "text tower"),
    ):
        code = " ".join((ROOT / "fiftyone_resclip" / path).read_text(encoding="utf-8").split())
        assert phrase.format(ratio[name]) in code
