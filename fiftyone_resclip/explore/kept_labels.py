"""Makes the labels of a step of a review, which are copies or conversions of kept masks, and takes back exactly those.

What a step writes is recorded first. A label that has changed since is somebody's work, and undoing the step leaves it alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import bson
import fiftyone as fo
from bson import ObjectId
from pymongo import UpdateOne

from fiftyone_resclip.errors import DatasetError, ImageError
from fiftyone_resclip.explore import kept_files
from fiftyone_resclip.explore.kept_files import digest
from fiftyone_resclip.explore.review_history import History, Part, Step, batches
from fiftyone_resclip.fields import schema
from fiftyone_resclip.fields.exclusive import exclusive
from fiftyone_resclip.fields.private import refresh, sample_collection, stored, write_samples

logger = logging.getLogger(__name__)

_LABELS_PER_PART = 50  # their mask files are in memory at the same time
_CLASSES = {"masks": fo.Segmentation, "detections": fo.Detections, "polylines": fo.Polylines}


def begin(dataset: Any, history: History, kept: Any, to_field: str, *, form: str, instances: bool = True) -> Step | None:
    """Writes down which labels are to be made. The caller has the turn in the review.

    Args:
        dataset: a FiftyOne dataset
        history: of the review
        kept: a view of the samples with kept masks
        to_field: the field for the labels: new, or for masks also a field of masks with the same classes
        form: ``"masks"``, ``"detections"`` or ``"polylines"``
        instances (True): as in :func:`~fiftyone_resclip.explore.review.convert`

    Returns:
        the step; ``None`` if there is nothing to do

    Raises:
        DatasetError: if the name of the field is invalid, or the field holds or is about to hold something else
    """
    _check_name(to_field)
    targets = _targets(dataset, history)
    facts = {"to_field": to_field, "form": form, "instances": instances, "targets": targets}
    is_new = to_field not in dataset.get_field_schema()

    def parts() -> Iterator[Part]:
        refresh(dataset)  # now other processes can see this step, and this one sees what they did before that
        check(dataset, history, to_field, form, ours=1)
        if form != "masks" and not len(kept):
            raise DatasetError(f"no mask of {history.field!r} is kept yet, so there is nothing to convert")
        chosen = kept.exists(to_field, False) if to_field in dataset.get_field_schema() else kept
        for some in batches(list(zip(*chosen.values(["_id", f"{history.field}._id"]), strict=True)), _LABELS_PER_PART):
            ids, labels = zip(*some, strict=True)
            yield {"ids": list(ids), "labels": list(labels)}

    return history.begin("labels", parts(), new=is_new, **facts)


def check(dataset: Any, history: History, to_field: str, form: str, ours: int = 0) -> None:
    """Raises if a field can't take labels.

    Args:
        dataset: a FiftyOne dataset
        history: of the review
        to_field: the field for the labels
        form: as for :func:`begin`
        ours (0): how many of the steps that are about to write there may be the caller's own

    Raises:
        DatasetError: as :func:`begin`
    """
    _check_name(to_field)
    if form == "masks":
        _check_masks(dataset, history, to_field, _targets(dataset, history))
    elif len(history.writers(to_field)) > ours:
        raise DatasetError(f"field {to_field!r} is unfinished; repeat what was interrupted, undo it, or choose a new field")
    elif to_field in dataset.get_field_schema():
        raise DatasetError(f"field {to_field!r} already exists; choose a new one")


def make(dataset: Any, history: History, step: Step | None) -> int:
    """Makes those labels of a step that are missing. The caller needs no turn.

    Args:
        dataset: a FiftyOne dataset
        history: of the review
        step: of :func:`begin`; interrupted ones are finished, and several processes may do the same one

    Returns:
        number of samples of the step that have a label now; masks that can't be read are reported in the log

    Raises:
        DatasetError: if the step is undone, or its field is deleted, at the same time
        ImageError: if a mask file can't be written; the step can then be finished or undone
    """
    if step is None:
        return 0
    with exclusive(dataset):  # so that the field is declared before it is undone, or not at all
        if history.goes_on(step):
            _declare(dataset, step)
    count, failures, folders = 0, list[str](), set[Path]()
    for part in history.parts(step):
        folders |= kept_files.folders(part.get("made", {}))  # of an earlier attempt
        try:
            failures += _make_part(dataset, history, step, part)
        except ImageError:  # perhaps because the folder was removed together with the labels
            if _goes_on(dataset, history, step):
                raise
        if not _goes_on(dataset, history, step):
            _take_back_part(dataset, step, part)
            _remove_if_empty(dataset, history, step, folders | kept_files.folders(part.get("made", {})))
            raise DatasetError(f"the labels in {step['to_field']!r} were removed while they were being made")
        made = {"_id": {"$in": part["ids"]}, step["to_field"]: {"$ne": None}}
        count += sample_collection(dataset).count_documents(made)
    kept_files.remove_partial(folders, str(step["_id"]))
    history.finish(step)
    if failures:
        logger.warning("%d masks of %r were left out, the first because %s", len(failures), step["field"], failures[0])
    return count


def take_back(dataset: Any, history: History, step: Step) -> str:
    """Removes the unchanged labels of a step, with their files; also the field, if the step made it and it is empty then.

    Args:
        dataset: a FiftyOne dataset
        history: of the review; the caller has the turn
        step: of :func:`begin`

    Returns:
        what was removed
    """
    field = step["to_field"]
    with exclusive(dataset):  # after a process that is just declaring it
        if field not in dataset.get_field_schema():
            return f"field {field!r} was already removed"
    removed, left, folders = 0, 0, set[Path]()
    for part in history.parts(step):
        counts = _take_back_part(dataset, step, part)
        removed, left, folders = removed + counts[0], left + counts[1], folders | kept_files.folders(part.get("made", {}))
        history.stay()
    if _remove_if_empty(dataset, history, step, folders):
        return f"field {field!r} removed"
    return f"{removed} labels removed from {field!r}" + (f"; {left} that have changed since are still there" if left else "")


def _targets(dataset: Any, history: History) -> dict[str, str]:
    return _as_keys(dataset.mask_targets.get(history.field))


def _as_keys(targets: schema.MaskTargets | None) -> dict[str, str]:
    """Mask targets as the database can store them."""
    return {str(value): name for value, name in (targets or {}).items()}


def _check_name(field: str) -> None:
    if not isinstance(field, str) or not field or field.startswith((".", "_")) or any(sign in field for sign in "/\\.$:\0"):
        raise DatasetError(
            f"the name of a new field must not be empty, start with '_' or have any of / \\ . $ : in it, but is {field!r}"
        )


def _check_masks(dataset: Any, history: History, to_field: str, targets: dict[str, str]) -> None:
    """Raises if a field holds, or another step is about to put there, something other than masks with these classes."""
    writers = history.writers(to_field)
    found = [step["targets"] for step in writers]
    if schema.has_masks(dataset, to_field):
        found.append(_as_keys(dataset.mask_targets.get(to_field)))
    if any(step["form"] != "masks" for step in writers) or any(other != targets for other in found):
        raise DatasetError(
            f"field {to_field!r} holds masks of other classes than {history.field!r}, or with other mask values; choose a new one"
        )


def _declare(dataset: Any, step: Step) -> None:
    field, targets = step["to_field"], dataset.mask_targets.get(step["field"]) or {}
    if step["form"] != "masks":
        with exclusive(dataset):
            dataset.add_sample_field(field, fo.EmbeddedDocumentField, embedded_doc_type=_CLASSES[step["form"]])
            schema.colour_labels(dataset)
    elif not schema.has_masks(dataset, field) or dataset.mask_targets.get(field) != targets:
        schema.declare_field(dataset, field, targets)


def _goes_on(dataset: Any, history: History, step: Step) -> bool:
    """Whether the step was not undone and its field not deleted: FiftyOne can't load samples with values in unknown fields."""
    fields = (stored(dataset) or {}).get("sample_fields", [])
    return history.goes_on(step) and any(field["name"] == step["to_field"] for field in fields)


