"""The fields beside a field of masks: which classes an image has (``<field>_classes``), and how certain each pixel is
(``<field>_confidence``).

A companion notes in its ``info`` what it belongs to: the run that fills the masks, by a mark that no renaming changes, or a field
of masks that no run made. So it is found under any name, and a field of that name that somebody else made is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import fiftyone as fo
import numpy as np
from numpy.typing import NDArray

from fiftyone_resclip.fields.class_counts import Counted
from fiftyone_resclip.fields.exclusive import exclusive
from fiftyone_resclip.fields.private import field_documents
from fiftyone_resclip.fields.schema import colour_labels

Kind = Literal["classes", "confidence"]

_NOTE = "resclip_companion"
_TYPES: Mapping[Kind, type] = {"classes": fo.Classifications, "confidence": fo.Heatmap}
_DESCRIPTIONS: Mapping[Kind, str] = {
    "classes": "The classes that the masks show, each with its share of the pixels and their mean confidence",
    "confidence": "How certain each pixel of the masks is",
}


def find(dataset: fo.Dataset, owner: str) -> dict[Kind, str]:
    """Finds the companions of a field of masks, whatever they are called now.

    Args:
        dataset: a FiftyOne dataset
        owner: what they belong to: the mark of a run's files, or :func:`owner_without_run`

    Returns:
        name by kind; that of a field of video frames starts with ``frames.``. A copy of a companion does not count
    """
    found = {}
    for name, document in sorted(field_documents(dataset).items(), key=lambda item: str(item[1].get("created_at")), reverse=True):
        note = (document.get("info") or {}).get(_NOTE)
        if note and note["owner"] == owner:
            found[note["kind"]] = name
    return found


def is_companion(field: fo.Field) -> bool:
    """Returns whether a field of a schema is a companion."""
    return _NOTE in (field.info or {})


def owner_without_run(mask_field: str) -> str:
    """Returns what the companions of a field of masks note if no labelling run made it."""
    return f"field {mask_field}"


def declare(dataset: fo.Dataset, mask_field: str, owner: str, kind: Kind) -> str:
    """Declares a companion, unless it is there already.

    Args:
        dataset: a FiftyOne dataset
        mask_field: the field of masks; starts with ``frames.`` for a field of video frames
        owner: as for :func:`find`
        kind: what it holds

    Returns:
        its name: ``<mask field>_<kind>``, with a number if another field has that name
    """
    with exclusive(dataset):
        known, name, number = find(dataset, owner).get(kind), f"{mask_field}_{kind}", 2
        while known is None and name in field_documents(dataset):
            name, number = f"{mask_field}_{kind}_{number}", number + 1
        _add(dataset, known or name, kind, {_NOTE: {"owner": owner, "kind": kind}})
        if kind == "classes":
            _index(dataset, known or name)
            colour_labels(dataset)
        return known or name


def declare_copy(dataset: fo.Dataset, name: str, kind: Kind) -> None:
    """Declares a companion in the dataset of a view of frames."""
    _add(dataset, name, kind, None)


def _add(dataset: fo.Dataset, name: str, kind: Kind, note: Mapping[str, Any] | None) -> None:
    field = name.removeprefix("frames.")
    add = dataset.add_sample_field if field == name else dataset.add_frame_field
    with exclusive(dataset):
        add(field, fo.EmbeddedDocumentField, embedded_doc_type=_TYPES[kind], info=note, description=_DESCRIPTIONS[kind])
        if kind == "classes":
            add(f"{field}.classifications.share", fo.FloatField)


def _index(dataset: fo.Dataset, name: str) -> None:
    """Makes the indexes without which the App does not offer to sort by share, with and without a filter by class."""
    label, share = (f"{name}.classifications.{part}" for part in ("label", "share"))
    dataset.create_index(share)
    dataset.create_index([(label, 1), (share, 1)])


def classifications(counted: Counted, names: Mapping[int, str]) -> fo.Classifications:
    """Lists the classes that an image has, the largest first.

    Args:
        counted: pixels and confidence by mask value, in order from 0
        names: class name by mask value; other values, such as 0 for unlabelled, are left out but count as pixels

    Returns:
        one ``Classification`` for each class, with its ``share`` of the pixels and, where it is known, its mean ``confidence``
    """
    total, (pixels, confidence) = int(counted.pixels.sum()), counted
    present = [value for value in np.argsort(-pixels, kind="stable").tolist() if pixels[value] and value in names]
    return fo.Classifications(
        classifications=[
            fo.Classification(
                label=names[value],
                confidence=None if np.isnan(confidence[value]) else round(float(confidence[value]), 4),
                share=int(pixels[value]) / total,
            )
            for value in present
        ]
    )


def grey(confidence: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Converts confidence in [0, 1] to the grey values of a heat map's file, 0 to 255."""
    return np.rint(confidence * 255).astype(np.uint8)
