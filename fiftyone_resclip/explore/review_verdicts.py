"""Gives the verdicts of a step of a review, and takes back those that have not changed since."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import Any, Literal, get_args

import fiftyone as fo
from bson import ObjectId
from pymongo import UpdateMany

from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.explore.review_history import History, Part, Step, batches
from fiftyone_resclip.fields import schema
from fiftyone_resclip.fields.exclusive import exclusive
from fiftyone_resclip.fields.private import dataset_of, write_samples
from fiftyone_resclip.fields.slices import select_slice

Verdict = Literal["keep", "discard", "fix later"]

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

_PER_PART = 1000


def field_of(label_field: str) -> str:
    """Returns the name of the field that holds the verdicts on a field of masks."""
    return f"{label_field}_review"


def has_verdicts(samples: Any, label_field: str) -> bool:
    """Returns whether the field of verdicts exists; this does not create it.

    Raises:
        DatasetError: if there is no such field of masks, or the field for verdicts holds something else
    """
    dataset, field = dataset_of(samples), field_of(label_field)
    if not schema.has_masks(dataset, label_field):
        raise DatasetError(f"there is no field {label_field!r} of masks to review")
    existing = dataset.get_field_schema().get(field)
    if existing is not None and not isinstance(existing, fo.StringField):
        raise DatasetError(f"field {field!r} must hold verdicts or be new, but it holds {existing}; rename it")
    return existing is not None


def labelled(samples: Any, label_field: str) -> Any:
    """Returns a view of the samples with a mask."""
    return select_slice(samples).exists(label_field)


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
    field, found = field_of(label_field), 0
    if not has_verdicts(dataset, label_field):
        with exclusive(dataset):
            dataset.add_sample_field(field, fo.StringField)

    def parts() -> Iterator[Part]:
        nonlocal found
        for some in batches(list(dict.fromkeys(ids)), _PER_PART):
            before = zip(*labelled(dataset, label_field).select(some).values(["_id", field]), strict=True)
            changes = defaultdict(list)
            for sample_id, earlier in before:
                found += 1
                if earlier != verdict:
                    changes[earlier].append(sample_id)
            if changes:
                yield {"changes": [{"before": earlier, "ids": changed} for earlier, changed in changes.items()]}

    return history.begin("verdicts", parts(), verdict=verdict), found


def make(dataset: Any, history: History, step: Step) -> None:
    """Gives the verdict of a step to those of its samples that have not changed since it began. The caller has the turn."""
    for part in history.parts(step):
        for change in part["changes"]:
            _replace(dataset, step["field"], change["ids"], change["before"], step["verdict"])
        history.stay()
    history.finish(step)


def take_back(dataset: Any, history: History, step: Step) -> str:
    """Restores the earlier verdicts of those samples that still have the verdict of a step; returns a description."""
    undone = left = 0
    for part in history.parts(step):
        for change in part["changes"]:
            count = _replace(dataset, step["field"], change["ids"], step["verdict"], change["before"])
            undone, left = undone + count, left + len(change["ids"]) - count
        history.stay()
    return f"verdict on {undone} samples undone" + (f"; {left} that have changed since were left alone" if left else "")


def _replace(dataset: Any, label_field: str, ids: list[ObjectId], before: Verdict | None, after: Verdict | None) -> int:
    """Changes the verdict of those samples that have a certain one; returns their number."""
    field = field_of(label_field)
    if field not in dataset.get_field_schema():
        return 0
    change = {"$set": {field: after, "last_modified_at": datetime.now(timezone.utc)}}
    return write_samples(dataset, [UpdateMany({"_id": {"$in": ids}, field: before}, change)], ids)
