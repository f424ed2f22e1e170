"""The examples run as they stand, README and guide quote the measured figures, and what they promise can be run."""

from __future__ import annotations

import json
import re
import runpy
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import pytest

from benchmarks.readme import TABLES, printed_by, python_of, with_tables
from fiftyone_resclip import cli
from fiftyone_resclip.cli.commands import commands
from fiftyone_resclip.demo import METHODS
from tests.conftest import CLASSES

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
README, GUIDE, EVIDENCE = (
    (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/GUIDE.md", "docs/EVIDENCE.md")
)


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


def test_the_figures_of_the_guide_are_the_measured_ones() -> None:
    figures = measured("tiny.json")
    for name in METHODS:
        row = f"| {name} | {figures['miou_colours'][name]:.1f} | {figures['miou_colours_and_grounds'][name]:.1f} |"
        assert row in GUIDE
    half = figures["label_agreement_with_float32"]
    assert f"{half['bfloat16']:.3f} %, float16 {half['float16']:.3f} %" in GUIDE


def measured(name: str) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads((RESULTS / name).read_text(encoding="utf-8"))
    assert {"commit", "versions", "device", "threads"} <= set(figures)
    return figures


def test_the_tables_are_the_measured_ones() -> None:
    assert all(with_tables(text, RESULTS) == text for text in (README, GUIDE, EVIDENCE))
    told = GUIDE + EVIDENCE
    assert all(row in told for name, table in TABLES.items() for row in table(measured(name)["cases"]).splitlines())


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.name)
def test_figures_belong_to_a_commit(path: Path) -> None:
    assert re.fullmatch("[0-9a-f]{12}", measured(path.name)["commit"]), "measured on files that were changed since"


def test_the_guide_says_how_quick_evaluation_is() -> None:
    disk, database = measured("evaluation.json")["cases"]
    told = " ".join(GUIDE.split())
    default, given = (
        [f"{case[key]:.1f}" for case in (disk, database)] for key in ("ratio_to_simple_without_targets", "ratio_to_simple")
    )
    assert f"{default[0]} times as fast with masks on disk and {default[1]} times with masks in the database" in told
    assert f"where `simple` is told the values, {given[0]} and {given[1]} times" in told


def test_the_guide_says_how_many_images_were_labelled() -> None:
    images = [case["images"] for case in measured("pipeline.json")["cases"]]
    assert f"labelling {min(images)} to {max(images)} JPEGs on" in " ".join(GUIDE.split())


def test_the_guide_says_how_long_the_first_mask_takes() -> None:
    ratio, told = measured("latency.json")["over_open_clip_alone"], " ".join(GUIDE.split())
    assert f"the first mask of 2-megapixel photographs after {ratio['segment, cold']:.2f} times the time" in told
    assert f"a second field has its first mask after {ratio['segment, warm']:.2f} of that time" in told
    assert (
        f"*Words* shows a mask after {ratio['words, cold']:.2f}, and with one more word after {ratio['words, warm']:.2f}" in told
    )


def test_the_guide_says_how_time_and_memory_grow() -> None:
    figures, told = measured("growth.json"), " ".join(GUIDE.split())
    rows = {(row["axis"], row["mode"], row["size"]): row for row in figures["rows"]}
    few, many = (rows["phrases", "full", size]["time"] for size in (5, 2000))
    assert f"the time of the whole method rises from {few:.2f} to {many:.2f} plain forwards" in told
    assert f"adds {figures['slopes']['megapixels, full']:.3f} plain forwards" in told
    memory = {key: row["memory_mib"] for key, row in rows.items() if key[0] == "megapixels" and key[1] == "full"}
    assert "stays below 110 MiB up to 12 megapixels" in told
    assert max(mib for (*_, size), mib in memory.items() if size <= 12) < 110
    assert f"is {memory['megapixels', 'full', 48]:.0f} MiB at 48" in told
    images = {size: row for (axis, _, size), row in rows.items() if axis == "images"}
    assert f"each of 10,000 images takes {images[10_000]['time']:.2f} times as long as each of 100" in told
    assert f"takes at most {max(row['memory_mib'] for row in images.values()):.0f} MiB more memory" in told


def test_the_docs_say_what_the_list_of_classes_costs() -> None:
    ratios = [
        ratio for case in measured("summary.json")["cases"] for kind in ("disk", "database") for ratio in case[kind].values()
    ]
    assert "labelling at most 2 % slower" in " ".join((ROOT / "docs" / "FIFTYONE.md").read_text(encoding="utf-8").split())
    assert max(ratios) <= 1.02


def test_the_guide_says_how_long_text_takes() -> None:
    case = next(case for case in measured("speed.json")["cases"] if case["case"] == "voc21-like")
    assert (
        f"a phrase in its 80 templates takes {case['text_of_a_phrase_to_plain']:.2f} times the plain forward of voc21-like"
        in " ".join(GUIDE.split())
    )


def test_the_guide_says_how_long_other_words_take() -> None:
    figures = measured("reprompt.json")
    told = " ".join(GUIDE.split())
    for phrase, step in (
        ("one new word takes {} % of the time of the first words", "one_word_changed"),
        ("other thresholds and mixes {} %", "threshold_and_mix_changed"),
        ("switching SFR on {} %", "sfr_switched_on"),
        ("and eight new words {} %", "every_word_changed"),
    ):
        assert phrase.format(f"{100 * figures[f'{step}_over_first']:.1f}") in told


def test_the_python_of_the_readme_prints_in_six_lines_what_stands_below_it() -> None:
    code = python_of(README)
    assert code is not None and len([line for line in code.splitlines() if line]) == 6
    shown = README.split("<!-- output -->\n```text\n")[1].split("```")[0]
    now = printed_by(code)
    number = r"\d+(?:\.\d+)?"  # other processors round differently
    assert re.sub(number, "#", now) == re.sub(number, "#", shown)
    figures = zip(re.findall(number, now), re.findall(number, shown), strict=True)
    assert all(abs(float(one) - float(other)) < 0.5 for one, other in figures)


def test_the_commands_of_the_readme_can_be_parsed() -> None:
    lines = re.findall(r"^fiftyone-resclip (\w+)(.*)$", README, flags=re.MULTILINE)
    assert {name for name, _ in lines} == {"install", "demo", "label", "evaluate", "export"}
    for name, rest in lines:
        commands.commands[name].make_context(name, shlex.split(rest, comments=True))


def test_the_names_of_the_method_are_explained_before_they_are_used() -> None:
    top = README.split("## Limits")[0]
    for name in ("RCS", "SFR"):
        explained = top.index(f"- **{name}** ")
        assert top.index(name) == explained + len("- **"), f"{name} is used before it is explained"


def test_the_top_of_the_readme_is_short() -> None:
    assert len(README.split("## Limits")[0].split()) < 400, "the first half page is for a first look; the guide takes the rest"


def test_the_links_of_the_documents_lead_somewhere() -> None:
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
            if not target.startswith(("http", "#")):
                assert (path.parent / target.split("#")[0]).exists(), f"{path.name} links to {target}, which does not exist"


def test_the_python_of_the_guide_labels_images(
    make_dataset: Callable[..., fo.Dataset], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_dataset(1)
    lines = [line for line in GUIDE.split("```python\n")[1].split("```")[0].splitlines() if line]
    assert lines.pop() == "fo.launch_app(dataset).wait()"
    code = "\n".join(lines).replace("/path/to/images", str(tmp_path)).replace("resclip-vit-b-16", "resclip-tiny")
    exec(compile(code, "GUIDE.md", "exec"), {})
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
