"""Reads from tags, classifications and detections which classes are in an image, so that only those compete."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import fiftyone as fo
import torch
from torch import Tensor

from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.vocabulary import Vocabulary

PRESENCE_TYPES = (fo.Classification, fo.Classifications, fo.Detection, fo.Detections)
_LISTS = {fo.Classifications: "classifications", fo.Detections: "detections"}


def check_presence(samples: Any, field: str) -> None:
    """Refuses a field that can't say what is in an image.

    Args:
        samples: a FiftyOne dataset or view
        field: name of the field, such as ``"tags"``

    Raises:
        DatasetError: if there is no such field, or it holds neither tags nor labels with a name
    """
    known = samples.get_field(field)
    is_text = isinstance(known, fo.StringField) or (isinstance(known, fo.ListField) and isinstance(known.field, fo.StringField))
    if not is_text and getattr(known, "document_type", None) not in PRESENCE_TYPES:
        names = ", ".join(each.__name__ for each in PRESENCE_TYPES)
        found = "is no field" if known is None else f"holds {known}"
        raise DatasetError(f"present must name a field of tags, {names}, but {field!r} {found}")


def present_classes(value: Any, vocabulary: Vocabulary) -> Tensor | None:
    """Finds the classes that a sample names.

    Args:
        value: the sample's tags, text or label; names are compared with those of classes and with their phrases, in any case
        vocabulary: the classes

    Returns:
        whether each class may be in the image, ``(C,)`` bool, always true for the background; ``None`` if no class is named
    """
    numbers = {number for name in _names(value) for number in _numbers(vocabulary).get(_plain(name), ())}
    if not numbers:
        return None
    present = torch.zeros(len(vocabulary.class_names), dtype=torch.bool)
    present[[*numbers, *([] if vocabulary.background is None else [vocabulary.fallback])]] = True
    return present


def _numbers(vocabulary: Vocabulary) -> Mapping[str, set[int]]:
    numbers: dict[str, set[int]] = {}
    for number, (name, phrases) in enumerate(zip(vocabulary.class_names, vocabulary.phrases, strict=True)):
        for text in (name, *phrases):
            numbers.setdefault(_plain(text), set()).add(number)
    return numbers


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").split()).casefold()


def _names(value: Any) -> list[str]:
    if isinstance(value, PRESENCE_TYPES):
        labels = getattr(value, _LISTS[type(value)]) if type(value) in _LISTS else [value]
        return [label.label for label in labels if label.label]
    return [value] if isinstance(value, str) else list(value or ())
