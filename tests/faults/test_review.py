"""Reviews that are killed at any moment, done by several reviewers at once, large, or in fields with the work of others.

The processes that are killed or work at once are real ones, forked from one process because importing FiftyOne takes seconds.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from bson import ObjectId
from fiftyone.operators.store import ExecutionStore

from fiftyone_resclip.errors import DatasetError, ImageError
from fiftyone_resclip.explore import review
from fiftyone_resclip.fields import masks, schema
from fiftyone_resclip.fields.private import database, dataset_id

PARENT = r"""
import json, os, signal, sys, traceback
from pymongo import monitoring

class Writes(monitoring.CommandListener):
    count, kill_at = 0, None
    def started(self, event):
        if event.command_name in ("insert", "update", "delete", "findAndModify"):
            if Writes.count == Writes.kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            Writes.count += 1
    def succeeded(self, event): pass
    def failed(self, event): pass

monitoring.register(Writes())
import warnings
import fiftyone as fo
from fiftyone_resclip.explore import review
from fiftyone_resclip.fields import leases
warnings.simplefilter("ignore")  # PyMongo does not recommend to fork

def child(name, code, kill_at, output):
    here = {"fo": fo, "review": review, "dataset": fo.load_dataset(name), "result": None}
    Writes.count, Writes.kill_at = 0, kill_at
    if kill_at is not None:
        leases._LEASE_MS = 300  # so that what a killed process held is free soon
    exec(code, here)
    os.write(output, json.dumps([here["result"], Writes.count]).encode())

for line in sys.stdin:
    name, codes, kill_at = json.loads(line)
    children = []
    for code in codes:
        theirs, ours = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                child(name, code, kill_at, ours)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        os.close(ours)
        children.append((pid, theirs))
    results = []
    for pid, pipe in children:
        with os.fdopen(pipe) as output:
            text = output.read()
        results.append([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), json.loads(text or "null")])
    print(json.dumps(results), flush=True)
"""

MakeMasks = Callable[..., fo.Dataset]
Processes = Callable[..., list[Any]]


@pytest.fixture(scope="module")
def processes() -> Iterator[Processes]:
    """Runs code in processes of their own, all at the same time; returns each one's exit code, result and number of writes."""
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdin and parent.stdout

        def run(dataset: fo.Dataset, *codes: str, kill_at: int | None = None) -> list[Any]:
            print(json.dumps([dataset.name, codes, kill_at]), file=parent.stdin, flush=True)
            return [(status, *(found or (None, None))) for status, found in json.loads(parent.stdout.readline())]

        yield run


@pytest.fixture
def make() -> Iterator[MakeMasks]:
    """Makes datasets with masks in ``pred``: without files, or with a file for each."""
    made: list[fo.Dataset] = []

    def build(count: int, folder: Path | None = None) -> fo.Dataset:
        made.append(dataset := fo.Dataset())
        schema.declare_field(dataset, "pred", {1: "cloth", 2: "snow"})
        for number in range(count):
            mask = np.zeros((12, 16), np.uint8)
            mask[1:4, 1 : 4 + number % 5] = mask[6:10, 2:9] = 1
            mask[2:5, 11:15] = 1 + number % 2
            sample = fo.Sample(filepath=f"/nowhere/{number}.png")
            dataset.add_sample(sample)
            sample["pred"] = fo.Segmentation(mask=mask)
            if folder:
                path = folder / f"{sample.id}.png"
                masks.write_mask(mask, path)
                sample["pred"] = fo.Segmentation(mask_path=str(path))
            sample.save()
        return dataset

    yield build
    for dataset in made:
        if not dataset.deleted:
            dataset.delete()


def ten(writes: int) -> list[int]:
    """Ten moments of a step with so many writes, from the first to the last."""
    return [round(moment * (writes - 1) / 9) for moment in range(10)]


