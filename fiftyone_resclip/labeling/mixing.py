"""Refuses to label a field in two ways: at the same time, or one after the other."""

from __future__ import annotations

from typing import Any

import fiftyone as fo

from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.fields.private import count_labels
from fiftyone_resclip.fields.schema import MaskTargets
from fiftyone_resclip.labeling.recipe import Recipe, differences
from fiftyone_resclip.labeling.runs import LabelRun
from fiftyone_resclip.labeling.writers import Writer, remaining


def refuse_busy(dataset: fo.Dataset, mine: Writer) -> None:
    """Refuses a second writer of a field, unless it has another shard of the same work.

    Args:
        dataset: the dataset that the user opened
        mine: the writer that this process wants to be

    Raises:
        DatasetError: if another process is labelling the field
    """
    field, shard = mine.label_field, mine.shard
    for writer in remaining(dataset, field):
        if writer.id == mine.id:
            continue  # the database went away while it was announced
        if writer.recipe != mine.recipe:
            raise DatasetError(f"field {field!r} is being labelled in another way by {writer}; wait for it or use another field")
        if writer.shard[1] != shard[1] or writer.shard[0] == shard[0]:
            raise DatasetError(
                f"field {field!r} is already being labelled by {writer}; wait for it, or share the work with "
                "shard=(0, 2) in one process and shard=(1, 2) in the other"
            )


def refuse_mixing(
    dataset: fo.Dataset, field: str, run: LabelRun | None, recipe: Recipe, targets: MaskTargets, overwritten: int | None,
    *, foreign: bool = False,
) -> None:  # fmt: skip
    """Refuses to add masks to a field that holds masks made in another way, unless all of these are to be overwritten.

    Args:
        dataset: the dataset that the user opened
        field: the field; starts with ``frames.`` for a field of video frames
        run: the run that fills the field, if there is one
        recipe: what decides the new masks
        targets: class name by mask value of the new masks
        overwritten: how many masks are to be overwritten; ``None`` if that is not possible
        foreign (False): whether masks that no labelling run made may be overwritten

    Raises:
        DatasetError: if masks would be mixed; the message shows the difference
    """
    masks = count_labels(dataset, field)
    same_names = dataset.mask_targets.get(field, targets) == targets
    if not masks or (run is not None and same_names and not differences(run.recipe, recipe)):
        return
    if masks == overwritten and (run is not None or foreign):
        return
    way_on = "use another field"
    if run is None and overwritten is not None:
        way_on += ", or overwrite this one, for which you must give its name again, because ResCLIP did not make it"
    elif overwritten is not None:
        way_on += ", or overwrite the whole field"
    count = "a mask" if masks == 1 else f"{masks} masks"
    raise DatasetError(f"field {field!r} holds {count} {_origin(dataset, field, run, recipe, targets)}; {way_on}")


def _origin(dataset: fo.Dataset, field: str, run: LabelRun | None, recipe: Recipe, targets: MaskTargets) -> str:
    """Says how the masks of a field were made, as far as that differs."""
    if run is None:
        return "that no labelling run made"
    names: dict[Any, str] = dataset.mask_targets.get(field) or dataset.default_mask_targets
    if names != targets:
        before, now = (", ".join(map(str, each.values())) or "without names" for each in (names, targets))
        return f"of other classes ({before}) than now ({now})"
    changes = (f"{name} {before!r} instead of {after!r}" for name, (before, after) in differences(run.recipe, recipe).items())
    return f"made in another way ({'; '.join(changes)})"
