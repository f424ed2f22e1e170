"""Fields of a stored run: which it has, on samples or frames, and which document each value belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import fiftyone as fo
from bson import ObjectId

from fiftyone_resclip.evaluation.counting import write_fields
from fiftyone_resclip.evaluation.staging import FRAMES, SAMPLES, Fields, Level, Values
from fiftyone_resclip.fields.private import dataset_of, is_frame_field, is_frames_view, root_dataset_of

METRICS: Mapping[str, type[fo.Field]] = {
    "accuracy": fo.FloatField,
    "precision": fo.FloatField,
    "recall": fo.FloatField,
    "dice": fo.FloatField,
    "miou": fo.FloatField,
    "worst_class": fo.StringField,
    "unlabelled": fo.FloatField,
}

#: Value by name, by frame number (``None`` for the sample itself), by sample id.
Figures = Mapping[str, Mapping[int | None, Mapping[str, Any]]]


def known_fields(samples: Any, gt_field: str, eval_key: str) -> Fields:
    """Returns all fields that a run under a key may have in the dataset that the user opened."""
    names = {f"{eval_key}_{name}": field_cls for name, field_cls in METRICS.items()}
    return dict.fromkeys(_levels(samples, gt_field), names)


def own_fields(samples: Any, config: Any, eval_key: str) -> Fields:
    """Returns the fields that a run with these settings has."""
    return {
        level: {name: field_cls for name, field_cls in names.items() if config.compute_dice or name != f"{eval_key}_dice"}
        for level, names in known_fields(samples, config.gt_field, eval_key).items()
    }


def placed(samples: Any, figures: Figures) -> Values:
    """Finds the documents that hold the values of a collection's samples and frames."""
    owners = zip(*samples.values(["id", "id" if dataset_of(samples) is root_dataset_of(samples) else "sample_id"]), strict=True)
    owner = {own: ObjectId(sample) for own, sample in owners if own in figures}
    of_samples = [({"_id": ObjectId(sample)}, frames[None]) for sample, frames in figures.items()]
    if is_frames_view(samples):
        return {FRAMES: of_samples}
    of_frames = (
        ({"_sample_id": owner[sample], "frame_number": number}, values)
        for sample, frames in figures.items()
        for number, values in frames.items()
        if number is not None
    )
    return {SAMPLES: of_samples, FRAMES: of_frames}


def fill_view(samples: Any, fields: Fields, figures: Figures) -> None:
    """Writes values to the temporary dataset behind a view of frames or clips."""
    for level, names in fields.items():
        for name, field_cls in names.items():
            dataset_of(samples).add_sample_field(name, field_cls)
            if level is FRAMES and not is_frames_view(samples):
                dataset_of(samples).add_frame_field(name, field_cls)
    write_fields(samples, figures)


def _levels(samples: Any, gt_field: str) -> tuple[Level, ...]:
    root = root_dataset_of(samples)
    if is_frame_field(root, gt_field):
        return (SAMPLES, FRAMES) if dataset_of(samples) is root else (FRAMES,)
    of_frames = root.get_frame_field_schema() or {}
    return (FRAMES,) if is_frames_view(samples) or (gt_field in of_frames and not root.has_field(gt_field)) else (SAMPLES,)
