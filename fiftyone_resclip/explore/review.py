"""Reviews masks: gives each sample a verdict, counts verdicts, copies or converts the kept labels, and undoes steps.

Verdicts are strings in the field ``<label field>_review``, so FiftyOne's sidebar can filter by them. Nothing here changes the
masks under review or overwrites an existing label.
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
from fiftyone_resclip.fields.names import slug
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
    """Returns the name of the field that holds the verdicts on a field of masks."""
    return f"{label_field}_review"


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
        DatasetError: if there is no such field of masks, or the field for verdicts holds something else
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
    """Counts the samples with a mask by their verdict.

    Args:
        samples: a FiftyOne dataset or view
        label_field: the masks under review

    Returns:
        number of samples by verdict, with ``"open"`` for those without a verdict
    """
    labelled = _labelled(samples, label_field)
    found = labelled.count_values(field_of(label_field)) if _has_verdicts(samples, label_field) else {None: len(labelled)}
    return {**{verdict: found.get(verdict, 0) for verdict in VERDICTS}, "open": found.get(None, 0)}


def still_open(samples: Any, label_field: str) -> Any:
    """Returns a view of the samples with a mask but without a verdict, in the order of ``samples``."""
    labelled = _labelled(samples, label_field)
    return labelled.exists(field_of(label_field), False) if _has_verdicts(samples, label_field) else labelled


def kept(samples: Any, label_field: str) -> Any:
    """Returns a view of the samples with the verdict ``"keep"``."""
    labelled = _labelled(samples, label_field)
    if not _has_verdicts(samples, label_field):
        return labelled.select([])
    return labelled.match(fo.ViewField(field_of(label_field)) == "keep")


def copy_kept(samples: Any, label_field: str, to_field: str) -> int:
    """Copies the kept labels to another field; mask files are also copied, into a subfolder named after that field.

    Args:
        samples: a FiftyOne dataset or view
        label_field: the masks under review
        to_field: a new field, or a field of masks with the same classes; existing labels in it stay unchanged

    Returns:
        how many labels were copied

    Raises:
        DatasetError: if ``label_field`` has no masks, or ``to_field`` holds something else or masks of other classes
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
    """Converts the kept labels for annotation tools, with FiftyOne's own converters.

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
        DatasetError: if ``to_field`` exists, or no mask is kept
    """
    if label_type not in get_args(LabelType):
        raise ConfigError(unknown("label type", label_type, get_args(LabelType)))
    dataset, chosen = dataset_of(samples), kept(samples, label_field)
    if to_field in dataset.get_field_schema():
        raise DatasetError(f"field {to_field!r} already exists; choose a new one")
    if not len(chosen):
        raise DatasetError(f"no mask of {label_field!r} is kept yet, so there is nothing to convert")
    converter = foul.segmentations_to_detections if label_type == "detections" else foul.segmentations_to_polylines
    kind = "thing" if instances else "stuff"
    converter(chosen, label_field, to_field, mask_targets=dataset.mask_targets.get(label_field), mask_types=kind, progress=False)
    _remember(dataset, label_field, {"field": to_field, "ids": chosen.values("id"), "new": True})
    return len(chosen)


def picture(sample: Any, label_field: str, targets: schema.MaskTargets) -> plots.Figure:
    """Draws a sample with its mask on top; hovering over a pixel shows its class name.

    Args:
        sample: a sample with a mask
        label_field: the masks under review
        targets: class name by mask value

    Returns:
        the figure

    Raises:
        ImageError: if the image or the mask can't be read
    """
    photo = read_image(sample.filepath)
    photo.thumbnail((_PICTURE_PX, _PICTURE_PX))
    mask = masks.read_mask(sample[label_field])
    values = resize(mask, (photo.height, photo.width))
    cells = resize(mask, (photo.height // _CELL_PX + 1, photo.width // _CELL_PX + 1))
    names = np.array([[targets.get(int(value), "no class") for value in row] for row in cells], dtype=np.str_)
    return plots.covered(photo, pictures.paint(values, palette(max(targets, default=1))), names)


def undo(samples: Any, label_field: str) -> str | None:
    """Undoes the last step: a verdict, a copy or a conversion.

    Args:
        samples: a FiftyOne dataset or view
        label_field: the masks under review

    Returns:
        a description of what was undone; ``None`` if there is nothing to undo
    """
    dataset, (count, steps) = dataset_of(samples), _history(dataset_of(samples), label_field)
    if not steps:
        return None
    step = steps.pop()
    _store(dataset).set(label_field, [count + 1, steps])
    if "verdicts" in step:
        _write(dataset, label_field, step["verdicts"])
        return f"verdict on {len(step['verdicts'])} samples undone"
    if step["field"] not in dataset.get_field_schema():
        return f"field {step['field']!r} was already removed"
    if step["new"]:
        dataset.delete_sample_field(step["field"])
        return f"field {step['field']!r} removed"
    dataset.set_values(step["field"], dict.fromkeys(step["ids"]), key_field="id")
    return f"{len(step['ids'])} labels removed from {step['field']!r}"


def revision(samples: Any, label_field: str) -> int:
    """Returns a number that grows with every step, so that a form can tell whether it is up to date."""
    return _history(dataset_of(samples), label_field)[0]


def _has_verdicts(samples: Any, label_field: str) -> bool:
    """Whether the field of verdicts exists; this does not create it.

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


def _declared(samples: Any, label_field: str) -> Any:
    """Returns the dataset; creates its field of verdicts if needed."""
    dataset = dataset_of(samples)
    if not _has_verdicts(samples, label_field):
        dataset.add_sample_field(field_of(label_field), fo.StringField)
    return dataset


def _labelled(samples: Any, label_field: str) -> Any:
    return select_slice(samples).exists(label_field)


def _verdicts(samples: Any, label_field: str) -> dict[str, Verdict | None]:
    return dict(zip(*samples.values(["id", field_of(label_field)]), strict=True))


def _write(dataset: Any, label_field: str, verdicts: dict[str, Any]) -> None:
    dataset.set_values(field_of(label_field), verdicts, key_field="id")


def _copied(label: fo.Segmentation, folder: str) -> fo.Segmentation:
    """A copy of the label with a new id; its mask file is copied, too, because the original may be overwritten later."""
    copy: fo.Segmentation = label.copy()
    if label.mask_path is not None:
        target = Path(label.mask_path).parent / slug(folder) / Path(label.mask_path).name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(label.mask_path, target)
        copy.mask_path = str(target)
    return copy


def _remember(dataset: Any, label_field: str, step: dict[str, Any]) -> None:
    count, steps = _history(dataset, label_field)
    _store(dataset).set(label_field, [count + 1, [*steps, step][-_STEPS_KEPT:]])


def _history(dataset: Any, label_field: str) -> tuple[int, list[dict[str, Any]]]:
    """The total number of steps so far, counting undone steps and undos, and the list of steps that can be undone."""
    count, steps = _store(dataset).get(label_field) or (0, [])
    return count, steps


def _store(dataset: Any) -> ExecutionStore:
    return ExecutionStore.create(_STORE, dataset_id(dataset))