def values(dataset: fo.Dataset, field: str) -> list[Any]:
    """Everything about the values of a field but their ids and folders."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items() if key not in ("_id", "mask_path")}
        return [plain(item) for item in value] if isinstance(value, list) else value

    return [plain(sample.get(field)) for sample in dataset._sample_collection.find()]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def folder_of(dataset: fo.Dataset) -> str:
    return str(dataset_id(dataset))


MARK = 'result = review.mark(dataset, "pred", dataset.values("id")[::2], "keep")'
UNDO = 'result = review.undo(dataset, "pred")'
MARK_ONE = 'result = review.mark(dataset, "pred", dataset.values("id")[-1:], "discard")'
CONVERT = 'result = review.convert(dataset, "pred", "shapes", "detections")'
COPY = 'result = review.copy_kept(dataset, "pred", "gold")'


def test_killed_verdicts_and_undos_are_completed_by_repeating_them(make: MakeMasks, processes: Processes) -> None:
    base = make(2)
    document = base._sample_collection.find_one()
    base._sample_collection.insert_many([{**document, "_id": ObjectId()} for _ in range(1200)])
    dataset = base.clone()
    [(_, count, writes)] = processes(dataset, MARK)
    expected = values(dataset, "pred_review")
    assert count == expected.count("keep") == 601
    [(_, description, undo_writes)] = processes(dataset, UNDO)
    dataset.delete()
    for moment, undo_moment in zip(ten(writes), ten(undo_writes - 2), strict=True):  # after those two, the step is gone
        dataset = base.clone()
        [(status, *_)] = processes(dataset, MARK, kill_at=moment)
        assert status == -9
        assert review.mark(dataset, "pred", dataset.values("id")[::2], "keep") == 601
        assert values(dataset, "pred_review") == expected
        [(status, *_)] = processes(dataset, UNDO, kill_at=undo_moment)
        assert status == -9
        again = review.undo(dataset, "pred")
        assert again == description or (again and undo_moment)  # counts what the killed process had left
        assert set(values(dataset, "pred_review")) == {None}
        assert review.undo(dataset, "pred") is None
        dataset.delete()


@pytest.mark.parametrize(("code", "field"), [(CONVERT, "shapes"), (COPY, "gold")], ids=["convert", "copy"])
def test_killed_conversions_and_copies_are_finished_or_undone(
    code: str, field: str, make: MakeMasks, processes: Processes, tmp_path: Path
) -> None:
    base = make(120, tmp_path)
    review.mark(base, "pred", base.values("id")[:110], "keep")
    dataset, originals = base.clone(), files(tmp_path)
    processes(dataset, MARK_ONE)
    [(status, count, writes)] = processes(dataset, code)
    assert (status, count) == (0, 110)
    expected = values(dataset, field)
    if code == COPY:
        assert expected == [*values(base, "pred")[:110], *[None] * 10]
        copies = files(tmp_path / folder_of(dataset))
        assert copies == {f"gold/{name}": originals[name] for name in sorted(originals)[:110]}
        shutil.rmtree(tmp_path / folder_of(dataset))
    dataset.delete()
    said: list[str] = []
    for turn, moment in enumerate(ten(writes)):
        dataset = base.clone()
        processes(dataset, MARK_ONE)
        [(status, *_)] = processes(dataset, code, kill_at=moment)
        assert status == -9
        if turn % 2:
            how = f"field {field!r} is not finished; if what makes it was interrupted, repeat that to go on, or undo it"
            said += review.unfinished(dataset, "pred")
            assert set(said) <= {how}
            assert processes(dataset, code)[0][:2] == (0, 110)
            assert review.unfinished(dataset, "pred") == []
            assert values(dataset, field) == expected
            copies = files(tmp_path / folder_of(dataset))
            assert len(copies) == (110 if code == COPY else 0)
        undone = review.undo(dataset, "pred")
        assert undone.startswith(f"field {field!r}") or (moment < 12 and not turn % 2)  # it was killed before it had begun
        if undone.startswith("field"):
            assert review.undo(dataset, "pred") == "verdict on 1 sample undone"
        assert not dataset.has_sample_field(field)
        assert review.counts(dataset, "pred")["keep"] == 110
        assert files(tmp_path) == originals
        dataset.delete()
    assert said


def test_undo_takes_back_what_its_own_step_made(make: MakeMasks, tmp_path: Path) -> None:
    dataset = make(12, tmp_path)
    ids = dataset.values("id")
    dataset.clone_sample_field("pred", "other")
    dataset.mask_targets = {**dataset.mask_targets, "other": dataset.mask_targets["pred"]}
    review.mark(dataset, "pred", ids[:3], "keep")
    review.mark(dataset, "other", ids[3:8], "keep")
    assert review.copy_kept(dataset, "pred", "gold") == 3
    assert review.copy_kept(dataset, "other", "gold") == 5
    drawn = dataset[ids[8]]
    drawn["gold"] = fo.Segmentation(mask=np.ones((4, 4), np.uint8))
    drawn.save()
    corrected, repainted = dataset[ids[0]], dataset[ids[1]]
    corrected.gold.confidence = 0.25
    corrected.save()
    masks.write_mask(np.zeros((12, 16), np.uint8), Path(repainted.gold.mask_path))
    before = files(tmp_path)
    assert review.undo(dataset, "pred") == "1 labels removed from 'gold'; 2 that have changed since are still there"
    assert [sample.id for sample in dataset.exists("gold")] == [*ids[:2], *ids[3:9]]
    assert set(before) - set(files(tmp_path)) == {f"{folder_of(dataset)}/gold/{ids[2]}.png"}
    assert review.undo(dataset, "other") == "5 labels removed from 'gold'"
    assert [sample.id for sample in dataset.exists("gold")] == [*ids[:2], ids[8]]
    assert review.undo(dataset, "pred") == "verdict on 3 samples undone"


def test_a_verdict_that_was_changed_since_is_left_alone(make: MakeMasks) -> None:
    dataset = make(4)
    ids = dataset.values("id")
    review.mark(dataset, "pred", ids, "keep")
    dataset.set_values("pred_review", {ids[1]: "fix later", ids[2]: None}, key_field="id")
    assert review.undo(dataset, "pred") == "verdict on 2 samples undone; 2 that have changed since were left alone"
    assert dataset.values("pred_review") == [None, "fix later", None, None]


def test_copies_never_replace_the_files_of_another_field(make: MakeMasks, tmp_path: Path) -> None:
    dataset = make(6, tmp_path)
    ids = dataset.values("id")
    dataset.add_sample_field("other", fo.EmbeddedDocumentField, embedded_doc_type=fo.Segmentation)
    for folder in (tmp_path / "kept", tmp_path / folder_of(dataset) / "kept"):
        for sample in dataset:
            masks.write_mask(np.full((4, 4), 2, np.uint8), path := folder / f"{sample.id}.png")
            sample["other"] = fo.Segmentation(mask_path=str(path))
            sample.save()
        before = files(folder)
        review.mark(dataset, "pred", ids, "keep")
        assert review.copy_kept(dataset, "pred", "kept") == 6
        assert before.items() <= files(folder).items()
        assert all(
            masks.read_mask(sample.other).max() == 2 and masks.read_mask(sample.kept).shape == (12, 16) for sample in dataset
        )
        assert review.undo(dataset, "pred") == "field 'kept' removed"
        assert before == files(folder)


@pytest.mark.parametrize("name", ["../x", "{outside}", "a/b", "a\\b", "..", "", "_x", "a.b", "$x", None])
def test_fields_whose_name_leads_elsewhere_are_refused(name: str | None, make: MakeMasks, tmp_path: Path) -> None:
    dataset = make(2, tmp_path / "masks")
    review.mark(dataset, "pred", dataset.values("id"), "keep")
    name, before, schema_before = name and name.format(outside=tmp_path / "x"), files(tmp_path), dataset.get_field_schema()
    for use in (review.copy_kept, review.convert):
        with pytest.raises(DatasetError, match="the name of a new field must not be"):
            use(dataset, "pred", name)
    assert files(tmp_path) == before and dataset.get_field_schema().keys() == schema_before.keys()
    assert review.undo(dataset, "pred") == "verdict on 2 samples undone"


def test_a_mask_that_is_gone_or_a_pipe_costs_only_itself(
    make: MakeMasks, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = make(4, tmp_path)
    paths = [Path(path) for path in dataset.values("pred.mask_path")]
    paths[0].unlink()
    paths[1].unlink()
    os.mkfifo(paths[1])
    review.mark(dataset, "pred", dataset.values("id"), "keep")
    assert review.copy_kept(dataset, "pred", "gold") == 2
    assert "2 masks of 'pred' were left out, the first because" in caplog.text
    paths[1].unlink()
    assert review.convert(dataset, "pred", "shapes") == 2
    assert [value is not None for value in dataset.values("shapes")] == [False, False, True, True]


def test_a_folder_that_can_not_be_written_stops_a_copy_that_can_go_on(make: MakeMasks, tmp_path: Path) -> None:
    dataset = make(4, tmp_path)
    review.mark(dataset, "pred", dataset.values("id"), "keep")
    blocked = tmp_path / folder_of(dataset)
    blocked.write_text("a file where a folder should be")
    with pytest.raises(ImageError, match="then copy again to go on, or undo"):
        review.copy_kept(dataset, "pred", "gold")
    blocked.unlink()
    assert review.copy_kept(dataset, "pred", "gold") == 4
    assert review.undo(dataset, "pred") == "field 'gold' removed"
    assert review.undo(dataset, "pred") == "verdict on 4 samples undone"


def test_no_step_of_four_reviewers_is_lost(make: MakeMasks, processes: Processes) -> None:
    dataset = make(100)
    one_by_one = """
