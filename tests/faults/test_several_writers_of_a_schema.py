"""FiftyOne keeps a dataset's fields and class names in one document, which every process writes as a whole."""

from __future__ import annotations

from collections.abc import Callable

import fiftyone as fo
import pytest

from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.fields import schema
from fiftyone_resclip.fields.exclusive import exclusive
from fiftyone_resclip.fields.private import stored
from tests.faults import processes

MakeDataset = Callable[..., fo.Dataset]

DECLARE = """
import sys, fiftyone as fo
from fiftyone_resclip.fields.schema import declare_field
name, worker = sys.argv[1], sys.argv[2]
dataset = fo.load_dataset(name)
print("ready", flush=True)
sys.stdin.readline()
for round in range(30):
    declare_field(dataset, f"f{round}_{worker}", {1: worker, 2: str(round)})
"""


@pytest.mark.slow
def test_fields_that_processes_declare_at_the_same_time_all_stay(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(1)
    workers = [processes.start_plain(DECLARE, None, dataset.name, name) for name in "ab"]
    for worker in workers:
        assert worker.stdout and worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.communicate("go\n")
        assert worker.returncode == 0
    document = stored(dataset)
    expected = {f"f{number}_{name}": {"1": name, "2": str(number)} for number in range(30) for name in "ab"}
    assert expected.items() <= document["mask_targets"].items()
    assert expected.keys() <= {field["name"] for field in document["sample_fields"]}
    assert expected.keys() <= {field["path"] for field in document["app_config"]["color_scheme"]["fields"]}


def test_declaring_again_repairs_what_a_stale_writer_removed(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(1)
    schema.declare_field(dataset, "pred", {1: "car"})
    before = stored(dataset)
    lost = [field for field in before["sample_fields"] if field["name"] != "pred"]
    changes = {"sample_fields": lost, "mask_targets": {}}
    fo.core.odm.get_db_conn().datasets.update_one({"_id": before["_id"]}, {"$set": changes})
    schema.declare_field(dataset, "pred", {1: "car"})
    after = stored(dataset)
    assert [field["name"] for field in after["sample_fields"]] == [field["name"] for field in before["sample_fields"]]
    assert after["mask_targets"]["pred"] == {"1": "car"}


@pytest.mark.parametrize("by_others", [False, True])
def test_unsaved_changes_of_the_user_are_kept(make_dataset: MakeDataset, by_others: bool) -> None:
    dataset = make_dataset(1)
    dataset.info["by"] = "hand"
    sample = dataset.first()
    sample.tags.append("mine")
    if by_others:
        command = f"import fiftyone as fo; fo.load_dataset({dataset.name!r}).add_sample_field('theirs', fo.FloatField)"
        processes.run_plain(command)
    with exclusive(dataset):
        dataset.info["more"] = 1
    assert stored(dataset)["info"] == {"by": "hand", "more": 1}
    sample.save()
    assert dataset.count_sample_tags() == {"mine": 1}
    assert dataset.has_field("theirs") == by_others
    schema.declare_field(dataset, "pred", {1: "car"})
    sample["pred"] = fo.Segmentation()
    sample.save()
    assert dataset.count("pred") == 1


def test_a_deleted_dataset_is_named(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(1)
    fo.core.odm.get_db_conn().datasets.delete_one({"name": dataset.name})
    with pytest.raises(DatasetError, match="was deleted in the meantime"):
        schema.declare_field(dataset, "pred", {1: "car"})


def test_the_lock_of_a_killed_process_is_taken_over(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(1)
    holder = f"""
import os, fiftyone as fo
from fiftyone_resclip.fields import exclusive, leases
leases._LEASE_MS = 500
with exclusive.exclusive(fo.load_dataset({dataset.name!r})):
    os._exit(9)
"""
    process = processes.start_plain(holder, None)
    process.communicate(timeout=120)
    assert process.returncode == 9
    schema.declare_field(dataset, "pred", {1: "car"})
    assert stored(dataset)["mask_targets"]["pred"] == {"1": "car"}
