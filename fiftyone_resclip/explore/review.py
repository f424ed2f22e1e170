"""Reviews masks: gives each sample a verdict, counts verdicts, copies or converts the kept labels, and undoes steps.

Verdicts are strings in the field ``<label field>_review``, so FiftyOne's sidebar can filter by them. A verdict no longer counts
when another label takes the place of the one that was reviewed, whose id is in ``<label field>_reviewed_id``. Nothing here
changes the masks under review or overwrites an existing label. Several reviewers may work at the same time, in several processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, get_args

from bson import ObjectId

from fiftyone_resclip.errors import ConfigError, DatasetError, unknown
from fiftyone_resclip.explore import kept_labels, review_verdicts
from fiftyone_resclip.explore.review_history import History, Step
from fiftyone_resclip.explore.review_verdicts import VERDICTS, Verdict, field_of, has_verdict, labelled
from fiftyone_resclip.fields.patience import patient, patiently
from fiftyone_resclip.fields.private import dataset_of, refresh
from fiftyone_resclip.fields.slices import select_slice

LabelType = Literal["detections", "polylines"]


@patient
def mark(samples: Any, label_field: str, ids: Sequence[str], verdict: Verdict | None) -> int:
    """Marks samples with a verdict.

    Args:
        samples: a FiftyOne dataset or view
        label_field: the masks under review
        ids: the ids of the samples; samples without a mask are skipped
        verdict: ``"keep"``, ``"discard"`` or ``"fix later"``; ``None`` removes an earlier verdict

    Returns:
        number of samples with a mask among ``ids``; all of them have this verdict now

    Raises:
        ConfigError: if the verdict is unknown
        DatasetError: if there is no such field of masks, the field for verdicts holds something else, or ``ids`` are no ids
    """
    if verdict is not None and verdict not in VERDICTS:
        raise ConfigError(unknown("verdict", verdict, VERDICTS))
    dataset, ids = dataset_of(samples), _checked(ids)
    with _turn(dataset, label_field) as (history, _):
        step, found = review_verdicts.begin(dataset, history, label_field, ids, verdict)
        if step:
            review_verdicts.make(dataset, history, step)
    return found


def counts(samples: Any, label_field: str) -> dict[str, int]:
    """Counts the samples with a mask by their verdict.

    Args:
        samples: a FiftyOne dataset or view
        label_field: the masks under review

    Returns:
        number of samples by verdict, with ``"open"`` for those without a verdict
    """
    with_mask, field = labelled(samples, label_field), field_of(label_field)
    found = with_mask.match(has_verdict(label_field)).count_values(field) if with_mask.has_field(field) else {}
    return {**{verdict: found.get(verdict, 0) for verdict in VERDICTS}, "open": len(with_mask) - sum(found.values())}


def still_open(samples: Any, label_field: str) -> Any:
    """Returns a view of the samples with a mask but without a verdict, in the order of ``samples``."""
    return labelled(samples, label_field).match(~has_verdict(label_field))


def ahead(samples: Any, label_field: str, count: int, *, after: str | None = None, without: Sequence[str] = ()) -> list[str]:
    """Lists the samples that are to be reviewed next.

    Args:
        samples: a FiftyOne dataset or view
        label_field: the masks under review
        count: how many, at most
        after (None): the id of the sample after which the list begins; those before it follow at the end
        without (()): the ids of samples to leave out

    Returns:
        the ids of samples with a mask but without a verdict
    """
    found = still_open(samples, label_field).exclude(without)
    if after is None:
        return list(found.limit(count).values("id"))
    order = select_slice(samples).values("id")
    passed = set(order[: order.index(after) + 1]) if after in order else set()
    return sorted(found.values("id"), key=passed.__contains__)[:count]


def kept(samples: Any, label_field: str) -> Any:
    """Returns a view of the samples with the verdict ``"keep"``."""
    return labelled(samples, label_field).match(has_verdict(label_field, "keep"))


@patient
def copy_kept(samples: Any, label_field: str, to_field: str) -> int:
    """Copies the kept labels to another field; mask files are also copied, to ``<folder>/<dataset id>/<to_field>``.

    If this was interrupted, calling it again finishes it.

    Args:
        samples: a FiftyOne dataset or view
        label_field: the masks under review
        to_field: a new field, or a field of masks with the same classes; existing labels in it stay unchanged

    Returns:
        how many labels were copied

    Raises:
        DatasetError: if ``label_field`` has no masks, ``to_field`` is no name for a field, or holds something else or masks of
            other classes, or the labels are removed meanwhile
        ImageError: if a mask file can't be written
    """
    dataset, history = dataset_of(samples), History(dataset_of(samples), label_field)
    copied = sum(kept_labels.make(dataset, history, step) for step in _interrupted(history, to_field, form="masks"))
    with _turn(dataset, label_field) as (history, _):
        step = kept_labels.begin(dataset, history, kept(samples, label_field), to_field, form="masks")
    return copied + kept_labels.make(dataset, history, step)


@patient
def convert(
    samples: Any, label_field: str, to_field: str, label_type: LabelType = "detections", *, instances: bool = True
) -> int:
    """Converts the kept labels for annotation tools, as FiftyOne's own converters do.

    If this was interrupted, calling it with the same arguments finishes it, for the samples that were kept when it began.

    Args:
        samples: a FiftyOne dataset or view
        label_field: the masks under review
        to_field: a new field
        label_type ("detections"): ``"detections"`` with instance masks, or ``"polylines"``
        instances (True): whether each connected region becomes a label of its own; otherwise each class becomes one label

    Returns:
        number of converted samples

    Raises:
        ConfigError: if ``label_type`` is unknown
        DatasetError: if ``to_field`` exists or is no name for a field, no mask is kept, or the labels are removed meanwhile
    """
    if label_type not in get_args(LabelType):
        raise ConfigError(unknown("label type", label_type, get_args(LabelType)))
    dataset, how = dataset_of(samples), dict[str, Any](form=label_type, instances=instances)
    with _turn(dataset, label_field) as (history, _):
        chosen = kept(samples, label_field)
        interrupted = next(iter(_interrupted(history, to_field, **how)), None)
        step = interrupted or kept_labels.begin(dataset, history, chosen, to_field, **how)
    return kept_labels.make(dataset, history, step)


def check_target(samples: Any, label_field: str, to_field: str, form: str = "masks", *, instances: bool = True) -> None:
    """Raises if :func:`copy_kept` or :func:`convert` would refuse a field.

    Args:
        samples: a FiftyOne dataset or view
        label_field: the masks under review
        to_field: the field for the copies
        form ("masks"): ``"masks"``, ``"detections"`` or ``"polylines"``
        instances (True): as in :func:`convert`

    Raises:
        DatasetError: as they do
    """
    dataset, history = dataset_of(samples), History(dataset_of(samples), label_field)
    if not _interrupted(history, to_field, form=form, instances=instances):
        kept_labels.check(dataset, history, to_field, form)


def undo(samples: Any, label_field: str) -> str | None:
    """Undoes the last step: a verdict, a copy or a conversion, even one that was interrupted.

    What has changed since the step stays as it is: a verdict that another reviewer gave, a label that was corrected by hand. The
    field of a copy or conversion is removed if the step created it and nothing else is in it. An interrupted undo is finished.

    Args:
        samples: a FiftyOne dataset or view
        label_field: the masks under review

    Returns:
        a description of what was undone; ``None`` if there is nothing to undo
    """
    dataset, claimed, done = dataset_of(samples), False, None

    def attempt() -> None:
        nonlocal claimed, done
        with _turn(dataset, label_field) as (history, finished):
            done = done or finished
            if not done and not claimed and (step := history.claim()):
                claimed = True  # another attempt must not undo another step
                done = _take_back(dataset, history, step)
                history.forget(step)

    patiently(attempt)
    return done or ("the last step was undone" if claimed else None)


def revision(samples: Any, label_field: str) -> int:
    """Returns a number that grows with every step, so that a form can tell whether it is up to date."""
    return History(dataset_of(samples), label_field).revision


def unfinished(samples: Any, label_field: str) -> list[str]:
    """Lists the copies and conversions that are not finished, each in one line that says how to go on."""
    steps = History(dataset_of(samples), label_field).interrupted()
    return [
        f"field {step['to_field']!r} is not finished; if what makes it was interrupted, repeat that to go on, or undo it"
        for step in steps
        if step["kind"] == "labels" and step["state"] == "begun"
    ]


@contextmanager
def _turn(dataset: Any, label_field: str) -> Iterator[tuple[History, str | None]]:
    """Lets one process at a time begin or undo steps, after finishing what a killed process was doing.

    Yields:
        the history, and a description of the step that a killed process was undoing
    """
    history, finished = History(dataset, label_field), None
    with history.turn():
        refresh(dataset)
        for step in history.interrupted():
            if step["state"] == "planned":
                history.forget(step)
            elif step["state"] == "undoing":
                finished = _take_back(dataset, history, step)
                history.forget(step)
            elif step["kind"] == "verdicts":
                review_verdicts.make(dataset, history, step)
        yield history, finished


def _take_back(dataset: Any, history: History, step: Step) -> str:
    """Undoes a step; returns a description."""
    take_back = review_verdicts.take_back if step["kind"] == "verdicts" else kept_labels.take_back
    return take_back(dataset, history, step)


def _checked(ids: Any) -> list[str]:
    """Returns the ids of samples as a list."""
    if isinstance(ids, str) or not isinstance(ids, Iterable):
        raise DatasetError(f"ids must be a list of ids of samples, such as dataset.values('id'), but got {ids!r}")
    listed = list(ids)
    for sample_id in listed:
        if not ObjectId.is_valid(sample_id):
            raise DatasetError(f"ids must be ids of samples, such as dataset.values('id'), but one is {sample_id!r}")
    return listed


def _interrupted(history: History, to_field: str, **how: Any) -> list[Step]:
    """Lists the steps that make such labels and are not done."""
    return [step for step in history.interrupted() if {"state": "begun", "to_field": to_field, **how}.items() <= step.items()]
