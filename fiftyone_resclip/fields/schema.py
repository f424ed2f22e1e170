"""Declares and finds mask fields of a dataset: their type, class names and colours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import fiftyone as fo

from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.fields import colour_scheme
from fiftyone_resclip.fields.exclusive import exclusive
from fiftyone_resclip.fields.private import change_document, field_documents, refresh, sidebar, stored
from fiftyone_resclip.vocabulary import Vocabulary

MaskTargets = Mapping[int, str]

_RUN = "resclip_run"
#: Labels beside masks that have the names of classes.
_LABELS = (fo.Classification, fo.Classifications, fo.Detections, fo.Polylines)


def mask_targets(vocabulary: Vocabulary) -> dict[int, str]:
    """Returns the class name of each mask value: 1 for the first class, because FiftyOne reserves 0 for unlabelled pixels."""
    return dict(enumerate(vocabulary.class_names, start=1))


def declare_field(
    dataset: fo.Dataset, field: str, targets: MaskTargets, colours: Mapping[str, str] | None = None, run: str | None = None
) -> None:
    """Declares a mask field with its confidence, class names and colours, before any mask is written.

    Other mask fields whose classes have no colours, such as a ground truth, get those of the same class names.

    Several processes may declare fields of a dataset at the same time. Calling this again repairs a declaration that was lost.

    Args:
        dataset: a FiftyOne dataset
        field: name; starts with ``frames.`` for a field of video frames
        targets: class name by mask value
        colours (None): hex colour by class name; by default those that the classes have in the dataset
        run (None): key of the labelling run that fills the field, if one does

    Raises:
        DatasetError: if the field exists and holds something other than segmentations
    """
    has_masks(dataset, field)
    frame_field = field.removeprefix("frames.")
    add = dataset.add_sample_field if field == frame_field else dataset.add_frame_field
    with exclusive(dataset):
        note = None if run is None else {_RUN: run}  # in the same write, so that no field is ever without it
        add(frame_field, fo.EmbeddedDocumentField, embedded_doc_type=fo.Segmentation, info=note)
        add(f"{frame_field}.confidence", fo.FloatField)
        named = colours or colour_scheme.class_colours(dataset, [*targets.values()], field)
        dataset.mask_targets = {**dataset.mask_targets, field: dict(targets)}
        colour_scheme.colour(dataset, field, targets, named)
        colour_labels(dataset)
        if run is not None:
            set_run_key(dataset, field, run)


def colour_labels(dataset: fo.Dataset) -> None:
    """Gives each field of masks or other labels the colours of its class names, where the user chose none."""
    with exclusive(dataset):
        dataset.app_config.color_scheme = coloured(dataset)


def coloured(dataset: fo.Dataset) -> fo.ColorScheme:
    """Returns the colour scheme that :func:`colour_labels` saves."""
    others = [name for kind in _LABELS for name in fields_of(dataset, kind, frames=True)]
    return colour_scheme.completed(dataset, mask_fields(dataset, frames=True), others)


def move_declaration(dataset: fo.Dataset, before: str, field: str, targets: MaskTargets) -> None:
    """Gives a renamed field its class names and colours, which FiftyOne leaves under the old name.

    Args:
        dataset: a FiftyOne dataset
        before: the old name, which may be that of another field now
        field: the new name
        targets: class name by mask value
    """
    declare_field(dataset, field, targets, colour_scheme.class_colours(dataset, [*targets.values()], before))
    if before not in field_documents(dataset):
        forget_field(dataset, before)


def forget_field(dataset: fo.Dataset, field: str) -> None:
    """Removes the class names and colours of a field that is gone; call it while holding the dataset's lock."""
    dataset.mask_targets = {name: targets for name, targets in dataset.mask_targets.items() if name != field}
    colour_scheme.forget_colours(dataset, field)


def put_in_group(dataset: fo.Dataset, group: str, fields: Sequence[str]) -> None:
    """Puts fields into a group of the App's sidebar, which is created if it is new."""
    with exclusive(dataset):
        change_document(dataset, {"$set": sidebar(dataset, group, add=fields)})
    refresh(dataset)


