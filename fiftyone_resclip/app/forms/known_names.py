"""The class names that a dataset and the saved vocabularies know, for forms to offer; never names of pixels without a class."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from fiftyone_resclip.errors import VocabularyError
from fiftyone_resclip.evaluation.void import is_void
from fiftyone_resclip.explore import saved_vocabularies


def of_fields(dataset: Any) -> dict[str, list[str]]:
    """Returns the class names of each field that has mask targets."""
    named = {field: _names(targets) for field, targets in dataset.mask_targets.items()}
    return {field: names for field, names in named.items() if names}


def of_dataset(dataset: Any) -> list[str]:
    """Returns the dataset's default classes and default mask targets; without these, the classes of its fields."""
    defaults = [*dataset.default_classes, *_names(dataset.default_mask_targets)]
    names = defaults or [name for names in dataset.classes.values() for name in names]
    return [name for name in dict.fromkeys(names) if not is_void(None, name)]


def every(dataset: Any) -> list[str]:
    """Returns all names that a user may mean: those of fields, of the dataset and of saved vocabularies."""
    saved = list[str]()
    for known in saved_vocabularies.names():
        with suppress(VocabularyError):  # a damaged one has nothing to offer
            saved.extend(saved_vocabularies.load(known).class_names)
    fields = [name for names in of_fields(dataset).values() for name in names]
    return list(dict.fromkeys([*fields, *of_dataset(dataset), *saved]))


def _names(targets: Mapping[Any, str]) -> list[str]:
    """Returns the names of mask targets that are classes."""
    return list(dict.fromkeys(name for value, name in targets.items() if not is_void(value, name)))
