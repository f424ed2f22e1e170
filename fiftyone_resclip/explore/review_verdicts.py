"""Gives the verdicts of a step of a review, and takes back those that have not changed since.

A verdict is about one label, whose id is stored with it. When another label takes the label's place, nobody has seen that one, so
the verdict no longer counts. Verdicts without such an id, which earlier versions gave, always count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import Any, Literal, get_args

import fiftyone as fo
from bson import ObjectId
from fiftyone import ViewField as F
from pymongo import UpdateMany

from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.explore.review_history import History, Part, Step, batches
from fiftyone_resclip.fields import schema
from fiftyone_resclip.fields.exclusive import exclusive
from fiftyone_resclip.fields.private import dataset_of, with_all_fields, write_samples
from fiftyone_resclip.fields.slices import select_slice

Verdict = Literal["keep", "discard", "fix later"]

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

_DESCRIPTIONS = {fo.StringField: "keep, discard or fix later", fo.ObjectIdField: "which label the verdict is about"}
_PER_PART = 1000


def field_of(label_field: str) -> str:
    """Returns the name of the field that holds the verdicts on a field of masks."""
    return f"{label_field}_review"


def reviewed_id_of(label_field: str) -> str:
    """Returns the name of the field that holds the ids of the labels that the verdicts are about."""
    return f"{label_field}_reviewed_id"


def labelled(samples: Any, label_field: str) -> Any:
    """Returns a view of the samples with a mask, with all their fields.

    Raises:
        DatasetError: if there is no such field of masks, or the fields for verdicts hold something else
    """
    _missing(dataset_of(samples), label_field)
    return with_all_fields(select_slice(samples)).exists(label_field)


def has_verdict(label_field: str, verdict: Verdict | None = None) -> Any:
    """Returns the condition, for ``match()``, that a label has this verdict or, by default, any."""
    given, about = F(field_of(label_field)), F(f"_{reviewed_id_of(label_field)}")
    counts = ~about.exists() | (about == F(f"{label_field}._id"))
    return counts & (given.exists() if verdict is None else given == verdict)


def verdict_on(sample: Any, label_field: str) -> Verdict | None:
    """Returns the verdict on the mask of a sample, unless it was about another label."""
    if not sample.has_field(field_of(label_field)) or sample[label_field] is None:
        return None
    about = sample[reviewed_id_of(label_field)] if sample.has_field(reviewed_id_of(label_field)) else None
    return sample[field_of(label_field)] if about in (None, sample[label_field].id) else None


def begin(
    dataset: Any, history: History, label_field: str, ids: Sequence[str], verdict: Verdict | None
) -> tuple[Step | None, int]:
    """Writes down which verdicts are to be given. The caller has the turn in the review.

    Args:
        dataset: a FiftyOne dataset; its field of verdicts is created if needed
        history: of the review
        label_field: the masks under review
        ids: the ids of samples; samples without a mask are skipped
        verdict: the verdict; ``None`` for no verdict

    Returns:
        the step, or ``None`` if all samples have this verdict already; and the number of samples with a mask

    Raises:
        DatasetError: if there is no such field of masks, or the field for verdicts holds something else
    """
    found = 0
    if _missing(dataset, label_field):
        with exclusive(dataset):
            for name, kind in _missing(dataset, label_field).items():
                dataset.add_sample_field(name, kind, description=f"Of the review of {label_field}: {_DESCRIPTIONS[kind]}")

    def parts() -> Iterator[Part]:
        nonlocal found
        for some in batches(list(dict.fromkeys(ids)), _PER_PART):
            changes = defaultdict[tuple[Any, Any], list[tuple[ObjectId, ObjectId]]](list)
            for sample_id, label_id, stored, counted in _states(dataset, label_field, some):
                found += 1
                if counted != verdict:
                    changes[stored, counted].append((sample_id, label_id))
            if changes:
                yield {"changes": [_described(*earlier, changed) for earlier, changed in changes.items()]}

    return history.begin("verdicts", parts(), verdict=verdict), found


def make(dataset: Any, history: History, step: Step) -> None:
    """Gives the verdict of a step to those of its samples that have not changed since it began. The caller has the turn."""
    label_field = step["field"]
    for part in history.parts(step):
        for change in part["changes"]:
            same = {field_of(label_field): change["stored"], f"{label_field}._id": {"$in": change["labels"]}}
            new = {field_of(label_field): {"$literal": step["verdict"]}, f"_{reviewed_id_of(label_field)}": f"${label_field}._id"}
            _change(dataset, label_field, {"_id": {"$in": change["ids"]}, **same}, new)
        history.stay()
    history.finish(step)


def take_back(dataset: Any, history: History, step: Step) -> str:
    """Restores the earlier verdicts of those samples that still have the verdict of a step; returns a description."""
    label_field, undone, left = step["field"], 0, 0
    for part in history.parts(step):
        for change in part["changes"]:
            same = {field_of(label_field): step["verdict"], f"_{reviewed_id_of(label_field)}": {"$in": change["labels"]}}
            earlier = {field_of(label_field): {"$literal": change["counted"]}}
            count = _change(dataset, label_field, {"_id": {"$in": change["ids"]}, **same}, earlier)
            undone, left = undone + count, left + len(change["ids"]) - count
        history.stay()
    what = "1 sample" if undone == 1 else f"{undone} samples"
    return f"verdict on {what} undone" + (f"; {left} that have changed since were left alone" if left else "")


def _missing(dataset: Any, label_field: str) -> dict[str, type[fo.Field]]:
    """Returns the fields that verdicts need and that do not exist yet, with their types."""
    if not schema.has_masks(dataset, label_field):
        raise DatasetError(f"there is no field {label_field!r} of masks to review")
    existing = dataset.get_field_schema()
    needed = {field_of(label_field): fo.StringField, reviewed_id_of(label_field): fo.ObjectIdField}
    for name in needed.keys() & existing.keys():
        if not isinstance(existing[name], needed[name]):
            raise DatasetError(f"field {name!r} must hold verdicts or be new, but it holds {existing[name]}; rename it")
    return {name: kind for name, kind in needed.items() if name not in existing}


def _states(dataset: Any, label_field: str, ids: list[str]) -> Iterator[tuple[Any, ...]]:
    """Yields, for samples with a mask: id of the sample, id of the label, the stored verdict, and the one that counts."""
    about = reviewed_id_of(label_field)
    view = labelled(dataset, label_field).select(ids)
    for sample_id, label_id, stored, reviewed in zip(
        *view.values(["_id", f"{label_field}._id", field_of(label_field), f"_{about}"]), strict=True
    ):
        yield sample_id, label_id, stored, stored if reviewed in (None, label_id) else None


def _described(stored: Verdict | None, counted: Verdict | None, labels: list[tuple[ObjectId, ObjectId]]) -> dict[str, Any]:
    """Describes a change of samples whose verdicts are the same; ``labels`` are pairs of ids of samples and labels."""
    ids, of_labels = zip(*labels, strict=True)
    return {"stored": stored, "counted": counted, "ids": list(ids), "labels": list(of_labels)}


def _change(dataset: Any, label_field: str, query: dict[str, Any], new: dict[str, Any]) -> int:
    """Sets fields of the samples that a query finds to values or, with ``$``, to other fields; returns the number of samples."""
    if not {field_of(label_field), reviewed_id_of(label_field)} <= dataset.get_field_schema().keys():
        return 0  # FiftyOne can't load samples with values in unknown fields
    change = {"$set": {**new, "last_modified_at": datetime.now(timezone.utc)}}
    return write_samples(dataset, [UpdateMany(query, [change])], query["_id"]["$in"])
