"""An evaluation is there whole or not at all, whatever is killed when, and however many processes evaluate at the same time."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest

from fiftyone_resclip.evaluation.evaluate import evaluate
from fiftyone_resclip.fields.private import database, dataset_id, stored
from tests.faults import processes

Make = Callable[[Callable[[Path], fo.Dataset]], fo.Dataset]

ROUNDS = 4
NAMES = {1: "a", 2: "b"}
SECOND: dict[str, Any] = {"ignore_index": 2, "compute_dice": True}

#: Forks for each line on stdin. The child kills itself before its n-th write of something other than a lock.
FORKING = """
import json, os, signal, sys
from pymongo import monitoring

WRITES = ("insert", "update", "delete", "findAndModify")

class Killer(monitoring.CommandListener):
    left, signal = None, signal.SIGKILL
    def started(self, event):
        name = event.command_name
        if Killer.left is not None and name in WRITES and not event.command[name].startswith("fiftyone_resclip."):  # locks
            Killer.left -= 1
            if Killer.left == 0:
                os.kill(os.getpid(), Killer.signal)
    def succeeded(self, event): pass
    def failed(self, event): pass

monitoring.register(Killer())
import fiftyone as fo
from fiftyone_resclip.evaluation.evaluate import evaluate
import fiftyone_resclip.evaluation.method
print("ready", flush=True)
for line in sys.stdin:
    name, fields, number, settings = json.loads(line)
    child = os.fork()
    if child == 0:
        dataset = fo.load_dataset(name)
        dataset.list_evaluations()
        Killer.left = number
        if settings == "interrupt":
            Killer.signal = signal.SIGINT
            settings = {}
        if settings is None:
            dataset.delete_evaluation("ev")
        else:
            try:
                evaluate(dataset.limit(2) if settings else dataset, *fields, "ev", overwrite=True, **settings)
            except KeyboardInterrupt:
                os._exit(2)
        os._exit(0)
    print(os.waitpid(child, 0)[1], flush=True)
"""


def images(folder: Path) -> fo.Dataset:
    dataset = fo.Dataset(persistent=True)
    dataset.mask_targets = {"gt": NAMES, "pred": NAMES}
    pairs = [([[1, 1, 2, 2]], [[1, 1, 1, 2]]), ([[1, 2]], [[2, 2]]), ([[1, 1]], [[1, 0]])]
    for index, pair in enumerate(pairs):
        labels = {field: fo.Segmentation(mask=np.array(mask, np.uint8)) for field, mask in zip(("gt", "pred"), pair, strict=True)}
        dataset.add_sample(fo.Sample(str(folder / f"{index}.png"), **labels))
    return dataset


def videos(folder: Path) -> fo.Dataset:
    dataset = fo.Dataset(persistent=True)
    dataset.mask_targets = {"frames.gt": NAMES, "frames.pred": NAMES}
    for index in range(3):
        sample = fo.Sample(str(folder / f"{index}.mp4"))
        for number in (1, 2):
            masks = {"gt": [[1, 1, 2, 2]], "pred": [[1, number, 1, 2]]}
            sample.frames[number] = fo.Frame(**{name: fo.Segmentation(mask=np.array(m, np.uint8)) for name, m in masks.items()})
        dataset.add_sample(sample)
    return dataset


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[fo.Dataset] = []

    def make(kind: Callable[[Path], fo.Dataset]) -> fo.Dataset:
        made.append(kind(tmp_path))
        return made[-1]

    yield make
    for dataset in made:
        dataset.delete()


@pytest.fixture
def dataset(make: Make) -> fo.Dataset:
    return make(images)


def fields_of(dataset: fo.Dataset) -> tuple[str, str]:
    return ("frames.pred", "frames.gt") if dataset.media_type == "video" else ("pred", "gt")


def found(dataset: fo.Dataset, key: str = "ev") -> Any:
    """Everything a user sees of an evaluation; ``None`` if nothing."""
    dataset.reload()
    results = dataset.load_evaluation_results(key, cache=False) if dataset.has_evaluation(key) else None
    names = sorted(name for name in dataset.get_field_schema() if name.startswith(f"{key}_"))
    of_frames = sorted(name for name in dataset.get_frame_field_schema() or () if name.startswith(f"{key}_"))
    values = {name: dataset.values(name) for name in (*names, *(f"frames.{name}" for name in of_frames))}
    loaded = {name: [sample[name] for sample in dataset] for name in names}
    loaded |= {f"frames.{name}": [[f[name] for f in s.frames.values()] for s in dataset] for name in of_frames}
    assert loaded == values  # the database and FiftyOne's samples agree
    if not dataset.has_evaluation(key):
        assert not values
        return None
    assert results is not None
    return results.confusion.tolist(), results.config.compute_dice, len(results.samples), values


def left_behind(dataset: fo.Dataset) -> list[Any]:
    """What no evaluation of the dataset refers to."""
    document = stored(dataset)
    hidden = [field["name"] for field in document["sample_fields"] + document["frame_fields"] if "resclip" in field["name"]]
    known = {field["db_field"] for field in document["sample_fields"]}
    values = {key for sample in database()[document["sample_collection_name"]].find() for key in sample} - known
    runs = {run["_id"]: run.get("results") for run in database().runs.find({"_dataset_id": dataset_id(dataset)})}
    newer = {"$gt": dataset_id(dataset)}
    files = {
        *database()["fs.files"].distinct("_id", {"_id": newer}),
        *database()["fs.chunks"].distinct("files_id", {"files_id": newer}),
    }
    of_others = {run.get("results") for run in database().runs.find()}
    return [*hidden, *values, *(runs.keys() - set(document["evaluations"].values())), *(files - of_others)]


def let_leases_end() -> None:
    past = {"$set": {"until": datetime.now(timezone.utc) - timedelta(hours=1)}}
    database()["fiftyone_resclip.leases"].update_many({}, past)


class Killed:
    """Runs commands in processes that kill themselves before a given write to the database."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin and process.stdout and process.stdout.readline() == "ready\n"
        self.stdin, self.stdout = process.stdin, process.stdout

    def before(self, number: int, dataset: fo.Dataset, settings: dict[str, Any] | str | None) -> bool:
        """Returns whether the process was killed before it was done; without settings, it deletes the evaluation."""
        self.stdin.write(json.dumps([dataset.name, fields_of(dataset), number, settings]) + "\n")
        status = int(self.stdout.readline())
        assert status in (0, 2 << 8 if settings == "interrupt" else signal.SIGKILL)
        let_leases_end()
        return status != 0


