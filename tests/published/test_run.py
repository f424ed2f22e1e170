"""Tests the benchmark command end to end, with the tiny model on folders that have the real structure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fiftyone as fo
import pytest

from fiftyone_resclip import cli
from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.clip.weights import fingerprint
from fiftyone_resclip.errors import WeightsError
from fiftyone_resclip.evaluation.evaluate import evaluate
from fiftyone_resclip.fields import masks
from fiftyone_resclip.published.folders import FOLDERS
from fiftyone_resclip.published.run import Setup, run_benchmark, table

SMALL = ("--set", "short_side_px=48", "--set", 'window={"crop_px": 48, "stride_px": 48}', "--no-sfr")
TINY = ("--model", "resclip-tiny", "--device", "cpu")


def benchmark(tmp_path: Path, *arguments: Any) -> int:
    folders = ("--out", tmp_path / "out", "--work-dir", tmp_path / "work")
    return cli.main(["benchmark", *map(str, (*arguments, *TINY, *SMALL, *folders))])


def records(tmp_path: Path) -> dict[str, dict[str, Any]]:
    found = [json.loads(path.read_text(encoding="utf-8")) for path in (tmp_path / "out").iterdir()]
    return {record["benchmark"]: record for record in found}


def counted_accuracy(samples: fo.Dataset, field: str) -> float:
    """Counts by class name, pixel by pixel."""
    right = labelled = 0
    for sample in samples:
        truth, prediction = (masks.read_mask(sample[name]) for name in ("ground_truth", field))
        for value, name in samples.mask_targets["ground_truth"].items():
            here = prediction[truth == value]
            right += int((here == next(v for v, n in samples.mask_targets[field].items() if n == name)).sum())
            labelled += here.size
    return right / labelled


def test_all_eight_run_end_to_end(root: Path, tmp_path: Path, tiny: Backbone, capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark(tmp_path, "--all", "--data-root", root) == 0
    rows = capsys.readouterr().out
    found = records(tmp_path)
    assert set(found) == set(FOLDERS)
    for name, record in found.items():
        samples = fo.load_dataset(f"resclip-{name}")
        assert record["pixel_accuracy"] == round(100 * counted_accuracy(samples, record["field"]), 2), name
        assert record["images"] == record["labelled_in_this_run"] == 2
        assert record["published"]["comparable"] is False
        assert record["weights_sha256"] == fingerprint(tiny.model)
        assert record["settings"]["rcs"] is not None and record["settings"]["sfr"] is None
        assert {"commit", "device", "threads", "versions"} <= set(record)
        assert f"2/{FOLDERS[name].n_images}" in rows
    assert "61.1" in rows and "not measured" not in rows


def test_a_run_goes_on_where_it_was_and_other_settings_start_anew(root: Path, tmp_path: Path) -> None:
    run = ("cityscapes", "--data-root", root)
    assert benchmark(tmp_path, *run, "--limit", 1) == 0
    assert records(tmp_path)["cityscapes"]["images"] == 1
    assert benchmark(tmp_path, *run) == 0
    assert records(tmp_path)["cityscapes"]["labelled_in_this_run"] == 1
    assert benchmark(tmp_path, *run, "--strategy", "sclip", "--no-rcs") == 0
    by_field = [json.loads(path.read_text(encoding="utf-8")) for path in (tmp_path / "out").iterdir()]
    assert {record["field"].rsplit("_", 1)[0]: record["labelled_in_this_run"] for record in by_field} == {
        "naclip_rcs": 1,
        "sclip": 2,
    }


def test_examples_teach_and_are_left_out(root: Path, tmp_path: Path) -> None:
    run = ("cityscapes", "--data-root", root)
    assert benchmark(tmp_path, *run, "--examples", 1) == 0
    record = records(tmp_path)["cityscapes"]
    samples = fo.load_dataset("resclip-cityscapes")
    taught = record["examples"]["sample_ids"]
    assert len(taught) == 1 and record["images"] == 1 and record["published"]["comparable"] is False
    assert samples.exists(record["field"]).values("id") == [i for i in samples.values("id") if i not in taught]
    assert "_taught_" in record["field"]
    assert benchmark(tmp_path, *run, "--examples", 2) == 1


def test_missing_files_cost_their_row_and_a_single_run_says_so(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert benchmark(tmp_path, "--all", "--data-root", root / "cityscapes") == 1
    out = capsys.readouterr().out
    assert out.count("not measured: ") == 7
    assert "voc21 not measured: voc21 needs PASCAL VOC 2012" in out
    assert benchmark(tmp_path, "voc21", "--data-root", root / "cityscapes") == 1
    assert "DatasetError: voc21 needs PASCAL VOC 2012" in capsys.readouterr().err


def test_a_dataset_of_ones_own(
    make_dataset: Callable[..., fo.Dataset], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = make_dataset(2)
    assert benchmark(tmp_path, "--dataset", dataset.name) == 0
    path = next((tmp_path / "out").iterdir())
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["miou"] == round(evaluate(dataset, record["field"], "ground_truth").miou, 2) > 5
    assert list(record["classes"]) == list(dataset.mask_targets["ground_truth"].values())
    (tmp_path / "words.txt").write_text("red cloth: red cloth, crimson cloth\nblue cloth\n", encoding="utf-8")
    assert benchmark(tmp_path, "--dataset", dataset.name, "--classes", tmp_path / "words.txt", "--limit", 1) == 0
    other = next(p for p in (tmp_path / "out").iterdir() if p != path)
    assert json.loads(other.read_text(encoding="utf-8"))["classes"]["red cloth"] == ["red cloth", "crimson cloth"]


def test_a_part_does_not_replace_the_whole_and_lost_masks_are_made_again(root: Path, tmp_path: Path) -> None:
    run = ("cityscapes", "--data-root", root)
    assert benchmark(tmp_path, *run) == 0
    whole = records(tmp_path)["cityscapes"]
    assert benchmark(tmp_path, *run, "--limit", 1) == 0
    found = [json.loads(path.read_text(encoding="utf-8")) for path in (tmp_path / "out").iterdir()]
    assert sorted(record["images"] for record in found) == [1, 2]
    lost = [path for path in (tmp_path / "work" / "cityscapes").rglob("*.png") if path.parent.name == whole["field"]]
    assert len(lost) == 2
    for path in lost:
        path.unlink()
    assert benchmark(tmp_path, *run) == 0
    again = next(r for p in (tmp_path / "out").iterdir() if (r := json.loads(p.read_text(encoding="utf-8")))["images"] == 2)
    assert (again["labelled_in_this_run"], again["pixel_accuracy"]) == (2, whole["pixel_accuracy"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "benchmark needs one of: a name such as voc21, --all, or --dataset NAME"),
        (("voc21", "--all", "--data-root", "."), "benchmark needs one of"),
        (("voc21",), "benchmark needs --data-root"),
        (("voc22", "--data-root", "."), "benchmark 'voc22' is unknown; did you mean 'voc21'"),
        (
            ("voc21", "--data-root", ".", "--set", "sfr.treshold=0.3"),
            "setting of SFR 'treshold' is unknown; did you mean 'threshold'",
        ),
        (("voc21", "--data-root", ".", "--set", "sfr"), "--set needs NAME=VALUE, as sfr.threshold=0.3, but got 'sfr'"),
        (("--dataset", "nowhere"), "dataset 'nowhere' is unknown"),
        (("--all", "--data-root", "/no/such"), "data root must be the folder .*, but '/no/such' is no folder"),
        (("voc21", "--data-root", "/no/such"), "data root must be the folder .*, but '/no/such' is no folder"),
        (("voc21", "--data-root", "."), "voc21 needs PASCAL VOC 2012"),
        (
            ("voc21", "--data-root", ".", "--preset", "fast"),
            "--preset can't be used with a published .*; leave it out",
        ),
        (("voc21", "--data-root", ".", "--classes", "words.txt"), "--classes can't be used with a published benchmark"),
        (("--dataset", "nowhere", "--data-root", "."), "--data-root can't be used with --dataset; leave it out"),
        (("--dataset", "nowhere", "--ignore-index", "x"), "void values must be numbers or '#rrggbb' separated by commas"),
        (("voc21", "--data-root", ".", "--limit", "0"), "limit must be a whole number of at least 1, but got 0"),
        (("voc21", "--data-root", ".", "--out", "/proc/no"), "results can't be written to '/proc/no'"),
        (("voc21", "--data-root", ".", "--set", "sfr=null", "--set", "sfr.mix=1"), "is at odds with another --set"),
    ],
)
def test_mistakes_are_said_in_one_sentence_before_weights_are_loaded(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.setattr(Backbone, "load", lambda *_: pytest.fail("weights were loaded first"))
    monkeypatch.chdir(tmp_path)
    assert cli.main(["benchmark", *arguments, *TINY]) == 1
    assert re.search(message, capsys.readouterr().err)


def test_mistakes_about_a_dataset_are_found_before_weights_are_loaded(
    make_dataset: Callable[..., fo.Dataset], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Backbone, "load", lambda *_: pytest.fail("weights were loaded first"))
    (tmp_path / "words.txt").write_text("lorry\n")
    for arguments, message in (
        (("--ground-truth", "truth"), "field 'truth' is unknown"),
        (("--ignore-index", "-1"), "ignore_index must be mask values of at least 0"),
        (("--classes", tmp_path / "words.txt"), "must share names"),
        (("--preset", "fats"), "did you mean 'fast'"),
    ):
        assert benchmark(tmp_path, "--dataset", make_dataset(1).name, *arguments) == 1
        assert message in capsys.readouterr().err


def test_weights_that_can_not_be_loaded_stop_all_benchmarks_at_once(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def fail(*_: Any) -> Backbone:
        tried.append(1)
        raise WeightsError("no network")

    monkeypatch.setattr(Backbone, "load", fail)
    assert benchmark(tmp_path, "--all", "--data-root", root) == 1
    assert (tried, capsys.readouterr().err.strip().splitlines()[-1]) == ([1], "WeightsError: no network")


def test_the_difference_is_given_for_comparable_runs_only() -> None:
    record = {"images": 1449, "images_published": 1449, "miou": 61.52, "seconds": {"labelling": 100.4, "evaluation": 2.0}}
    record["labelled_in_this_run"] = 1449
    text = table({"voc21": {**record, "published": {"miou": 61.1, "comparable": True}}})
    assert text.splitlines()[1].split() == ["voc21", "1449/1449", "61.52", "61.1", "+0.42", "102"]
    text = table({"voc21": {**record, "published": {"miou": 61.1, "comparable": False}}})
    assert text.splitlines()[1].split() == ["voc21", "1449/1449", "61.52", "61.1", "–", "102"]
    text = table({"voc21": {**record, "labelled_in_this_run": 5, "published": {"miou": 61.1, "comparable": False}}})
    assert text.splitlines()[1].split()[-1] == "–"  # the other images were labelled before


def test_only_a_whole_set_with_the_papers_settings_is_comparable(
    root: Path, tmp_path: Path, tiny: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FOLDERS, "voc20", replace(FOLDERS["voc20"], n_images=2))
    plain = {"rcs": None, "sfr": None}

    def published(model: str, changes: dict[str, Any], limit: int | None = None) -> dict[str, Any]:
        record = run_benchmark("voc20", root, Setup(lambda: tiny, model, changes, limit=limit, work_dir=tmp_path / "work"))
        return record["published"]

    assert published("resclip-vit-b-16", plain) == {"miou": 79.7, "comparable": True}
    assert published("resclip-vit-b-16", plain, limit=1) == {"miou": 79.7, "comparable": False}
    assert published("resclip-vit-b-16", {**plain, "short_side_px": 48}) == {"miou": 86.0, "comparable": False}
    assert published("resclip-tiny", plain) == {"miou": 86.0, "comparable": False}
    other = run_benchmark("voc20", root, Setup(lambda: tiny, "resclip-vit-b-16", plain, "laion", work_dir=tmp_path / "work"))
    assert other["published"]["comparable"] is False and other["pretrained"] == "laion"


def test_the_fingerprint_tells_weights_apart(tiny: Backbone) -> None:
    first, second = (Backbone.random("ViT-S-32-alt", seed=seed, device="cpu").model.visual.conv1 for seed in (0, 1))
    assert fingerprint(first) != fingerprint(second)
    assert fingerprint(first) == fingerprint(first)
    assert len(fingerprint(tiny.model)) == len(hashlib.sha256().hexdigest())
