"""Stores, replaces and removes an evaluation in one step: it is there whole or not at all, whenever a process is killed.

Results, run and values are first written where nothing shows them. One change of the dataset's document then shows them all. What
a killed process left is removed before the next evaluation under the same key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from copy import deepcopy
from datetime import datetime, timezone
from functools import partial
from typing import Any

import fiftyone as fo
from bson import ObjectId, json_util
from gridfs import GridFS

from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.evaluation import staging
from fiftyone_resclip.evaluation.settings import METHOD
from fiftyone_resclip.fields.leases import held
from fiftyone_resclip.fields.private import database, dataset_id, refresh, reload_samples, sidebar, stored

_ATTEMPTS = 3


def claimed(dataset: fo.Dataset, key: str) -> AbstractContextManager[Callable[[], None]]:
    """Keeps other processes from storing, replacing or removing the evaluation of a key; waits while one of them does so.

    Args:
        dataset: a FiftyOne dataset
        key: the evaluation's key

    Returns:
        a context manager, see :func:`~fiftyone_resclip.fields.leases.held`
    """
    return held(f"evaluation/{dataset_id(dataset)}/{key}", f"evaluation {key!r}")


def store(
    dataset: fo.Dataset,
    key: str,
    fields: staging.Fields,
    known: staging.Fields,
    values: Callable[[], staging.Values],
    run: Mapping[str, Any],
    results: Any,
    replaced: Callable[[], staging.Fields],
    number: ObjectId,
) -> None:
    """Stores an evaluation, or replaces one. Waits while another process stores one under the same key.

    Repeating it with the same number does no harm, as when the database went away in between.

    Args:
        dataset: a FiftyOne dataset
        key: the evaluation's key
        fields: the fields of the run
        known: all fields that a run of this key may have
        values: returns their values
        run: FiftyOne's description of the run, as it is stored
        results: FiftyOne's results
        replaced: returns the fields of the run that is replaced, or raises an error if the key can't be used
        number: a new id, which becomes the id of the run

    Raises:
        DatasetError: if the dataset was deleted, or another program keeps removing the fields
    """
    with claimed(dataset, key) as check:
        _tidy(dataset, key, known)
        if _whole(dataset, key, fields, number):
            return
        old = replaced()
        try:
            _insert_run({**run, "_id": number, "_dataset_id": dataset_id(dataset), "key": key}, results)
            places = staging.stage(dataset, fields, number)
            staging.write(dataset, places, values())
            for _ in range(_ATTEMPTS):
                with staging.changing(dataset, partial(staging.copy, dataset, fields, number)) as (document, update):
                    check()
                    update["$set"] |= staging.shown(document, fields, places, old, number)
                    update["$set"] |= sidebar(dataset, key, add=fields.get(staging.SAMPLES, ()))
                    update["$set"][f"evaluations.{key}"] = number
                _tidy(dataset, key, known)
                if _whole(dataset, key, fields, number):
                    return
                places = {level: {name: name for name in classes} for level, classes in fields.items()}
        finally:
            _tidy(dataset, key, known)
    raise DatasetError(f"another program keeps removing the fields of evaluation {key!r}; close it, and evaluate again")


def finish(dataset: fo.Dataset, key: str, known: staging.Fields) -> None:
    """Finishes what a killed process began: copies the values of a run that replaced another one.

    Args:
        dataset: a FiftyOne dataset
        key: the evaluation's key
        known: all fields that a run of this key may have
    """
    document = stored(dataset)
    if document is not None and staging.is_waiting(document, document["evaluations"].get(key)):
        with claimed(dataset, key):
            _tidy(dataset, key, known)
        reload_samples(dataset)


def description(samples: Any, config: Any) -> dict[str, Any]:
    """Describes a run as FiftyOne stores it.

    Args:
        samples: the collection that was evaluated
        config: FiftyOne's settings of the method

    Returns:
        values by key
    """
    run = {"version": fo.__version__, "timestamp": datetime.now(timezone.utc), "config": deepcopy(config.serialize())}
    if isinstance(samples, fo.DatasetView):
        run["view_stages"] = [json_util.dumps(stage) for stage in samples._serialize(include_uuids=False)]
    return run


def tidy(dataset: fo.Dataset, key: str, known: staging.Fields) -> None:
    """Removes what a killed process left under a key.

    Args:
        dataset: a FiftyOne dataset
        key: the evaluation's key
        known: all fields that a run of this key may have
    """
    with claimed(dataset, key):
        _tidy(dataset, key, known)


def remove(dataset: fo.Dataset, key: str, fields: staging.Fields, known: staging.Fields) -> None:
    """Removes an evaluation with its fields.

    Args:
        dataset: a FiftyOne dataset
        key: the evaluation's key
        fields: its fields; missing ones are ignored
        known: all fields that a run of this key may have
    """
    with claimed(dataset, key):
        _tidy(dataset, key, known)  # values that a killed process left would be declared by no field otherwise
        with staging.changing(dataset) as (document, update):
            update["$set"] |= staging.shown(document, {level: {} for level in fields}, {}, fields)
            update["$set"] |= sidebar(dataset, key, remove=[level.prefix + name for level in fields for name in fields[level]])
            update["$unset"] = {f"evaluations.{key}": ""}
        _tidy(dataset, key, fields)


def save_results(dataset: fo.Dataset, key: str, results: Any) -> None:
    """Replaces the results of a stored run in one step.

    Args:
        dataset: a FiftyOne dataset
        key: the evaluation's key
        results: FiftyOne's results
    """
    new = {"results": GridFS(database()).put(_encoded(results)), "results_meta": results.get_meta()}
    old = database().runs.find_one_and_update({"_id": stored(dataset)["evaluations"][key]}, {"$set": new})
    _delete_results(old)
    refresh(dataset)


def _insert_run(run: Mapping[str, Any], results: Any) -> None:
    """Inserts a run that no dataset refers to. The run comes before its results, so that :func:`_tidy` finds both."""
    file = ObjectId()
    database().runs.insert_one({**run, "results": file, "results_meta": results.get_meta()})
    GridFS(database()).put(_encoded(results), _id=file, content_type="application/json")


def _delete_results(run: Mapping[str, Any]) -> None:
    if run.get("results") is not None:  # a run of an earlier version may have none
        GridFS(database()).delete(run["results"])


def _encoded(results: Any) -> bytes:
    return json_util.dumps(results.serialize()).encode()


def _tidy(dataset: fo.Dataset, key: str, fields: staging.Fields) -> None:
    """Removes what belongs to the key but isn't shown; finishes what is shown already."""
    shown = (stored(dataset) or {"evaluations": {}})["evaluations"].get(key)
    staging.settle(dataset, fields, shown)
    runs = database().runs
    ours = {"config.type": "segmentation", "config.method": METHOD}  # runs of other kinds may have the same key
    for run in runs.find({"_dataset_id": dataset_id(dataset), "key": key, **ours, "_id": {"$ne": shown}}):
        _delete_results(run)
        runs.delete_one({"_id": run["_id"]})


def _whole(dataset: fo.Dataset, key: str, fields: staging.Fields, number: ObjectId) -> bool:
    document = stored(dataset) or {"evaluations": {}}
    names = {level: set(classes) for level, classes in fields.items()}
    return document["evaluations"].get(key) == number and staging.declared(document, fields) == names
