"""Every command as a user runs it: help, versions, folders, JSON, exit codes, completion, Ctrl-C."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from fiftyone_resclip import cli
from fiftyone_resclip.cli.commands import commands
from fiftyone_resclip.clip import weights
from fiftyone_resclip.fields.masks import read_mask
from fiftyone_resclip.tiny.scenes import COLOURS, dense_scene

MakeDataset = Callable[..., fo.Dataset]
TINY = ("--model", "resclip-tiny", "--no-sfr", "--device", "cpu")
COMMANDS = ["benchmark", "demo", "doctor", "evaluate", "export", "install", "label", "models", "runs", "uninstall", "vocab"]


def answer(capsys: pytest.CaptureFixture[str], *line: object, code: int = 0) -> str:
    """Runs a command and returns what it printed to stdout."""
    assert cli.main(list(map(str, line))) == code
    return capsys.readouterr().out


@pytest.fixture
def photos(tmp_path: Path) -> Iterator[Path]:
    """A folder of images as users have them: in subfolders, of several kinds, with other files."""
    folder = tmp_path / "my photos"
    for number, name in enumerate(("a.png", "a.jpg", "Sub/b.PNG", ".hidden.png")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(dense_scene(number).image).save(path)
    (folder / "notes.txt").write_text("no image")
    yield folder
    for name in ("my photos", "other"):
        if fo.dataset_exists(name):
            fo.delete_dataset(name)


def test_the_help_lists_the_commands_and_each_teaches_by_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert sorted(commands.commands) == COMMANDS
    for name in COMMANDS:
        text = answer(capsys, name, "--help")
        assert f"fiftyone-resclip {name}" in text.split("Usage:")[1].split("\n", 1)[1] or name in ("install", "uninstall")
        assert text == answer(capsys, name, "-h")


def _examples() -> Iterator[list[str]]:
    import shlex

    for name in COMMANDS:
        command: Any = commands.commands[name]
        for line in (command.help or "").splitlines():
            if line.strip().startswith("fiftyone-resclip "):
                yield shlex.split(re.split(r"\s{3,}", line.strip())[0])[1:]


@pytest.mark.parametrize("line", list(_examples()), ids=" ".join)
def test_each_example_of_the_help_can_be_parsed(line: list[str]) -> None:
    command: Any = commands
    words = list(line)
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    assert command.make_context(command.name, words).args == []


def test_the_version_is_that_of_the_package() -> None:
    for command in ([sys.executable, "-m", "fiftyone_resclip"], [str(Path(sys.executable).parent / "fiftyone-resclip")]):
        run = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
        assert run.stdout == f"fiftyone-resclip {version('fiftyone-resclip')}\n"


def test_the_command_starts_without_torch_and_fiftyone() -> None:
    code = "import sys; from fiftyone_resclip import cli; print([m for m in ('torch', 'fiftyone', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    "line",
    [
        ("--classes", "a, b", "--background", "rest"),
        ("--classes", "a, b", "--model", "resclip-tinny"),
        ("--classes", "a, b", "--preset", "fats"),
        ("--classes", "a, b", "--vocab", "voc21"),
    ],
)
def test_a_mistake_in_the_line_is_said_before_fiftyone_is_loaded(line: tuple[str, ...]) -> None:
    code = "import sys; from fiftyone_resclip import cli; print(cli.main(sys.argv[1:]), 'fiftyone' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code, "label", "photos", *line], capture_output=True, text=True, check=True)
    assert run.stdout == "1 False\n", run.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_words_are_completed(shell: str) -> None:
    environment = {**os.environ, "_FIFTYONE_RESCLIP_COMPLETE": f"{shell}_source"}
    module = [sys.executable, "-m", "fiftyone_resclip"]
    script = subprocess.run(module, env=environment, capture_output=True, text=True, check=True)
    assert "_FIFTYONE_RESCLIP_COMPLETE" in script.stdout
    words = {**os.environ, "COMP_WORDS": "fiftyone-resclip models fetch resclip-t", "COMP_CWORD": "3"}
    words["_FIFTYONE_RESCLIP_COMPLETE"] = "bash_complete"
    found = subprocess.run(module, env=words, capture_output=True, text=True, check=True)
    assert found.stdout == "plain,resclip-tiny\n"


def test_a_folder_is_labelled_without_python(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words, out = tmp_path / "words.txt", photos / "labelled"
    words.write_text("cloth: red cloth, blue cloth\nground: snow, gravel, asphalt\n")
    line = ("label", photos, "--classes", words, "--out", out, *TINY)
    said = answer(capsys, *line)
    assert "3 of 3 images labelled" in said and "dataset 'my photos', field 'resclip'" in said
    assert f"3 masks and overlays in {out}" in said
    dataset = fo.load_dataset("my photos")
    assert dataset.persistent and dataset.mask_targets["resclip"] == {1: "cloth", 2: "ground"}
    legend = json.loads((out / "resclip-classes.json").read_text())
    assert {value: entry["name"] for value, entry in legend["classes"].items()} == {"1": "cloth", "2": "ground"}
    masks = ["masks/Sub/b.png", "masks/a.jpg.png", "masks/a.png.png"]
    assert sorted(entry["mask"] for entry in legend["images"]) == masks
    for entry in legend["images"]:
        with Image.open(out / entry["mask"]) as mask_file, Image.open(out / entry["overlay"]) as overlay:
            mask = np.asarray(mask_file)
        sample = dataset[entry["image"]]
        assert (mask == sample.resclip.mask).all() and overlay.width == mask.shape[1] and overlay.height > mask.shape[0]
        assert entry["shares"].get("cloth", 0) == pytest.approx(float((mask == 1).mean()), abs=1e-4)
    Image.fromarray(dense_scene(9).image).save(photos / "new.png")
    again = json.loads(answer(capsys, *line, "--json"))
    assert (again["labelled"], again["skipped"], again["dataset"]) == (1, 3, "my photos")
    dataset.reload()
    assert len(dataset) == len(dataset.exists("resclip")) == 4, "pictures that were written became images"


def test_what_is_stored_beside_the_masks_can_be_chosen(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ("label", photos, "--classes", "snow, gravel", "--output-dir", tmp_path / "masks", *TINY)
    answer(capsys, *line, "--no-summary", "--confidence-maps")
    dataset = fo.load_dataset("my photos")
    assert "resclip_classes" not in dataset.get_field_schema()
    assert {Path(each.map_path).is_file() for each in dataset.values("resclip_confidence")} == {True}


@pytest.mark.parametrize(
    ("prepare", "options", "message"),
    [
        (lambda folder: [path.unlink() for path in folder.rglob("*.*") if path.is_file()], (), "must have images, such as JPEG"),
        (
            lambda folder: fo.Dataset("my photos"),
            (),
            "dataset 'my photos' must be the one of folder .*; choose a name with --name",
        ),
        (lambda folder: None, ("--view", "x"), "--view needs a dataset, but .* is a folder; leave it out"),
    ],
)
def test_a_folder_that_can_not_be_used_is_refused(
    photos: Path, capsys: pytest.CaptureFixture[str], prepare: Callable[[Path], object], options: tuple[str, ...], message: str
) -> None:
    prepare(photos)
    assert cli.main(["label", str(photos), "--classes", "a, b", *options, *TINY]) == 1
    assert re.search(message, capsys.readouterr().err)


def test_a_name_that_is_a_folder_and_a_dataset_is_asked_about(
    photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos.parent)
    fo.Dataset("my photos")
    assert cli.main(["label", "my photos", "--classes", "a, b", *TINY]) == 1
    assert "'my photos' is a folder and a dataset; write ./my photos for the folder" in capsys.readouterr().err
    assert cli.main(["label", "./my photos", "--name", "other", "--classes", "red cloth, snow", *TINY]) == 0
    assert len(fo.load_dataset("other").exists("resclip")) == 3


def test_images_that_can_not_be_read_are_listed(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ("label", photos, "--classes", "red cloth, snow", *TINY)
    for path in photos.rglob("*"):
        if path.suffix.lower() in (".png", ".jpg") and path.name != "a.png":
            path.write_bytes(b"broken")
    assert "1 of 3 images labelled" in (said := answer(capsys, *line)) and "not labelled: " in said
    (photos / "a.png").write_bytes(b"broken")
    assert "0 of 3 images labelled" in answer(capsys, *line, "--field", "other", code=1)


def test_masks_are_evaluated_and_the_worst_images_are_listed(
    make_dataset: MakeDataset, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = make_dataset(3)
    classes = ", ".join(dataset.mask_targets["ground_truth"].values())
    answer(capsys, "label", dataset.name, "--classes", classes, *TINY)
    said = answer(capsys, "evaluate", dataset.name, "--worst", "2")
    found = json.loads(answer(capsys, "evaluate", dataset.name, "--worst", "2", "--json"))
    assert said.startswith(f"mIoU {found['miou']:.2f} %") and "\nworst images by their own mIoU:\n" in said
    largest = max(found["confusions"], key=lambda each: each["pixels"])
    assert f"\nlargest confusions:\n{largest['truth']} taken for {largest['predicted']}: {largest['pixels']:,} pixels" in said
    assert "\nstored:\nas 'resclip_eval_1'" in said and found["key"] == "resclip_eval_2"
    own = dataset.values(["resclip_eval_1_miou", "filepath"])
    worst = sorted(zip(*own, strict=True))[:2]
    assert [(row["miou"], row["image"]) for row in found["worst"]] == [(round(miou, 2), path) for miou, path in worst]
    for options, message in (
        (("--key", "resclip_eval_1"), "eval key 'resclip_eval_1' is taken; choose another, .* or --overwrite"),
        (("--classes", "a, b"), "--classes names the values of --masks"),
        (("--map", "car"), "--map needs CLASS=TRUE_CLASS, such as car=vehicle, but got 'car'"),
        (("--map", "car=snow"), "predicted class in mapping 'car' is unknown"),
        (("--ignore-index", "x"), "void values must be numbers or '#rrggbb' separated by commas, but got 'x'"),
        (("--field", ""), "a field needs a name"),
        (("--ground-truth", "a.b"), "there is no field 'a.b'; name the one with true masks"),
        (("--key", "a b"), "eval key 'a b' can't be used"),
    ):
        assert cli.main(["evaluate", dataset.name, *options]) == 1
        assert re.search(message, capsys.readouterr().err)


def test_true_masks_come_from_a_folder_and_errors_go_to_one(
    make_dataset: MakeDataset, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    dataset, out = make_dataset(3), tmp_path / "labelled"
    classes = ", ".join(dataset.mask_targets["ground_truth"].values())
    truth = {sample.filepath: read_mask(sample.ground_truth) for sample in dataset}
    answer(capsys, "export", dataset.name, "--field", "ground_truth", "--format", "masks", "--out", str(out))
    dataset.delete_sample_field("ground_truth")
    dataset.mask_targets = {}
    dataset.save()
    answer(capsys, "label", dataset.name, "--classes", classes, *TINY)
    line = ("evaluate", dataset.name, "--masks", str(out / "masks"), "--pictures", str(tmp_path / "worst"), "--worst", "2")
    assert "\npictures of these:\n2 files in" in answer(capsys, *line)
    dataset.reload()
    assert all((read_mask(sample.ground_truth) == truth[sample.filepath]).all() for sample in dataset)
    pictures = sorted((tmp_path / "worst").iterdir())
    assert [path.name[:4] for path in pictures] == ["001-", "002-"]
    worst = next(iter(dataset.sort_by("resclip_eval_1_miou")))
    names = [np.vectorize({0: "", **dataset.mask_targets[field]}.get) for field in ("ground_truth", "resclip")]
    wrong = names[0](truth[worst.filepath]) != names[1](read_mask(worst.resclip))
    with Image.open(pictures[0]) as picture:
        assert picture.height > wrong.shape[0]  # a legend is below it
        photo = Image.open(worst.filepath).convert("RGB")
        faded = Image.blend(photo, photo.convert("L").convert("RGB"), 0.55)
        red = np.asarray(picture, float)[: wrong.shape[0]] - np.asarray(faded, float)
    assert np.abs(red[wrong]).mean() > 5 * np.abs(red[~wrong]).mean()
    bare = tmp_path / "bare"
    shutil.copytree(out / "masks", bare)
    for options, message in (
        (("--masks", str(tmp_path / "worst"), "--classes", classes), "has no PNG that is named like an image"),
        (("--masks", str(bare), "--ground-truth", "other"), "need class names; give them in the order"),
        (("--masks", str(bare), "--classes", "one, two"), "masks in 'ground_truth' have the classes"),
        (("--masks", str(bare), "--classes", "one, two", "--ground-truth", "new"), "each value of the masks needs a class name"),
        (("--pictures", str(tmp_path / "worst")), "must be a new or empty folder"),
    ):
        assert cli.main(["evaluate", dataset.name, *options]) == 1
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("said", ["n\n", ""])
def test_a_run_is_deleted_only_after_a_yes(
    make_dataset: MakeDataset, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    dataset = make_dataset(1)
    answer(capsys, "label", dataset.name, "--classes", "red cloth, snow", *TINY)
    monkeypatch.setattr("sys.stdin", io.StringIO(said))
    assert "nothing was deleted" in answer(capsys, "runs", "delete", dataset.name, "resclip", code=1)
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert "deleted 'resclip'" in answer(capsys, "runs", "delete", dataset.name, "resclip")


def test_json_is_alone_on_stdout_beside_progress_bars(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(2)
    dataset.clone_sample_field("ground_truth", "resclip")
    dataset.mask_targets = {**dataset.mask_targets, "resclip": dataset.mask_targets["ground_truth"]}
    dataset.save()
    command = [sys.executable, "-m", "fiftyone_resclip", "evaluate", dataset.name, "--json"]
    environment = {**os.environ, "FIFTYONE_SHOW_PROGRESS_BARS": "true"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert json.loads(done.stdout)["miou"] == 100.0
    assert "2/2" in done.stderr


def test_a_folder_with_other_classes_is_not_mixed(photos: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "labelled"
    answer(capsys, "label", str(photos), "--classes", "red cloth, snow", "--out", str(out), *TINY)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    line = ["label", str(photos), "--classes", "snow, gravel", "--field", "other", "--out", str(out), *TINY]
    assert cli.main(line) == 1
    assert "has masks of other classes (red cloth, snow), and the two would be mixed" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    answer(capsys, "label", str(photos), "--classes", "red cloth, snow", "--out", str(out), *TINY)


def test_vocabularies_are_checked_saved_and_used(make_dataset: MakeDataset, capsys: pytest.CaptureFixture[str]) -> None:
    checked = answer(capsys, "vocab", "check", "cloth: red cloth, blue cloth", "snow", "--background", "snow")
    assert checked == "cloth: red cloth, blue cloth\nsnow\n\n2 classes, 3 phrases; pixels below a prob_threshold become 'snow'\n"
    assert answer(capsys, "vocab", "save", "mine", "cloth: red cloth, blue cloth", "snow") == "saved 2 classes as 'mine'\n"
    assert json.loads(answer(capsys, "vocab", "list", "--json"))["saved"].count("mine") == 1
    shown = json.loads(answer(capsys, "vocab", "show", "mine", "--json"))
    assert shown == {"classes": {"cloth": ["red cloth", "blue cloth"], "snow": ["snow"]}, "background": None}
    assert answer(capsys, "vocab", "show", "voc21").startswith("background: sky, wall, ")
    dataset = make_dataset(1)
    answer(capsys, "label", dataset.name, "--vocab", "mine", *TINY)
    dataset.reload()
    assert dataset.mask_targets["resclip"] == {1: "cloth", 2: "snow"}
    assert answer(capsys, "vocab", "delete", "mine") == "deleted 'mine'\n"
    assert cli.main(["vocab", "delete", "mine"]) == 1
    assert "saved vocabulary 'mine' is unknown" in capsys.readouterr().err
    assert cli.main(["vocab", "check", "road; sky"]) == 1


def test_models_are_listed_and_their_weights_fetched(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    listed = json.loads(answer(capsys, "models", "list", "--json"))
    assert listed["resclip-tiny"]["at_hand"] and not listed["resclip-vit-b-16"]["at_hand"]
    assert "fiftyone-resclip models fetch resclip-vit-b-16" in answer(capsys, "models", "list")
    assert "resclip-tiny is ready: " in answer(capsys, "models", "fetch", "resclip-tiny")
    asked = []

    def download(tag: dict[str, Any]) -> str:
        asked.append(tag["url"])
        return str(tmp_path / "weights.pt")

    monkeypatch.setattr(weights.open_clip, "download_pretrained", download)
    assert json.loads(answer(capsys, "models", "fetch", "resclip-vit-b-16", "--json"))["file"] == str(tmp_path / "weights.pt")
    assert "ViT-B-16" in asked[0]
    for line, message in ((["resclip-vit-b16"], "did you mean"), (["ViT-B-16"], "needs pretrained"), ([""], "model must be")):
        assert cli.main(["models", "fetch", *line]) == 1
        assert message in capsys.readouterr().err


def test_runs_answer_in_json(make_dataset: MakeDataset, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = make_dataset(1)
    assert json.loads(answer(capsys, "runs", "list", dataset.name, "--json")) == []
    answer(capsys, "label", dataset.name, "--classes", "red cloth, snow", *TINY)
    assert [run["key"] for run in json.loads(answer(capsys, "runs", "list", dataset.name, "--json"))] == ["resclip"]
    assert json.loads(answer(capsys, "runs", "delete", dataset.name, "resclip", "--yes", "--json")) == {"deleted": "resclip"}


def test_a_demo_needs_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert cli.main(["demo", "--out", str(tmp_path / "file")]) == 1
    assert "must be a folder for a database, but: Not a directory; choose another" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["lable", "photos"], "No such command 'lable'"),
        (["label"], "Missing argument 'FOLDER_OR_DATASET'"),
        (["label", "d", "--batch-size", "x"], "'x' is not a valid integer"),
        (["label", "d", "--clases", "a"], "No such option '?--clases'?"),
        (["label", "d", "--strategy", "nacilp"], "'nacilp' is not one of"),
        (["label", "d", "--out", ""], "'--out': it must be a path, but is empty"),
        (["label", "d", "--output-dir", " "], "'--output-dir': it must be a path, but is empty"),
        (["demo", "--images", "0"], "0 is not in the range"),
        (["evaluate", "d", "--worst", "-1"], "-1 is not in the range"),
        (["runs", "show", "d"], "Missing argument 'KEY'"),
    ],
)
def test_a_line_that_can_not_be_read_exits_with_2(capsys: pytest.CaptureFixture[str], line: list[str], message: str) -> None:
    assert cli.main(line) == 2
    assert re.search(message, capsys.readouterr().err)


def _imports_torch(process: int) -> bool:
    return "libtorch" in Path(f"/proc/{process}/maps").read_text()


def _labels(process: int) -> bool:
    return fo.dataset_exists("my photos") and len(fo.load_dataset("my photos").exists("resclip")) > 0


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("moment", [_imports_torch, _labels])
def test_ctrl_c_ends_in_a_sentence(photos: Path, moment: Callable[[int], bool]) -> None:
    """Stops a command while it imports, and while it labels."""
    for number in range(100):
        shutil.copy(photos / "a.png", photos / f"{number}.png")
    line = ["label", str(photos), "--classes", ", ".join(COLOURS), "--batch-size", "1", *TINY]
    run = subprocess.Popen([sys.executable, "-m", "fiftyone_resclip", *line], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while run.poll() is None and time.monotonic() < deadline and not moment(run.pid):
        time.sleep(0.2)
    run.send_signal(signal.SIGINT)
    _, error = run.communicate(timeout=300)
    assert (run.returncode, "Traceback" in error) == (130, False), error
    assert error.splitlines()[-1] == "Stopped; what was saved is kept. To go on, run the same command again."
