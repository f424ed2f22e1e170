"""Goes on with a run that was stopped or killed, from its record: what makes its masks, and which samples it labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import fiftyone as fo

from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.core.teaching import Taught
from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.evidence.lessons import list_lessons, load_lesson
from fiftyone_resclip.fields.private import with_stages
from fiftyone_resclip.labeling.batches import LabelingReport
from fiftyone_resclip.labeling.label import iter_label
from fiftyone_resclip.labeling.recipe import EVIDENCE, EXAMPLES, model_of
from fiftyone_resclip.labeling.runs import LabelRun
from fiftyone_resclip.model import ResCLIPModel

INTERRUPTED = ("stopped", "killed")


def check(run: LabelRun) -> None:
    """Checks whether the record of a run is enough to go on with it.

    Args:
        run: a labelling run

    Raises:
        DatasetError: if the run was not interrupted, was shared among shards, or its samples were too many to record
    """
    way_on = f"label field {run.label_field!r} again with the same settings to go on"
    if run.state not in INTERRUPTED:
        raise DatasetError(f"run {run.key!r} must be stopped or killed to go on, but is {run.state}")
    if run.passes[-1]["shards"] > 1:
        raise DatasetError(f"run {run.key!r} is shared among {run.passes[-1]['shards']} shards; {way_on}")
    if run.passes[-1].get("stages") is None:
        raise DatasetError(f"run {run.key!r} does not record which samples it labels; {way_on}")


def model_for(run: LabelRun, backbone: Backbone, known: Iterable[Taught] = ()) -> ResCLIPModel:
    """Makes the model of a run again, with what examples taught it.

    Args:
        run: a labelling run
        backbone: the loaded CLIP, whose name is in the run's recipe
        known (()): what examples taught in this process; saved lessons are known anyway

    Returns:
        the model

    Raises:
        DatasetError: if the weights are other ones now, or the run learned from examples and that was not saved as a lesson
    """
    examples = run.recipe.get(EXAMPLES)
    return model_of(run.recipe, backbone, None if examples is None else _lesson(run, examples, known))


def iter_rest(dataset: fo.Dataset, run: LabelRun, model: ResCLIPModel) -> Iterator[LabelingReport]:
    """Labels what a run has not labelled yet, as :func:`~fiftyone_resclip.labeling.label.iter_label` does.

    Args:
        dataset: the dataset of the run
        run: a run that :func:`check` accepts
        model: from :func:`model_for`

    Yields:
        the report
    """
    last = run.passes[-1]
    folder = run.output_dir if last["folder"] is not None else None
    yield from iter_label(
        with_stages(dataset, last["stages"]), model, run.label_field.removeprefix("frames."), overwrite=last["overwrite"],
        output_dir=folder, **run.recipe.get(EVIDENCE, {}),
    )  # fmt: skip


def _lesson(run: LabelRun, examples: dict[str, Any], known: Iterable[Taught]) -> Taught:
    """Returns what a run had learned."""
    for taught in chain(known, map(load_lesson, list_lessons())):
        if taught.to_json() == examples:
            return taught
    raise DatasetError(
        f"run {run.key!r} learned from {len(examples['sample_ids'])} examples, and no saved lesson holds what it learned; "
        f"label field {run.label_field!r} again with the same examples to go on"
    )
