"""Wraps the few private attributes of FiftyOne that we need, so that a FiftyOne upgrade can only break this file."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import copy
from datetime import datetime, timezone
from typing import Any, Literal
from uuid import uuid4

import fiftyone as fo
import fiftyone.core.frame as fofr
import fiftyone.core.models as fom
import fiftyone.core.odm as foo
from bson import ObjectId, json_util
from pymongo import UpdateMany, UpdateOne
from pymongo.errors import PyMongoError

from fiftyone_resclip.errors import DatasetError

_FRAMES = "frames."
#: The attribute with the file of a label, by type of label.
_FILES = {"fiftyone.core.labels.Segmentation": "mask_path", "fiftyone.core.labels.Heatmap": "map_path"}
_SAMPLES_AT_ONCE = 10_000
_STAGES_CHARS = 50_000  # a run stores up to twenty of them in one document of the database
_MARK = "fiftyone_resclip_writer"  # FiftyOne ignores what it does not know in a dataset's document


def dataset_of(samples: Any) -> Any:
    """Returns the dataset that a collection reads from; for views of patches, clips and frames, this is a generated copy."""
    return samples._dataset


def root_dataset_of(samples: Any) -> Any:
    """Returns the dataset that the user opened, also for views of patches, clips and frames."""
    return samples._root_dataset


def dataset_id(dataset: Any) -> Any:
    """Returns a dataset's id in the database, which survives renaming."""
    return dataset._doc.id


def database() -> Any:
    """Returns the pymongo database that FiftyOne uses."""
    return foo.get_db_conn()


def database_uri() -> str:
    """Returns the address of the database that FiftyOne uses; that of a ``mongod`` it started itself if none is configured."""
    if fo.config.database_uri:
        return str(fo.config.database_uri)
    host, port = database().client.address
    return f"mongodb://{host}:{port}"


def stored(dataset: Any) -> Any:
    """Returns a dataset's document as it is in the database now; ``None`` if the dataset was deleted."""
    return database().datasets.find_one({"_id": dataset_id(dataset)})


def field_documents(dataset: Any) -> dict[str, Any]:
    """Returns the documents of a dataset's fields as they are in the database now, by name; ``frames.<name>`` for frames."""
    document = stored(dataset) or {}
    of_frames = {_FRAMES + field["name"]: field for field in document.get("frame_fields") or ()}
    return {field["name"]: field for field in document.get("sample_fields") or ()} | of_frames


def refresh(dataset: Any) -> None:
    """Loads a dataset's document, which other processes may have changed; unsaved changes of this process are saved first.

    Raises:
        DatasetError: if the dataset was deleted
    """
    if stored(dataset) is None:
        raise DatasetError(f"dataset {dataset.name!r} was deleted in the meantime")
    dataset.save()
    dataset._doc.reload()
    for documents, known in (
        (dataset._doc.sample_fields, dataset._sample_doc_cls),
        (dataset._doc.frame_fields, dataset._frame_doc_cls),
    ):
        if known is not None:
            _adopt(dataset, {document.name: document for document in documents}, known)


@contextmanager
def fenced(dataset: Any, check: Callable[[], None]) -> Iterator[None]:
    """Leaves a mark in a dataset's document; while the block lasts, FiftyOne changes the document only if that mark is there.

    Args:
        dataset: a FiftyOne dataset
        check: raises an error if this process may not leave its mark
    """
    mark, document = {_MARK: uuid4().hex}, dataset._doc

    def change(key: Any, updates: Any, upsert: bool) -> bool:
        if database().datasets.update_one({"_id": key, **mark}, updates).matched_count:
            return True
        check()
        raise DatasetError(f"dataset {dataset.name!r} was deleted or changed by another process in the meantime; try again")

    database().datasets.update_one({"_id": document.id}, {"$set": mark})
    check()
    document._do_updates = change
    try:
        yield
    finally:
        if document.__dict__.get("_do_updates") is change:
            del document.__dict__["_do_updates"]


def change_document(dataset: Any, update: dict[str, Any]) -> None:
    """Changes a dataset's document in the database, past this process's copy; like FiftyOne's own changes, see :func:`fenced`.

    Args:
        dataset: a FiftyOne dataset
        update: a MongoDB update
    """
    dataset._doc._do_updates(dataset_id(dataset), update, False)


def discard_changes(dataset: Any) -> None:
    """Forgets changes of a dataset's document that this process has not saved, even if the database is away."""
    dataset._doc._clear_changed_fields()
    with suppress(PyMongoError, DatasetError):
        refresh(dataset)


def _adopt(dataset: Any, documents: dict[str, Any], known: Any) -> None:
    """Teaches a class of samples or frames the stored fields; ``dataset.reload()`` would discard unsaved changes of samples."""
    for name in [name for name in documents if name not in known._fields]:  # in the stored order
        known._declare_field(dataset, name, documents[name])
    for name in set(known._fields_ordered) - documents.keys() - known.__base__._fields.keys():
        known._undeclare_field(name)