@pytest.fixture(scope="module")
def killed() -> Iterator[Killed]:
    command = [sys.executable, "-c", FORKING]
    with subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=1) as process:
        yield Killed(process)
        process.kill()


def test_killed_before_any_write_an_evaluation_is_whole_or_absent_and_its_key_is_free(
    dataset: fo.Dataset, killed: Killed
) -> None:
    evaluate(dataset, *fields_of(dataset), "ev")
    whole = found(dataset)
    dataset.delete_evaluation("ev")
    assert found(dataset) is None
    seen = []
    for number in range(1, 100):
        was_killed = killed.before(number, dataset, {})
        seen.append(found(dataset))
        evaluate(dataset, *fields_of(dataset), "ev", overwrite=seen[-1] is not None)
        assert found(dataset) == whole
        assert left_behind(dataset) == []
        dataset.delete_evaluation("ev")
        assert left_behind(dataset) == []
        if not was_killed:
            break
    assert number > 5
    assert all(state in (None, whole) for state in seen) and seen[0] is None and seen[-1] == whole


@pytest.mark.slow
def test_killed_before_any_write_of_a_replacement_the_old_or_the_new_run_is_whole(make: Make, killed: Killed) -> None:
    dataset = make(videos)  # with values of samples and of frames
    evaluate(dataset.limit(2), *fields_of(dataset), "ev", **SECOND)
    new = found(dataset)
    dataset.delete_evaluation("ev")
    evaluate(dataset, *fields_of(dataset), "ev")
    old = found(dataset)
    assert old != new
    seen = []
    for number in range(1, 100):
        was_killed = killed.before(number, dataset, SECOND)
        seen.append(found(dataset))
        evaluate(dataset, *fields_of(dataset), "ev", overwrite=True)
        assert found(dataset) == old
        assert left_behind(dataset) == []
        if not was_killed:
            break
    assert number > 5
    assert all(state in (old, new) for state in seen) and seen[0] == old and seen[-1] == new


def test_interrupted_at_any_write_an_evaluation_leaves_nothing(dataset: fo.Dataset, killed: Killed) -> None:
    interrupted = [True]
    while interrupted[-1]:
        interrupted.append(killed.before(len(interrupted), dataset, "interrupt"))
        assert left_behind(dataset) == []
        if found(dataset) is not None:
            dataset.delete_evaluation("ev")
    assert len(interrupted) > 5


def test_killed_before_any_write_of_its_deletion_an_evaluation_is_whole_or_absent(dataset: fo.Dataset, killed: Killed) -> None:
    evaluate(dataset, *fields_of(dataset), "ev")
    whole, seen, was_killed = found(dataset), [], True
    for number in range(1, 100):
        was_killed = killed.before(number, dataset, None)
        seen.append(found(dataset))
        evaluate(dataset, *fields_of(dataset), "ev", overwrite=True)
        assert found(dataset) == whole
        assert left_behind(dataset) == []
        if not was_killed:
            break
    assert all(state in (None, whole) for state in seen) and seen[0] == whole and seen[-1] is None