def _make_part(dataset: Any, history: History, step: Step, part: Part) -> list[str]:
    """Makes the missing labels of a part; returns why masks were left out."""
    field, source = step["to_field"], step["field"]
    missing = {"_id": {"$in": part["ids"]}, field: None, f"{source}._id": {"$in": part["labels"]}}
    made, files, operations, failures = dict[str, dict[str, Any]](), dict[str, bytes](), [], []
    for sample in sample_collection(dataset).find(missing, kept_files.with_paths(dataset, source)):
        key = str(sample["_id"])
        try:
            label = _copied(sample[source]) if step["form"] == "masks" else _converted(dataset, step, sample[source])
            if label.get("mask_path") is not None:
                files[key] = kept_files.read(label["mask_path"])
                label["mask_path"] = str(kept_files.path_of_copy(dataset, field, sample, label["mask_path"]))
        except Exception as error:
            failures.append(f"that of sample {key} can't be read: {error}")
            continue
        made[key] = {"labels": [digest(bson.encode(label))]}
        if key in files:
            made[key] |= {"path": label["mask_path"], "file": digest(files[key])}
        change = {"$set": {field: label, "last_modified_at": datetime.now(timezone.utc)}}
        operations.append(UpdateOne({"_id": sample["_id"], field: None}, change))
    if made:
        part["made"] = history.note(part, made)
        if not part["made"]:
            return failures
        for key, content in files.items():
            kept_files.write(content, Path(made[key]["path"]), str(step["_id"]))
        if write_samples(dataset, operations, list(made)) < len(made):
            kept_files.remove(dataset, part["made"])  # somebody has added labels of their own
    return failures


