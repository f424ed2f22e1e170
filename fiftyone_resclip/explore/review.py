"""Keeping the good masks: a verdict per sample, counts, kept labels copied or converted, and every step undone.

Verdicts are strings in the field ``<label field>_review``, where FiftyOne's sidebar can filter by them. Nothing here changes the
masks under review, and no label that exists is ever written over.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import fiftyone as fo
import fiftyone.utils.labels as foul
import numpy as np
from fiftyone.operators.store import ExecutionStore

from fiftyone_resclip.drawing import pictures, plots
from fiftyone_resclip.errors import ConfigError, DatasetError, unknown
from fiftyone_resclip.fields import masks, schema
from fiftyone_resclip.fields.colours import palette
from fiftyone_resclip.fields.images import read_image
from fiftyone_resclip.fields.private import dataset_id, dataset_of
from fiftyone_resclip.fields.slices import select_slice
from fiftyone_resclip.fields.values import resize

Verdict = Literal["keep", "discard", "fix later"]
LabelType = Literal["detections", "polylines"]

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

_STORE = "fiftyone-resclip.review"
_STEPS_KEPT = 200
_PICTURE_PX, _CELL_PX = 512, 8


def field_of(label_field: str) -> str:
    """Gives the field that holds the verdicts on a field of masks."""
    return f"{label_field}_review"


def mark(samples: Any, label_field: str, ids: Sequence[str], verdict: Verdict | None) -> int:
    """Gives samples a verdict.

    Args:
        samples: a FiftyOne dataset or view
        label_field: the masks under review
        ids: of the samples; those without a mask are left out
        verdict: ``"keep"``, ``"discard"`` or ``"fix later"``; ``None`` takes an earlier one back

    Returns:
        how many samples were marked

    Raises:
        ConfigError: if there is no such verdict
        DatasetError: if there are no masks of that name, or the field for verdicts holds something else
    """
    if verdict is not None and verdict not in VERDICTS:
        raise ConfigError(unknown("verdict", verdict, VERDICTS))
    dataset = _declared(samples, label_field)
    before = _verdicts(_labelled(dataset, label_field).select(list(ids)), label_field)
    changed = {sample_id: earlier for sample_id, earlier in before.items() if earlier != verdict}
    if changed:
        _write(dataset, label_field, dict.fromkeys(changed, verdict))
        _remember(dataset, label_field, {"verdicts": changed})
    return len(before)


def counts(samples: Any, label_field: str) -> dict[str, int]:
    """Counts samples with a mask by verdict.

    Args:
        samples: a FiftyOne dataset or view
        label_field: the masks under review

    Returns:
        number of samples by verdict, and ``"open"`` for those without one
    """
    _declared(samples, label_field)
    found = _labelled(samples, label_field).count_values(field_of(label_field))
    return {**{verdict: found.get(verdict, 0) for verdict in VERDICTS}, "open": found.get(None, 0)}


def still_open(samples: Any, label_field: str) -> Any:
    """Gives the samples with a mask and without a verdict, as a view in the order of ``samples``."""
    _declared(samples, label_field)
    return _labelled(samples, label_field).exists(field_of(label_field), False)


def kept(samples: Any, label_field: str) -> Any:
    """Gives the samples whose mask is kept, as a view."""
    _declared(samples, label_field)
    return _labelled(samples, label_field).match(fo.ViewField(field_of(label_field)) == "keep")


def copy_kept(samples: Any, label_field: str, to_field: str) -> int:
    """Copies the labels that are kept into another field; mask files are copied, too, into a folder of that name.

    Args:
        samples: a FiftyOne dataset or view
        label_field: the masks under review
        to_field: a new field, or one of masks of the same classes, where samples that have a label keep theirs

    Returns:
        how many labels were copied

    Raises:
        DatasetError: if ``to_field`` holds something else
    """
    dataset, targets = dataset_of(samples), dataset_of(samples).mask_targets.get(label_field) or {}
    is_new = not schema.has_masks(dataset, to_field)
    if not is_new and dataset.mask_targets.get(to_field) != targets:
        raise DatasetError(f"field {to_field!r} holds masks of other classes than {label_field!r}; choose a new field")
    schema.declare_field(dataset, to_field, targets)
    chosen = kept(samples, label_field).exists(to_field, False)
    copies = {sample.id: _copied(sample[label_field], to_field) for sample in chosen.select_fields(label_field)}
    if copies:
        dataset.set_values(to_field, copies, key_field="id")
    _remember(dataset, label_field, {"field": to_field, "ids": list(copies), "new": is_new})
    return len(copies)


def convert(
    samples: Any, label_field: str, to_field: str, label_type: LabelType = "detections", *, instances: bool = True
) -> int:
    """Converts the labels that are kept with FiftyOne's own converters, ready for annotation tools.

    Args:
        samples: a FiftyOne dataset or view
        label_field: the masks under review
        to_field: a new field
        label_type ("detections"): ``"detections"`` with instance masks, or ``"polylines"``
        instances (True): whether each connected region becomes a label of its own, or each class one

    Returns:
        number of samples

    Raises:
        ConfigError: if there is no such type
        DatasetError: if ``to_field`` exists, or nothing is kept
    """
    if label_type not in get_args(LabelType):
        raise ConfigError(unknown("label type", label_type, get_args(LabelType)))
    dataset, chosen = dataset_of(samples), kept(samples, label_field)
    if to_field in dataset.get_field_schema():
        raise DatasetError(f"field {to_field!r} exists already; choose a new one")
    if not len(chosen):
        raise DatasetError(f"no mask of {label_field!r} is kept yet: nothing can be converted")
    converter = foul.segmentations_to_detections if label_type == "detections" else foul.segmentations_to_polylines
    kind = "thing" if instances else "stuff"
    converter(chosen, label_field, to_field, mask_targets=dataset.mask_targets.get(label_field), mask_types=kind, progress=False)
    _remember(dataset, label_field, {"field": to_field, "ids": chosen.values("id"), "new": True})
    return len(chosen)


def picture(sample: Any, label_field: str, targets: schema.MaskTargets) -> plots.Figure:
    """Shows a sample under its mask; names appear where the mouse is.

    Args:
        sample: with a mask
        label_field: the masks under review
        targets: class name by mask value

    Returns:
        the figure

    Raises:
        ImageError: if image or mask can't be read
    """
    photo = read_image(sample.filepath)
    photo.thumbnail((_PICTURE_PX, _PICTURE_PX))
    mask = masks.read_mask(sample[label_field])
    values = resize(mask, (photo.height, photo.width))
    cells = resize(mask, (photo.height // _CELL_PX + 1, photo.width // _CELL_PX + 1))
    names = np.array([[targets.get(int(value), "no class") for value in row] for row in cells], dtype=np.str_)
    return plots.covered(photo, pictures.paint(values, palette(max(targets, default=1))), names)


def undo(samples: Any, label_field: str) -> str | None:
    """Takes the last step back: a verdict, a copy or a conversion.

    Args:
        samples: a FiftyOne dataset or view
        label_field: the masks under review

    Returns:
        what was undone, for people; ``None`` if there is nothing
    """
    dataset, (count, steps) = dataset_of(samples), _history(dataset_of(samples), label_field)
    if not steps:
        return None
    step = steps.pop()
    _store(dataset).set(label_field, [count + 1, steps])
    if "verdicts" in step:
        _write(dataset, label_field, step["verdicts"])
        return f"verdict on {len(step['verdicts'])} samples taken back"
    if step["field"] not in dataset.get_field_schema():
        return f"field {step['field']!r} is gone already"
    if step["new"]:
        dataset.delete_sample_field(step["field"])
        return f"field {step['field']!r} removed"
    dataset.set_values(step["field"], dict.fromkeys(step["ids"]), key_field="id")
    return f"{len(step['ids'])} labels taken out of {step['field']!r}"


def revision(samples: Any, label_field: str) -> int:
    """Gives a number that grows with every step, so that a form can tell whether it shows what is."""
    return _history(dataset_of(samples), label_field)[0]


def _declared(samples: Any, label_field: str) -> Any:
    """The dataset, with its field of verdicts made."""
    dataset, field = dataset_of(samples), field_of(label_field)
    if not schema.has_masks(dataset, label_field):
        raise DatasetError(f"there is no field {label_field!r} of masks to review")
    existing = dataset.get_field_schema().get(field)
    if existing is None:
        dataset.add_sample_field(field, fo.StringField)
    elif not isinstance(existing, fo.StringField):
        raise DatasetError(f"field {field!r} must hold verdicts or be new, but it holds {existing}; rename it")
    return dataset


def _labelled(samples: Any, label_field: str) -> Any:
    return select_slice(samples).exists(label_field)


def _verdicts(samples: Any, label_field: str) -> dict[str, Verdict | None]:
    return dict(zip(*samples.values(["id", field_of(label_field)]), strict=True))


def _write(dataset: Any, label_field: str, verdicts: dict[str, Any]) -> None:
    dataset.set_values(field_of(label_field), verdicts, key_field="id")


def _copied(label: fo.Segmentation, folder: str) -> fo.Segmentation:
    """The same label under an id of its own; a mask file is copied, for the original may be written over one day."""
    copy: fo.Segmentation = label.copy()
    if label.mask_path is not None:
        target = Path(label.mask_path).parent / folder / Path(label.mask_path).name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(label.mask_path, target)
        copy.mask_path = str(target)
    return copy


def _remember(dataset: Any, label_field: str, step: dict[str, Any]) -> None:
    count, steps = _history(dataset, label_field)
    _store(dataset).set(label_field, [count + 1, [*steps, step][-_STEPS_KEPT:]])


def _history(dataset: Any, label_field: str) -> tuple[int, list[dict[str, Any]]]:
    """How many steps there have ever been, undone ones and undoing included, and those that can be undone."""
    count, steps = _store(dataset).get(label_field) or (0, [])
    return count, steps


def _store(dataset: Any) -> ExecutionStore:
    return ExecutionStore.create(_STORE, dataset_id(dataset))