def with_all_fields(samples: Any) -> Any:
    """Returns a collection without the stages that hide fields."""
    if not isinstance(samples, fo.DatasetView):
        return samples
    view = copy(samples)
    view._stages[:] = [stage for stage in view._stages if not isinstance(stage, (fo.SelectFields, fo.ExcludeFields))]
    return view


def stages_of(samples: Any) -> list[str]:
    """Describes the stages of a view, each in one line; empty for a whole dataset."""
    return [str(stage) for stage in getattr(samples, "_stages", ())]


def stored_stages(samples: Any) -> str | None:
    """Returns the stages of a view as JSON, for :func:`with_stages`; ``None`` if they are too long to store."""
    text = json_util.dumps(samples.view()._serialize())
    return text if len(text) <= _STAGES_CHARS else None


def with_stages(dataset: Any, stages: str) -> Any:
    """Returns the view of a dataset that :func:`stored_stages` describes."""
    return fo.DatasetView._build(dataset, json_util.loads(stages))


def reload_samples(dataset: Any, sample_ids: Any = None) -> None:
    """Reloads the samples that this process holds in memory, by default all, after their documents were changed directly."""
    fo.Sample._reload_docs(dataset._sample_collection_name, sample_ids=sample_ids)
    if dataset._frame_collection_name:
        fofr.Frame._reload_docs(dataset._frame_collection_name, sample_ids=sample_ids)


def is_frames_view(samples: Any) -> bool:
    """Returns whether the samples of a collection are frames of videos."""
    return bool(getattr(samples, "_is_frames", False))


def is_frame_field(samples: Any, field: str) -> bool:
    """Returns whether a field belongs to the frames of videos."""
    return bool(samples._is_frame_field(field))


def sidebar(dataset: Any, group: str, add: Iterable[str] = (), remove: Iterable[str] = ()) -> dict[str, Any]:
    """Computes the App's sidebar with paths added to a group or removed.

    Args:
        dataset: a FiftyOne dataset
        group: name of the group
        add (()): paths to add
        remove (()): paths to remove from all groups

    Returns:
        new values by key of the dataset's document
    """
    config = dataset.app_config.copy()
    config._add_paths_to_sidebar_group(add, group, dataset=dataset)
    config._delete_paths(remove)
    if config.sidebar_groups:
        config.sidebar_groups = [known for known in config.sidebar_groups if known.paths or known.name != group]
    values = config.to_mongo()
    return {f"app_config.{name}": values[name] for name in ("active_fields", "sidebar_groups") if values.get(name) is not None}


def arguments_of(call: Literal["apply_model", "compute_embeddings"]) -> dict[str, Any] | None:
    """Returns the arguments of a call of FiftyOne's that is under way in this thread; ``None`` outside of one.

    FiftyOne tells a model neither what it is used for, nor the field, nor whether failures are to be skipped.
    """
    frame, code = sys._getframe(), getattr(fom, call).__code__
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back  # type: ignore[assignment]  # None after the outermost frame
    return None if frame is None else dict(frame.f_locals)


def sample_collection(dataset: Any) -> Any:
    """Returns the pymongo collection that holds a dataset's samples."""
    return dataset._sample_collection


def write_samples(dataset: Any, operations: list[Any], ids: list[Any]) -> int:
    """Changes samples in the database and, if they are loaded, in this process.

    Args:
        dataset: a FiftyOne dataset
        operations: pymongo's operations on the samples; FiftyOne can't load a sample that has a value in an undeclared field
        ids: the ids of the samples

    Returns:
        how many samples were changed
    """
    results = foo.bulk_write(operations, sample_collection(dataset))
    fo.Sample._reload_docs(dataset._sample_collection_name, sample_ids=ids)
    return sum(result.modified_count for result in results)


def write_labels(samples: Any, labels: Mapping[str, Mapping[str, Any]]) -> None:
    """Sets fields of samples, or of frames in a view of frames and in their videos; all fields of a sample in one write.

    Args:
        samples: a FiftyOne dataset, or a view of frames
        labels: label by field, by id of the sample or frame; the fields are declared
    """
    dataset, now = dataset_of(samples), datetime.now(timezone.utc)
    updates = {ObjectId(key): {name: label.to_dict() for name, label in fields.items()} for key, fields in labels.items()}
    operations = [UpdateOne({"_id": key}, {"$set": {**fields, "last_modified_at": now}}) for key, fields in updates.items()]
    write_samples(dataset, operations, list(labels))
    if is_frames_view(samples):
        names = list({name for fields in labels.values() for name in fields})
        frames = samples.select(list(labels))  # or each batch would copy all frames to the videos
        frames._sync_source(fields=names, ids=list(labels))


