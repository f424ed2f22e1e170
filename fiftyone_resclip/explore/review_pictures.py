"""Chooses the masks for a review, and prepares them for the browser, which shows them beside the photographs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import fiftyone as fo

from fiftyone_resclip.errors import ImageError
from fiftyone_resclip.evaluation.error_masks import error_fields
from fiftyone_resclip.explore import layers
from fiftyone_resclip.explore.review_verdicts import labelled, verdict_on
from fiftyone_resclip.fields import masks, schema
from fiftyone_resclip.fields.colour_scheme import class_colours
from fiftyone_resclip.fields.values import resize

#: Long side of the masks that are sent; those of large photographs would take too long to look at ten in a second.
_LONG_SIDE_PX = 1600
_EARLIER = "resclip_improved_from"


def reviewable(dataset: fo.Dataset) -> list[str]:
    """Lists the fields of masks that may be reviewed.

    Args:
        dataset: a FiftyOne dataset

    Returns:
        fields of our labelling runs, then other masks, then what evaluations took for the truth; within each, the newest first.
        Error masks are left out
    """
    infos = (dataset.get_evaluation_info(key) for key in dataset.list_evaluations())
    truths = {getattr(info.config, "gt_field", None) for info in infos}
    errors = error_fields(dataset)
    fields = [field for field in reversed(schema.mask_fields(dataset)) if field not in errors]
    return sorted(fields, key=lambda field: (field in truths, schema.run_key(dataset, field) is None))


def pictures(dataset: fo.Dataset, label_field: str, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Prepares samples with their masks; next to improved masks, the earlier ones are shown.

    Args:
        dataset: a FiftyOne dataset
        label_field: the masks under review
        ids: the ids of the samples

    Returns:
        for each sample its ``id``, ``path``, ``verdict``, ``masks`` with titles, and the ``problem`` if a mask can't be read
    """
    earlier = earlier_field(dataset, label_field)
    fields = [field for field in (earlier, label_field) if field is not None]
    found = {sample.id: sample for sample in labelled(dataset, label_field).select(list(ids))}
    return [_picture(dataset, found[sample_id], fields) for sample_id in ids if sample_id in found]


def earlier_field(dataset: fo.Dataset, label_field: str) -> str | None:
    """Returns the field whose review led to this one, if that still exists."""
    field = dataset.get_field(label_field)
    earlier = None if field is None else (field.info or {}).get(_EARLIER)
    return earlier if earlier is not None and dataset.get_field(earlier) is not None else None


def set_earlier_field(dataset: fo.Dataset, label_field: str, earlier: str) -> None:
    """Notes the field whose review led to a field; call it while holding the dataset's lock."""
    field = dataset.get_field(label_field)
    field.info = {**(field.info or {}), _EARLIER: earlier}
    field.save()


def _picture(dataset: fo.Dataset, sample: Any, fields: Sequence[str]) -> dict[str, Any]:
    shown, problem = [], None
    for field in fields:
        try:
            if sample[field] is not None:
                shown.append({"title": field, "layer": _layer(dataset, sample[field], field)})
        except ImageError as error:
            problem = str(error)
    verdict = verdict_on(sample, fields[-1])
    return {"id": sample.id, "path": sample.filepath, "verdict": verdict, "masks": shown, "problem": problem}


def _layer(dataset: fo.Dataset, label: fo.Segmentation, field: str) -> dict[str, Any]:
    targets = dataset.mask_targets.get(field) or {}
    colours = class_colours(dataset, [*targets.values()], field)
    mask = masks.read_mask(label)
    shrink = min(_LONG_SIDE_PX / max(mask.shape), 1)
    mask = resize(mask, tuple(max(round(side * shrink), 1) for side in mask.shape))

    def entry(value: int) -> layers.Entry:
        name = targets.get(value)
        return (f"value {value}" if value else "no class", None) if name is None else (name, colours[name])

    return layers.encoded(mask, entry)
