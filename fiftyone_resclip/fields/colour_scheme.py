"""Reads and writes how the App colours masks: one colour for each class name of a dataset, in every field.

The colours are those of FiftyOne's own colour scheme, so what the user chose there holds everywhere.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

import fiftyone as fo
from PIL import ImageColor

from fiftyone_resclip.fields.colours import colours_for

_COLOURS, _VALUES = "maskTargetsColors", "valueColors"


def class_colours(dataset: fo.Dataset, class_names: Collection[str], field: str | None = None) -> dict[str, str]:
    """Returns the colour of each class, as the masks of a dataset show it, or will show it.

    Args:
        dataset: a FiftyOne dataset
        class_names: names of classes
        field (None): a field whose own colours come before those of the others

    Returns:
        hex colour by name
    """
    scheme = _scheme(dataset)
    paths = [entry["path"] for entry in scheme.fields or [] if entry.get(_COLOURS)]
    known: dict[str, str] = {}
    for path in sorted(paths, key=lambda path: path != field):
        known = {**colours_of(dataset, path), **known}
    known = {**_named(dataset.default_mask_targets, scheme.default_mask_targets_colors), **known}
    return colours_for(class_names, known)


def colours_of(dataset: fo.Dataset, field: str) -> dict[str, str]:
    """Returns the hex colours of a field's classes by name, as far as they have one."""
    entries = [entry.get(_COLOURS) for entry in _scheme(dataset).fields or [] if entry["path"] == field]
    return _named(targets_of(dataset, field), entries[0] if entries else None)


def targets_of(dataset: fo.Dataset, field: str) -> Mapping[Any, str]:
    """Returns the class name by mask value of a field; by colour, if its masks encode classes as colours."""
    targets: Mapping[Any, str] = dataset.mask_targets.get(field) or dataset.default_mask_targets or {}
    return targets


def colour(dataset: fo.Dataset, field: str, targets: Mapping[int, str], colours: Mapping[str, str]) -> None:
    """Gives a field's classes their colours; call it while holding the dataset's lock.

    Args:
        dataset: a FiftyOne dataset
        field: name of the field
        targets: class name by mask value
        colours: hex colour by class name
    """
    scheme = _scheme(dataset)
    _entry(scheme, field)[_COLOURS] = [{"intTarget": value, "color": colours[name]} for value, name in targets.items()]
    dataset.app_config.color_scheme = scheme


def completed(dataset: fo.Dataset, fields: Sequence[str], others: Sequence[str] = ()) -> fo.ColorScheme:
    """Returns the colour scheme of a dataset, with a colour for each class of some fields, where the user chose none.

    Args:
        dataset: a FiftyOne dataset; nothing is saved
        fields: names of mask fields; names that start with ``frames.`` are fields of video frames
        others (()): names of fields of other labels, which get the colours of the classes of the masks

    Returns:
        a colour scheme that colours by class
    """
    scheme, named = _scheme(dataset), [(field, targets_of(dataset, field)) for field in fields]
    colours = class_colours(dataset, [name for _, targets in named for name in targets.values()])
    for field, targets in named:
        values = {value: colours[name] for value, name in targets.items() if isinstance(value, int)}
        if values:
            entry = _entry(scheme, field)
            own = {each["intTarget"]: each["color"] for each in entry.get(_COLOURS) or []}
            entry[_COLOURS] = [{"intTarget": value, "color": colour} for value, colour in {**values, **own}.items()]
    for field in others if colours else ():
        entry = _entry(scheme, field)
        if entry.setdefault("colorByAttribute", "label") == "label":
            chosen = {each["value"]: each["color"] for each in entry.get(_VALUES) or []}
            entry[_VALUES] = [{"value": name, "color": colour} for name, colour in {**colours, **chosen}.items()]
    return scheme


def forget_colours(dataset: fo.Dataset, field: str) -> None:
    """Removes the colours of a field that is gone; call it while holding the dataset's lock."""
    scheme = dataset.app_config.color_scheme
    if scheme is not None:
        scheme.fields = [known for known in scheme.fields or [] if known["path"] != field]
        dataset.app_config.color_scheme = scheme


def _scheme(dataset: fo.Dataset) -> fo.ColorScheme:
    """Returns a copy of the dataset's colour scheme that colours by class."""
    scheme = dataset.app_config.color_scheme
    scheme = fo.ColorScheme() if scheme is None else scheme.copy()
    scheme.color_by, scheme.fields = "value", [dict(entry) for entry in scheme.fields or []]
    return scheme


def _entry(scheme: fo.ColorScheme, field: str) -> dict[str, Any]:
    """Returns the entry of a field; adds one if there is none."""
    for entry in scheme.fields:
        if entry["path"] == field:
            return entry  # type: ignore[no-any-return]  # FiftyOne has no type information
    scheme.fields = [*scheme.fields, {"path": field}]
    return scheme.fields[-1]  # type: ignore[no-any-return]


def _named(targets: Mapping[Any, str], entries: Sequence[Mapping[str, Any]] | None) -> dict[str, str]:
    """Returns colours by class name. Masks that encode classes as colours have these colours."""
    by_value: dict[Any, str] = {colour["intTarget"]: colour["color"] for colour in entries or []}
    found = {name: by_value.get(value, str(value)) for value, name in targets.items()}
    named = {}
    for name, colour in found.items():
        with suppress(ValueError):  # no colour, or not one that can be read
            named[name] = "#{:02x}{:02x}{:02x}".format(*ImageColor.getrgb(colour)[:3])
    return named