def labels_of(
    dataset: Any, field: str, ids: Sequence[str], heatmaps: str | None = None
) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Returns the labels that samples of any group slice, or frames, have in a field, as they are in the database now.

    Args:
        dataset: a FiftyOne dataset
        field: name of a field of masks; starts with ``frames.`` for a field of video frames
        ids: the ids of the samples or frames
        heatmaps (None): a field of heat maps whose files count, too

    Returns:
        id and files (none if the database holds the mask) of each label, by id of its sample or frame
    """
    collection, name = _place(dataset, field)
    places = [(name, "mask_path")] + ([] if heatmaps is None else [(heatmaps.removeprefix(_FRAMES), "map_path")])
    found, shown = {}, {f"{name}._id": 1, **{f"{place}.{key}": 1 for place, key in places}}
    for some in _parts(ids):
        for document in collection.find({"_id": {"$in": some}, f"{name}._id": {"$exists": True}}, shown):
            files = [(document.get(place) or {}).get(key) for place, key in places]
            found[str(document["_id"])] = str(document[name]["_id"]), tuple(path for path in files if path is not None)
    return found


def files_of(dataset: Any, field: str) -> Iterator[str]:
    """Yields the file of each mask or heat map in a field, in all group slices; the field may be ``frames.<name>``."""
    collection, name = _place(dataset, field)
    keys = [f"{name}.{key}" for key in _FILES.values()]
    for document in collection.find({"$or": [{key: {"$type": "string"}} for key in keys]}, dict.fromkeys(keys, 1)):
        yield from document[name].values()


def named_in(folders: Iterable[str], besides: tuple[Any, Collection[str]] | None = None) -> set[str]:
    """Returns those files in some folders that a label of any dataset of this database names as its mask or heat map.

    Args:
        folders: the folders
        besides (None): a dataset and fields of it whose labels don't matter

    Returns:
        paths; copies of samples that FiftyOne makes for views of frames, clips and patches don't count
    """
    inside = {"$regex": f"^({'|'.join(map(re.escape, folders))})[/\\\\]"}
    found: set[str] = set()
    parts = (("sample_collection_name", "sample_fields", ""), ("frame_collection_name", "frame_fields", _FRAMES))
    for dataset in database().datasets.find({"sample_collection_name": {"$regex": r"^samples\."}}):
        for collection, fields, prefix in parts:
            known = [field for field in dataset.get(fields) or () if field.get("embedded_doc_type") in _FILES]
            if besides is not None and dataset["_id"] == dataset_id(besides[0]):
                known = [field for field in known if prefix + field["name"] not in besides[1]]
            places = [(field.get("db_field") or field["name"], _FILES[field["embedded_doc_type"]]) for field in known]
            names = [f"{name}.{key}" for name, key in places]
            conditions = {"$or": [{name: inside} for name in names]}
            for document in database()[dataset[collection]].find(conditions, dict.fromkeys(names, 1)) if names else ():
                found.update(path for name, key in places if (path := (document.get(name) or {}).get(key)))
    return found


def count_samples(dataset: Any, sample_ids: Sequence[str]) -> int:
    """Counts those samples that are in the database now."""
    return int(sample_collection(dataset).count_documents({"_id": {"$in": [ObjectId(sample) for sample in sample_ids]}}))


def count_labels(dataset: Any, field: str) -> int:
    """Counts the labels in a field, in all group slices; the name of a field of frames starts with ``frames.``."""
    collection, name = _place(dataset, field)
    return int(collection.count_documents({f"{name}._id": {"$exists": True}}))


def remove_labels(
    dataset: Any, field: str, ids: Sequence[str], labels: Sequence[str] | None = None, *, companions: Iterable[str] = ()
) -> None:
    """Removes the labels that samples of any group slice, or frames, have in a field, whether or not it is still declared.

    Args:
        dataset: a FiftyOne dataset
        field: name of the field; that of a field of frames starts with ``frames.``
        ids: the ids of the samples or frames
        labels (None): the ids of the only labels to remove
        companions (()): fields that lose their values with those labels
    """
    collection, name = _place(dataset, field)
    only = {} if labels is None else {f"{name}._id": {"$in": [ObjectId(label) for label in labels]}}
    removed = dict.fromkeys([name, *(companion.removeprefix(_FRAMES) for companion in companions)], "")
    for some in _parts(ids):
        foo.bulk_write([UpdateMany({"_id": {"$in": some}, **only}, {"$unset": removed})], collection)
        if name == field:
            fo.Sample._reload_docs(dataset._sample_collection_name, sample_ids=some)
        else:
            fofr.Frame._reload_docs(dataset._frame_collection_name)


def _place(dataset: Any, field: str) -> tuple[Any, str]:
    """Returns the collection of the database that holds a field, and the name of the field there."""
    name = field.removeprefix(_FRAMES)
    return (sample_collection(dataset) if name == field else database()[dataset._frame_collection_name]), name


def _parts(ids: Sequence[str]) -> Iterator[list[ObjectId]]:
    for start in range(0, len(ids), _SAMPLES_AT_ONCE):
        yield [ObjectId(sample) for sample in ids[start : start + _SAMPLES_AT_ONCE]]