AT_ONCE = """
import sys, fiftyone as fo
from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.evaluation.evaluate import evaluate
from fiftyone_resclip.fields.schema import declare_field
name, worker, rounds = sys.argv[1:]
settings = {"ignore_index": 2, "compute_dice": True} if worker == "y" else {}
dataset = fo.load_dataset(name)
print("ready", flush=True)
sys.stdin.readline()
first = 0
for number in range(int(rounds)):
    if worker == "labels":
        declare_field(dataset, f"field{number}", {1: "a"})
        continue
    evaluate(dataset, "pred", "gt", f"{worker}{number}", **settings)
    evaluate(dataset, "pred", "gt", f"replaced{number % 2}", overwrite=True, **settings)
    try:
        evaluate(dataset, "pred", "gt", f"contested{number}", **settings)
        first += 1
    except DatasetError as error:
        assert "is taken" in str(error), error
print(first, flush=True)
"""


@pytest.mark.slow
def test_evaluations_and_labelling_at_the_same_time_lose_nothing_and_mix_nothing(dataset: fo.Dataset) -> None:
    evaluate(dataset, "pred", "gt", "x")
    evaluate(dataset, "pred", "gt", "y", **SECOND)
    whole = {key: without_key(dataset, key) for key in "xy"}
    workers = [processes.start_plain(AT_ONCE, None, dataset.name, name, str(ROUNDS)) for name in ("x", "y", "labels")]
    for worker in workers:
        assert worker.stdout and worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin
        worker.stdin.write("go\n")
        worker.stdin.flush()
    said = [worker.communicate()[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    assert sum(map(int, said)) == ROUNDS  # each contested key was won by one process, and refused to the other

    own = [f"{worker}{number}" for worker in "xy" for number in range(ROUNDS)]
    shared = [*(f"contested{number}" for number in range(ROUNDS)), *(f"replaced{number}" for number in range(min(ROUNDS, 2)))]
    for key in own:
        assert without_key(dataset, key) == whole[key[0]]
    for key in shared:
        assert without_key(dataset, key) in whole.values()
    document = stored(dataset)
    assert document["evaluations"].keys() == {"x", "y", *own, *shared}
    assert {f"field{number}" for number in range(ROUNDS)} <= document["mask_targets"].keys() & set(dataset.get_field_schema())
    assert {"x", "y", *own, *shared} <= {group["name"] for group in document["app_config"]["sidebar_groups"]}
    assert left_behind(dataset) == []


def without_key(dataset: fo.Dataset, key: str) -> str:
    """Returns what a user sees of an evaluation, whatever its key."""
    return json.dumps(found(dataset, key)).replace(f'"{key}_', '"')


def test_fields_that_another_program_removes_meanwhile_are_declared_again(dataset: fo.Dataset) -> None:
    before = stored(dataset)["sample_fields"]
    theirs: list[Any] = []

    def remove(done: Any) -> None:  # called for each sample, as the evaluation's progress
        if not theirs:
            theirs.append(database().datasets.update_one({"_id": dataset_id(dataset)}, {"$set": {"sample_fields": before}}))

    evaluate(dataset, "pred", "gt", "ev", progress=remove)
    assert theirs and found(dataset) is not None and left_behind(dataset) == []


@pytest.mark.parametrize("repair", ["replace", "delete"])
def test_what_earlier_versions_left_when_they_were_killed_can_be_replaced_and_deleted(dataset: fo.Dataset, repair: str) -> None:
    evaluate(dataset, "pred", "gt", "ev")
    whole = found(dataset)
    dataset.delete_sample_field("ev_miou")
    run = dataset._doc.evaluations["ev"]
    run.results.delete()
    database().runs.update_one({"_id": run.id}, {"$unset": {"results": ""}})
    dataset.reload()
    assert dataset.load_evaluation_results("ev", cache=False) is None
    if repair == "delete":
        dataset.delete_evaluation("ev")
    evaluate(dataset, "pred", "gt", "ev", overwrite=repair == "replace")
    assert found(dataset) == whole and left_behind(dataset) == []


def test_custom_metrics_are_stored_with_the_results(dataset: fo.Dataset) -> None:
    results = evaluate(dataset, "pred", "gt", "ev")
    results.custom_metrics["mine"] = {"key": "mine", "value": 0.5, "label": "Mine", "lower_is_better": False}
    results.save()
    dataset.reload()
    assert dataset.load_evaluation_results("ev", cache=False).metrics()["mine"] == 0.5
    assert left_behind(dataset) == []