for sample_id in dataset.values("id")[{0} * 25 : {0} * 25 + 25]:
    review.mark(dataset, "pred", [sample_id], review.VERDICTS[{0} % 3])
result = review.revision(dataset, "pred")
"""
    done = processes(dataset, *(one_by_one.format(number) for number in range(4)))
    assert [status for status, *_ in done] == [0] * 4
    dataset.reload()
    assert dataset.values("pred_review") == [review.VERDICTS[number // 25 % 3] for number in range(100)]
    assert max(revision for _, revision, _ in done) == review.revision(dataset, "pred") == 100
    undo_all = 'result = [review.undo(dataset, "pred") for _ in range(25)]'
    done = processes(dataset, *[undo_all] * 4)
    assert [description for _, result, _ in done for description in result] == ["verdict on 1 sample undone"] * 100
    assert set(dataset.values("pred_review")) == {None} and review.undo(dataset, "pred") is None


def test_verdicts_of_four_reviewers_on_the_same_samples_are_never_mixed(make: MakeMasks, processes: Processes) -> None:
    dataset = make(40)
    again_and_again = """
import random
for _ in range(10):
    review.mark(dataset, "pred", dataset.values("id"), random.choice(review.VERDICTS))
    if random.random() < 0.3:
        review.undo(dataset, "pred")
