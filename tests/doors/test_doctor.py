"""The doctor, on a healthy set-up and on broken ones: each fault is found, named and has a remedy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import pytest
import torch

from fiftyone_resclip import cli
from fiftyone_resclip.doors import doctor
from fiftyone_resclip.doors.doctor import Finding, examine
from fiftyone_resclip.labeling.label import label
from fiftyone_resclip.labeling.runs import load_run
from fiftyone_resclip.model import ResCLIPModel

MakeDataset = Callable[..., fo.Dataset]


@pytest.fixture(autouse=True)
def empty_database() -> None:
    """Deletes what other tests left: the doctor examines all datasets of the database, which is the tests' own."""
    for name in fo.list_datasets():
        fo.delete_dataset(name)


@pytest.fixture
def installed() -> Iterator[tuple[Path, Path]]:
    """Yields the folders of plugin and zoo copy."""
    assert cli.main(["install"]) == 0
    yield Path(fo.config.plugins_dir) / "fiftyone-resclip", Path(fo.config.model_zoo_dir) / "resclip"
    cli.main(["uninstall"])


def faults(findings: list[Finding] | None = None) -> list[Finding]:
    return [finding for finding in findings or examine() if finding.state == "fault"]


def test_a_healthy_setup_has_no_faults(
    installed: Any, make_dataset: MakeDataset, fast_model: ResCLIPModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    label(make_dataset(1), fast_model, output_dir=tmp_path)
    findings = examine()
    assert faults(findings) == []
    good = {finding.subject for finding in findings if finding.state == "good"}
    wanted = {"Python", "torch", "fiftyone", "database", "plugin for the App", "models for the zoo", "weights"}
    assert wanted | {"evaluation method", "labelling runs"} <= good
    assert any(f.subject == "weights" and "resclip-vit-b-16" in f.found and "models fetch" in f.remedy for f in findings)
    capsys.readouterr()
    assert cli.main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert printed.endswith("no faults\n") and "ok    Python: " in printed
    assert cli.main(["doctor", "--json"]) == 0
    assert {row["state"] for row in json.loads(capsys.readouterr().out)} <= {"good", "note"}


def old_python(monkeypatch: pytest.MonkeyPatch, folders: tuple[Path, Path]) -> None:
    monkeypatch.setattr(doctor.sys, "version_info", (3, 9, 18))


def old_torch(monkeypatch: pytest.MonkeyPatch, folders: tuple[Path, Path]) -> None:
    have = doctor.version
    monkeypatch.setattr(doctor, "version", lambda name: "2.5.1+cu121" if name == "torch" else have(name))


def broken_gpu(monkeypatch: pytest.MonkeyPatch, folders: tuple[Path, Path]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # the driver is too old, for example


def old_plugin(monkeypatch: pytest.MonkeyPatch, folders: tuple[Path, Path]) -> None:
    (folders[0] / "fiftyone.yml").unlink()


def other_zoo(monkeypatch: pytest.MonkeyPatch, folders: tuple[Path, Path]) -> None:
    old_zoo(folders)


def old_zoo(folders: tuple[Path, Path]) -> None:
    (folders[1] / "manifest.json").write_text("{}")


def damaged_settings(monkeypatch: pytest.MonkeyPatch, folders: tuple[Path, Path]) -> None:
    path = folders[0].parent / "evaluation.json"
    path.write_text("[]")
    monkeypatch.setenv("FIFTYONE_EVALUATION_CONFIG_PATH", str(path))


def blocked_cache(monkeypatch: pytest.MonkeyPatch, folders: tuple[Path, Path]) -> None:
    blocked = folders[0].parent / "a-file"
    blocked.write_text("")
    monkeypatch.setenv("FIFTYONE_RESCLIP_CACHE", str(blocked / "cache"))


@pytest.mark.parametrize(
    ("breaks", "subject", "found", "remedy"),
    [
        (old_python, "Python", "3.9.18, but 3.10 is the oldest that works", "install Python 3.10 or later"),
        (old_torch, "torch", "2.5.1+cu121, but 2.6 is the oldest that works", "pip install --upgrade 'torch>=2.6'"),
        (broken_gpu, "device", "torch sees a GPU but can't use it: ", "use --device cpu"),
        (old_plugin, "plugin for the App", "the copy is of another version", "fiftyone-resclip install, and restart the App"),
        (other_zoo, "models for the zoo", "the copy is of another version", "fiftyone-resclip install, and restart the App"),
        (damaged_settings, "evaluation method", "must map names to settings", "mend or remove that file, then: fiftyone-resclip"),
        (blocked_cache, "text cache", "can't be written to: Not a directory", "make it a folder that"),
    ],
)
def test_a_broken_setup_has_one_fault_and_a_remedy(
    installed: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    breaks: Callable[[pytest.MonkeyPatch, tuple[Path, Path]], None],
    subject: str,
    found: str,
    remedy: str,
) -> None:
    breaks(monkeypatch, installed)
    (fault,) = faults()
    assert fault.subject == subject and found in fault.found and remedy in fault.remedy
    assert str(fault).startswith(f"FAIL  {subject}: ") and "\n      -> " in str(fault)


def test_copies_that_are_missing_or_old_are_mended(installed: tuple[Path, Path]) -> None:
    cli.main(["uninstall"])
    missing = [fault.subject for fault in faults()]
    assert missing == ["plugin for the App", "models for the zoo", "evaluation method"]
    assert [finding.subject for finding in examine(fix=True) if finding.state == "mended"] == missing
    assert faults() == []
    old_zoo(installed)
    assert [finding.subject for finding in examine(fix=True) if finding.state == "mended"] == ["models for the zoo"]
    assert faults() == []


def test_a_database_that_does_not_answer_is_the_only_fault(installed: Any) -> None:
    environment = {**os.environ, "FIFTYONE_DATABASE_URI": "mongodb://127.0.0.1:9/?serverSelectionTimeoutMS=500"}
    command = [sys.executable, "-m", "fiftyone_resclip", "doctor", "--json"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert run.returncode == 1, run.stderr
    (fault,) = [row for row in json.loads(run.stdout) if row["state"] == "fault"]
    assert fault["subject"] == "database" and "Install MongoDB" in fault["remedy"]
    assert "Traceback" not in run.stderr


def test_mask_files_that_no_label_names_are_found_and_removed(
    installed: Any, make_dataset: MakeDataset, fast_model: ResCLIPModel, tmp_path: Path
) -> None:
    dataset = make_dataset(2)
    label(dataset, fast_model, output_dir=tmp_path)
    named = [Path(path) for path in dataset.values("resclip.mask_path")]
    mark = load_run(dataset, "resclip").file_mark
    orphan, other = named[0].with_name(f"{'0' * 24}-{mark}-9.png"), named[0].with_name("of-the-user.png")
    for path in (orphan, other):
        path.write_bytes(named[0].read_bytes())
    (fault,) = faults()
    assert "mask files of run 'resclip'" in fault.subject and "1 that no label names" in fault.found and "--fix" in fault.remedy
    assert orphan.exists()
    assert [finding.found for finding in examine(fix=True) if finding.state == "mended"] == [f"{fault.found}; 1 removed"]
    assert not orphan.exists() and other.exists() and all(path.exists() for path in named)
    assert faults() == []


def test_runs_that_were_not_finished_are_named(installed: Any, make_dataset: MakeDataset, fast_model: ResCLIPModel) -> None:
    dataset = make_dataset(3)

    def stop(report: Any) -> None:
        if report.done:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        label(dataset, fast_model, batch_size=1, progress=stop)
    (fault,) = faults()
    assert fault.subject == f"run 'resclip' of {dataset.name!r}" and "before it was complete" in fault.found
    assert f"to go on, or: fiftyone-resclip runs delete {dataset.name} resclip" in fault.remedy
    label(dataset, fast_model)
    assert faults() == []
    dataset.delete_sample_field("resclip")
    (fault,) = faults()
    assert fault.found == "its field was deleted without it"
    assert cli.main(["runs", "delete", dataset.name, "resclip", "--yes"]) == 0
    assert faults() == []