def _copied(label: dict[str, Any]) -> dict[str, Any]:
    return {**label, "_id": ObjectId()}


def _converted(dataset: Any, step: Step, label: dict[str, Any]) -> dict[str, Any]:
    """A mask as FiftyOne's converters write it."""
    mask, targets = fo.Segmentation.from_dict(label), dataset.mask_targets.get(step["field"])
    convert = mask.to_detections if step["form"] == "detections" else mask.to_polylines
    converted: dict[str, Any] = convert(mask_targets=targets, mask_types="thing" if step["instances"] else "stuff").to_dict()
    return converted


def _take_back_part(dataset: Any, step: Step, part: Part) -> tuple[int, int]:
    """Removes the unchanged labels of a part and their files; returns how many it removed and how many it left."""
    field, made = step["to_field"], part.get("made", {})
    present = {"_id": {"$in": [ObjectId(key) for key in made]}, field: {"$ne": None}}
    samples = list(sample_collection(dataset).find(present, {field: 1}))
    change = {"$unset": {field: ""}, "$set": {"last_modified_at": datetime.now(timezone.utc)}}
    ours = [sample for sample in samples if _is_unchanged(sample[field], made[str(sample["_id"])])]
    operations = [UpdateOne({"_id": sample["_id"], field: sample[field]}, change) for sample in ours]
    removed = write_samples(dataset, operations, [sample["_id"] for sample in ours]) if ours else 0
    kept_files.remove(dataset, made)
    return removed, len(samples) - removed


def _is_unchanged(label: dict[str, Any], made: dict[str, Any]) -> bool:
    return digest(bson.encode(label)) in made["labels"] and ("path" not in made or kept_files.is_unchanged(made))


def _remove_if_empty(dataset: Any, history: History, step: Step, folders: set[Path]) -> bool:
    """Removes the field that a step made, with its folders, if nothing is in it; returns whether it did."""
    kept_files.remove_partial(folders, str(step["_id"]))
    field, is_empty = step["to_field"], False
    with exclusive(dataset):
        if step["new"] and field in dataset.get_field_schema() and not history.writers(field):
            is_empty = not sample_collection(dataset).find_one({field: {"$ne": None}}, {"_id": 1})
        if is_empty:
            dataset.delete_sample_field(field)
    for folder in folders if is_empty else ():
        with suppress(OSError):  # not empty
            folder.rmdir()
            folder.parent.rmdir()
    return is_empty