def is_declared(dataset: fo.Dataset, field: str, targets: MaskTargets, companions: Iterable[str] = ()) -> bool:
    """Returns whether the database, whatever this process remembers, has a mask field with its class names and colours.

    Args:
        dataset: a FiftyOne dataset
        field: name; starts with ``frames.`` for a field of video frames
        targets: class name by mask value
        companions (()): other fields that must be declared
    """
    document = stored(dataset) or {}
    part, name = ("frame_fields", field.removeprefix("frames.")) if field.startswith("frames.") else ("sample_fields", field)
    scheme = (document.get("app_config") or {}).get("color_scheme") or {}
    declared = {known["name"] for known in document.get(part) or ()}
    return (
        declared.issuperset([name, *(companion.removeprefix("frames.") for companion in companions)])
        and document["mask_targets"].get(field) == {str(value): label for value, label in targets.items()}
        and field in (coloured["path"] for coloured in scheme.get("fields") or ())
    )


def has_masks(dataset: fo.Dataset, field: str) -> bool:
    """Returns whether a mask field exists.

    Args:
        dataset: a FiftyOne dataset
        field: name; starts with ``frames.`` for a field of video frames

    Raises:
        DatasetError: if the field exists but holds something else
    """
    frame_field = field.removeprefix("frames.")
    schema = dataset.get_field_schema() if field == frame_field else dataset.get_frame_field_schema()
    existing = (schema or {}).get(frame_field)
    if existing is not None and getattr(existing, "document_type", None) is not fo.Segmentation:
        raise DatasetError(
            f"field {field!r} must hold Segmentation labels or be new, but it is a {type(existing).__name__}; choose another name"
        )
    return existing is not None


def run_key(dataset: fo.Dataset, field: str) -> str | None:
    """Returns the key of the labelling run that fills a field, as noted in the database; ``None`` if there is none."""
    return _note(field_documents(dataset).get(field))


def field_of_run(dataset: fo.Dataset, key: str, name: str) -> str | None:
    """Finds the field that a run fills. FiftyOne keeps the note of its run in a field that is renamed, and copies it with one.

    Args:
        dataset: a FiftyOne dataset
        key: key of the run
        name: the last known name of the field

    Returns:
        the oldest field with the note; ``None`` if there is none
    """
    noted = [
        (str(field.get("created_at")), path != name, path)
        for path, field in field_documents(dataset).items()
        if _note(field) == key
    ]
    return min(noted)[2] if noted else None


def set_run_key(dataset: fo.Dataset, field: str, key: str) -> None:
    """Names the labelling run that fills a field. FiftyOne keeps this note when the field is renamed."""
    document, known = field_documents(dataset).get(field), dataset.get_field(field)
    if known is not None and document is not None and _note(document) != key:
        known.info = {**(document.get("info") or {}), _RUN: key}
        known.save()


def mask_fields(samples: fo.core.collections.SampleCollection, *, frames: bool = False) -> list[str]:
    """Lists the mask fields of a collection.

    Args:
        samples: a FiftyOne dataset or view
        frames (False): whether to list fields of video frames too; their names start with ``frames.``

    Returns:
        field names, in the order of the schema
    """
    return fields_of(samples, fo.Segmentation, frames=frames)


def fields_of(samples: fo.core.collections.SampleCollection, label_type: type[fo.Label], *, frames: bool = False) -> list[str]:
    """Lists the fields of labels of a type, as :func:`mask_fields` does."""
    fields = list(samples.get_field_schema(embedded_doc_type=label_type))
    of_frames = samples.get_frame_field_schema(embedded_doc_type=label_type) if frames else None
    return fields + [f"frames.{name}" for name in of_frames or ()]


def _note(document: Mapping[str, Any] | None) -> str | None:
    return None if document is None else (document.get("info") or {}).get(_RUN)
