"""A process that pauses, lives in another container or has a wrong clock neither loses work of others nor its own."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest

from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.fields import masks, schema
from fiftyone_resclip.fields.private import database, dataset_id, stored
from fiftyone_resclip.fields.process_identity import Process
from fiftyone_resclip.labeling import writers
from fiftyone_resclip.labeling.label import iter_label, label
from fiftyone_resclip.model import ResCLIPModel, load_model
from tests.faults import processes

MakeDataset = Callable[..., fo.Dataset]
PAUSE = """
import sys, fiftyone as fo
from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.fields import leases
from fiftyone_resclip.fields.exclusive import exclusive
leases._LEASE_MS = 500
dataset = fo.load_dataset(sys.argv[1])
changes = {
    "field": lambda: dataset.add_sample_field("late", fo.FloatField),
    "unsaved": lambda: dataset.mask_targets.update(late={1: "late"}),
    "run": lambda: dataset.register_run("late", dataset.init_run(method="m")),
}
for attempt in range(2):
    try:
        with exclusive(dataset):
            print("in", flush=True)
            sys.stdin.readline()
            changes[sys.argv[2]]()
    except DatasetError as error:
        print(error)
"""


def model_of(*classes: str) -> ResCLIPModel:
    return load_model("resclip-tiny", list(classes), sfr=None, device="cpu")


def listed() -> Any:
    return database()["fiftyone_resclip.writers"]


@pytest.mark.parametrize("change", ["field", "unsaved", "run"])
def test_a_process_that_slept_in_the_lock_undoes_nothing(make_dataset: MakeDataset, change: str) -> None:
    dataset = make_dataset(1)
    process = processes.start_plain(PAUSE, None, dataset.name, change)
    assert process.stdout and process.stdin
    assert process.stdout.readline() == "in\n"
    process.send_signal(signal.SIGSTOP)
    schema.declare_field(dataset, "theirs", {1: "car"})
    dataset.register_run("theirs", dataset.init_run(method="m"))
    before = stored(dataset)
    process.stdin.write("go\n")
    process.stdin.flush()
    process.send_signal(signal.SIGCONT)
    message = process.stdout.readline()
    assert "this process paused for so long that another one has changed dataset" in message
    after = stored(dataset)
    for name in ("sample_fields", "mask_targets", "app_config", "runs"):
        assert after[name] == before[name]
    assert process.communicate("go\n")[0] == "in\n"  # the second attempt
    after = stored(dataset)
    assert {"theirs"} <= {field["name"] for field in after["sample_fields"]}
    assert after["mask_targets"]["theirs"] == {"1": "car"}
    assert "theirs" in after["runs"]
    changed = {"field": [field["name"] for field in after["sample_fields"]], "unsaved": after["mask_targets"]}
    assert "late" in changed.get(change, after["runs"])


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_writer_that_was_taken_for_dead_writes_nothing_more(
    make_dataset: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_disk: bool
) -> None:
    monkeypatch.setattr(writers, "_BEAT_S", 1000)
    dataset, folder = make_dataset(12), str(tmp_path / "masks") if on_disk else None
    steps = iter_label(dataset, model_of("red cloth", "snow"), "pred", batch_size=1, output_dir=folder)
    for _ in range(3):
        next(steps)
    listed().update_many({}, [{"$set": {"beat": {"$subtract": ["$beat", 600_000]}}}])
    code = "print(label(dataset, model, 'pred', overwrite=True, output_dir=sys.argv[3] or None).labelled)"
    assert processes.run(code, dataset.name, "gravel,snow,asphalt", folder or "") == "12\n"
    with pytest.raises(DatasetError, match="slept so long that it was taken for dead; label it again to go on"):
        list(steps)
    dataset.reload()
    assert dataset.mask_targets["pred"] == {1: "gravel", 2: "snow", 3: "asphalt"}
    label(dataset, model_of("gravel", "snow", "asphalt"), "expected")
    for sample in dataset:
        np.testing.assert_array_equal(masks.read_mask(sample.pred), masks.read_mask(sample.expected))


@pytest.mark.parametrize(
    ("changes", "age_s", "lives"),
    [
        ({}, 0, False),
        ({"space": "a container"}, 0, True),
        ({"space": "a container"}, 100, True),
        ({"space": "a container"}, 200, False),
        ({"space": None}, 0, True),
        ({"host": "another machine", "space": "a container"}, 0, True),
    ],
)
def test_only_what_is_dead_for_certain_is_taken_for_dead_at_once(
    make_dataset: MakeDataset, changes: dict[str, Any], age_s: int, lives: bool
) -> None:
    dataset = make_dataset(1)
    process = replace(Process.own(), **{"pid": 2**22 + 1, **changes})
    writer = writers.Writer(str(dataset_id(dataset)), "pred", "recipe", process=process)
    writers.Presence(writer).announce()
    writers.Presence(writer).announce()
    listed().update_one({"_id": writer.id}, [{"$set": {"beat": {"$subtract": ["$beat", age_s * 1000]}}}])
    for _ in range(2):  # listing changes nothing
        assert writers.alive(dataset) == ([writer] if lives else [])
        assert listed().count_documents({"_id": writer.id}) == 1
    assert writers.remaining(dataset, "pred") == ([writer] if lives else [])
    assert listed().count_documents({"_id": writer.id}) == lives
    assert Process(**asdict(process)) == process


@pytest.mark.skipif(shutil.which("faketime") is None, reason="the clock of a process is set with faketime")
@pytest.mark.parametrize("shift", ["+2h", "-2h"])
def test_a_wrong_clock_neither_kills_nor_dies(make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch, shift: str) -> None:
    dataset = make_dataset(4)
    code = """
        import os, sys, time
        command = ["faketime", "-f", sys.argv[3], sys.executable, "-c", sys.argv[4], *sys.argv[1:3]]
        os.execvp("faketime", command)
    """
    work = processes.PREPARED + (
        "from fiftyone_resclip.labeling.writers import alive\n"
        "print([w.process.pid for w in alive(dataset)], flush=True)\n"
        "def report(report):\n"
        "    if report.done == 1:\n"
        "        print('one', flush=True); sys.stdin.readline()\n"
        "print(label(dataset, model, 'other', batch_size=1, progress=report).labelled)\n"
    )
    monkeypatch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    steps = iter_label(dataset, model_of("snow"), "pred", batch_size=1)
    next(steps)
    process = processes.start_plain(code, None, dataset.name, "red cloth,snow", shift, work)
    assert process.stdout and process.stdin
    assert process.stdout.readline().endswith(f"[{os.getpid()}]\n")
    assert process.stdout.readline() == "one\n"
    assert len(writers.alive(dataset, "other")) == len(writers.remaining(dataset, "other")) == 1
    assert [writer.process.pid for writer in writers.remaining(dataset, "pred")] == [os.getpid()]
    with pytest.raises(DatasetError, match="field 'other' is being labelled in another way by process"):
        label(dataset, model_of("snow"), "other")
    *_, report = steps
    assert report.labelled == 4
    assert process.communicate("go\n")[0] == "4\n"


def test_processes_of_two_containers_with_one_host_name_do_not_label_the_same(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(3)
    code = """
        import os, sys
        os.execvp("unshare", ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", sys.argv[3], *sys.argv[1:3]])
    """
    work = processes.PREPARED + (
        "def report(report):\n"
        "    if report.done == 1:\n"
        "        print('one', flush=True); sys.stdin.readline()\n"
        "print(label(dataset, model, 'pred', batch_size=1, progress=report).labelled)\n"
    )
    process = processes.start_plain(code, None, dataset.name, "red cloth,snow", work)
    assert process.stdout
    if process.stdout.readline() != "one\n":
        assert process.stderr and "unshare" in process.stderr.read()
        pytest.skip("this user may not make namespaces")
    (writer,) = writers.alive(dataset)
    assert writer.process.pid == 1
    with pytest.raises(DatasetError, match="field 'pred' is already being labelled by process 1 on"):
        label(dataset, model_of("red cloth", "snow"), "pred")
    assert process.communicate("go\n")[0] == "3\n"