"""
    assert [status for status, *_ in processes(dataset, *[again_and_again] * 4)] == [0] * 4
    dataset.reload()
    assert len(set(dataset.values("pred_review"))) == 1
    while description := review.undo(dataset, "pred"):
        assert description == "verdict on 40 samples undone"
    assert set(dataset.values("pred_review")) == {None}


@pytest.mark.parametrize(("code", "field"), [(CONVERT, "shapes"), (COPY, "gold")], ids=["convert", "copy"])
def test_what_another_reviewer_undoes_while_it_is_made_leaves_nothing(
    code: str, field: str, make: MakeMasks, processes: Processes, tmp_path: Path
) -> None:
    dataset = make(400, tmp_path)
    originals = files(tmp_path)
    review.mark(dataset, "pred", dataset.values("id"), "keep")
    undo = f"""
import time
deadline = time.monotonic() + 20
while not dataset.has_sample_field({field!r}) and time.monotonic() < deadline:
    dataset.reload()
time.sleep({{seconds}})
result = review.undo(dataset, "pred")
"""
    make_it = f"try:\n    {code}\nexcept Exception as error:\n    result = str(error)"
    for seconds in (0, 0.05, 0.1):
        [(_, made, _), (_, undone, _)] = processes(dataset, make_it, undo.format(seconds=seconds))
        assert "removed" in undone
        assert made in (400, f"the labels in {field!r} were removed while they were being made")
        dataset.reload()
        assert not dataset.has_sample_field(field)
        assert not dataset._sample_collection.count_documents({field: {"$exists": True}})
        assert files(tmp_path) == originals


def test_a_copy_that_goes_on_leaves_out_masks_that_were_replaced(make: MakeMasks, processes: Processes) -> None:
    dataset = make(120)
    review.mark(dataset, "pred", dataset.values("id"), "keep")
    [(_, _, writes)] = processes(twin := dataset.clone(), COPY)
    twin.delete()
    [(status, *_)] = processes(dataset, COPY, kill_at=writes - 5)
    assert status == -9
    copied = dataset._sample_collection.count_documents({"gold": {"$ne": None}})
    assert 0 < copied < 120
    last = dataset.last()
    last["pred"] = fo.Segmentation(mask=np.ones((4, 4), np.uint8))
    last.save()
    assert review.copy_kept(dataset, "pred", "gold") == 119
    assert dataset.last().gold is None


@pytest.mark.slow
def test_many_samples_are_marked_many_times(make: MakeMasks) -> None:
    dataset = make(1)
    document = dataset._sample_collection.find_one()
    dataset._sample_collection.insert_many([{**document, "_id": ObjectId()} for _ in range(39_999)])
    ids = dataset.values("id")
    for step in range(12):
        assert review.mark(dataset, "pred", ids, review.VERDICTS[step % 3]) == 40_000
    assert review.undo(dataset, "pred") == "verdict on 40000 samples undone"
    assert review.counts(dataset, "pred") == {"keep": 0, "discard": 40_000, "fix later": 0, "open": 0}


def test_the_history_goes_with_its_dataset(make: MakeMasks) -> None:
    gone = make(2)
    review.mark(gone, "pred", gone.values("id"), "keep")
    collections = [database()[f"fiftyone_resclip.review{kind}"] for kind in ("s", "_steps", "_parts")]
    of_gone = {"dataset": dataset_id(gone)}
    assert [collection.count_documents(of_gone) for collection in collections] == [1, 1, 1]
    gone.delete()
    dataset = make(2)
    review.mark(dataset, "pred", dataset.values("id"), "keep")
    assert [collection.count_documents(of_gone) for collection in collections] == [0, 0, 0]


def test_the_history_of_an_earlier_version_is_ignored(make: MakeMasks) -> None:
    dataset = make(2)
    old = ExecutionStore.create("fiftyone-resclip.review", dataset_id(dataset))
    old.set("pred", [1, [{"verdicts": dict.fromkeys(dataset.values("id"))}]])
    assert review.revision(dataset, "pred") == 0 and review.undo(dataset, "pred") is None
