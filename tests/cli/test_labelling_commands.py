from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import pytest

from fiftyone_resclip import cli
from fiftyone_resclip.cli import gpu_processes
from fiftyone_resclip.cli.export_command import export
from fiftyone_resclip.clip import weights
from fiftyone_resclip.explore import review
from fiftyone_resclip.labeling.exporting import FORMATS
from fiftyone_resclip.labeling.runs import list_runs, load_run

MakeDataset = Callable[..., fo.Dataset]
TINY = ("--model", "resclip-tiny", "--no-sfr", "--device", "cpu")


def test_a_dataset_is_labelled_and_its_runs_are_kept(
    make_dataset: MakeDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = make_dataset(4)
    dataset.save_view("two", dataset.limit(2))
    words = tmp_path / "words.txt"
    words.write_text("cloth: red cloth, blue cloth\nsnow\n")
    command = ["label", dataset.name, "--classes", str(words), "--field", "pred", *TINY]
    assert cli.main([*command, "--view", "two", "--output-dir", str(tmp_path / "masks")]) == 0
    assert "2 of 2 images labelled" in capsys.readouterr().out
    assert cli.main(command) == 0
    assert "2 of 2 images labelled" in (out := capsys.readouterr().out)
    assert "2 had a label already" in out
    assert (
        cli.main(["label", dataset.name, "--classes", "gravel, snow", "--field", "other", "--set", "prob_threshold=0.1", *TINY])
        == 0
    )
    assert cli.main(["label", dataset.name, "--classes", "gravel, snow", "--field", "pred", *TINY]) == 1
    assert (
        "DatasetError: field 'pred' holds 4 masks of other classes (cloth, snow) than now (gravel, snow)"
        in capsys.readouterr().err
    )
    assert cli.main(["runs", "list", dataset.name]) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == ["other", "pred"]
    assert cli.main(["runs", "show", dataset.name, "other"]) == 0
    assert json.loads(capsys.readouterr().out)["recipe"]["settings"]["prob_threshold"] == 0.1
    assert cli.main(["runs", "diff", dataset.name, "pred", "other"]) == 0
    assert re.search(r"settings.prob_threshold +0.0 +0.1\n", capsys.readouterr().out)
    assert cli.main(["runs", "rename", dataset.name, "other", "better"]) == 0
    assert cli.main(["runs", "delete", dataset.name, "pred", "--yes"]) == 0
    assert [run.key for run in list_runs(dataset)] == ["better"]
    assert not dataset.has_field("pred")
    assert [path for path in (tmp_path / "masks").rglob("*") if path.is_file()] == []


def test_examples_teach_and_a_lesson_is_used_again(
    make_dataset: MakeDataset, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FIFTYONE_RESCLIP_LESSONS", str(tmp_path / "lessons"))
    dataset = make_dataset(12)
    dataset.clone_sample_field("ground_truth", "kept")
    dataset.mask_targets = {**dataset.mask_targets, "kept": dataset.mask_targets["ground_truth"]}
    dataset.skip(2).clear_sample_field("kept")
    classes = ", ".join(dataset.mask_targets["ground_truth"].values())
    command = ["label", dataset.name, "--classes", classes, "--lesson", "cloth", *TINY]
    assert cli.main([*command, "--field", "one", "--examples", "kept"]) == 0
    assert "2 examples of" in (out := capsys.readouterr().out) and "saved as" in out
    assert cli.main([*command, "--field", "two"]) == 0
    masks = dataset.values(["one.mask", "two.mask"])
    assert all((one == two).all() for one, two in zip(*masks, strict=True))
    assert load_run(dataset, "one").recipe == load_run(dataset, "two").recipe


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["label", "no-such", "--classes", "a, b"], "dataset 'no-such' is unknown"),
        (["label", "no/such", "--classes", "a, b"], "there is no folder 'no/such'; check its path"),
        (["label", "", "--classes", "a, b"], "a dataset needs a name, but the name is empty"),
        (["label", "{}", "--classes", "a, b", "--name", "x"], "--name is for the dataset of a folder"),
        (["label", "{}", "--classes", "a, b", "--ray-address", "x"], "--ray-address is for --ray; add it"),
        (["label", "{}", "--classes", "a, b", "--shard", "x"], "such as 0/4 to 3/4, or 'auto', but got 'x'"),
        (["label", "{}", "--classes", "a, b", "--no-sfr", "--set", "sfr=1"], "--set sfr is at odds with another option for sfr"),
        (["label", "{}"], "label needs --classes, such as .*, or --vocab NAME"),
        (
            ["label", "{}", "--classes", "a, b", "--vocab", "voc21"],
            "--classes and --vocab both name the classes; leave out one of them",
        ),
        (["label", "{}", "--vocab", "voc12"], "vocabulary 'voc12' is unknown; did you mean 'voc"),
        (["label", "{}", "--classes", "a, b", "--field", "a.b"], "can't start with _ or contain . or"),
        (["label", "{}", "--classes", "a, b", "--batch-size", "0"], "batch_size must be a whole number of at least 1, but got 0"),
        (["label", "{}", "--classes", "a; b"], "line 1 has a semicolon"),
        (["label", "{}", "--classes", "a, b", "--background", "rest"], "background must be one of the classes"),
        (["label", "{}", "--classes", "a, b", "--model", "resclip-tinny"], "did you mean 'resclip-tiny'"),
        (["label", "{}", "--classes", "words.csv"], "save it as .txt"),
        (["label", "{}", "--classes", "a, b", "--preset", "fats"], "preset 'fats' is unknown; did you mean 'fast'?"),
        (["label", "{}", "--classes", "a, b", "--device", "gpu"], "device must be 'cpu'.*, but got 'gpu'"),
        (["label", "{}", "--classes", "a, b", "--out", "/proc/no"], "pictures can't be written to '/proc/no'"),
        (["label", "{}", "--classes", "a, b", "--view", "x"], "saved view 'x' is unknown"),
        (["label", "{}", "--classes", "a, b", "--shard", "2/2"], "shard must be an index from 0"),
        (["label", "{}", "--classes", "a, b", "--lesson", "none"], "lesson 'none' is unknown"),
        (["label", "{}", "--classes", "a, b", "--regions", "none"], "regions must name a field of .*'none' is no field"),
        (["label", "{}", "--classes", "a, b", "--examples", "none"], "field 'none' is unknown"),
        (["label", "{}", "--classes", "a, b", "--gpus", "99"], "--gpus must be 'all' or a number from 1 to"),
        (["runs", "show", "{}", "x"], "labelling run 'x' is unknown"),
    ],
)
def test_what_can_not_be_done_is_said_in_a_sentence_before_weights_are_fetched(
    make_dataset: MakeDataset,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.setattr(weights.open_clip, "download_pretrained", lambda *_: pytest.fail("weights were fetched first"))
    name = make_dataset(1).name
    assert cli.main([argument.format(name) for argument in arguments]) == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert re.search(message, error), error


@pytest.mark.slow
def test_a_process_for_each_device_labels_its_part(make_dataset: MakeDataset, capfd: pytest.CaptureFixture[str]) -> None:
    dataset = make_dataset(6)
    arguments = [
        "label",
        dataset.name,
        "--classes",
        "red cloth, snow",
        "--model",
        "resclip-tiny",
        "--no-sfr",
        "--gpus=2",
        "--device",
        "x",
    ]
    gpu_processes.share(arguments, ["cpu", "cpu"], (0, 1))
    dataset.reload()
    assert dataset.count("resclip") == 6
    run = load_run(dataset, "resclip")
    assert (run.state, run.passes[-1]["done"]) == ("finished", [0, 1])
    assert capfd.readouterr().out.count("images labelled") == 2


def test_torchrun_starts_a_process_for_each_shard(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(6)
    label_it = ["label", dataset.name, "--classes", "red cloth, snow", "--shard", "auto", *TINY]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    run = subprocess.run([*launcher, "-m", "fiftyone_resclip", *label_it], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    dataset.reload()
    assert (dataset.count("resclip"), load_run(dataset, "resclip").passes[-1]["done"]) == (6, [0, 1])


@pytest.mark.slow
def test_slurm_starts_a_process_for_each_job_of_an_array(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(6)
    command = [
        sys.executable,
        "-m",
        "fiftyone_resclip",
        "label",
        dataset.name,
        "--classes",
        "red cloth, snow",
        "--shard",
        "auto",
    ]
    array = {"SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_COUNT": "2"}
    jobs = [
        subprocess.Popen([*command, *TINY], env={**os.environ, **array, "SLURM_ARRAY_TASK_ID": str(number)}) for number in (1, 2)
    ]
    assert [job.wait() for job in jobs] == [0, 0]
    dataset.reload()
    assert (dataset.count("resclip"), load_run(dataset, "resclip").passes[-1]["done"]) == (6, [0, 1])


def test_kept_masks_are_exported_for_cvat(make_dataset: MakeDataset, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    dataset, out = make_dataset(3), tmp_path / "out"
    review.mark(dataset, "ground_truth", dataset.values("id")[:2], "keep")
    command = ["export", dataset.name, "--field", "ground_truth", "--out", str(out)]
    assert cli.main([*command, "--kept"]) == 0
    assert capsys.readouterr().out == f"masks of 2 images are in {out / 'annotations.xml'}\n"
    assert (out / "annotations.xml").read_text().count("<image ") == 2
    assert cli.main(command) == 1
    assert "exists already" in capsys.readouterr().err
    assert cli.main([*command, "--format", "coco", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "images": 3,
        "dataset": dataset.name,
        "field": "ground_truth",
        "file": str(out / "annotations.json"),
    }


def test_the_command_offers_every_format() -> None:
    (formats,) = (option.type for option in export.params if option.name == "form")
    assert list(formats.choices) == list(FORMATS)  # type: ignore[attr-defined]
