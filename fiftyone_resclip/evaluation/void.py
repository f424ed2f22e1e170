"""Void values: ground-truth values that are not counted. Parses what users write and resolves the default."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from typing import Any, Final

import fiftyone.core.fields as fof
import numpy as np

from fiftyone_resclip.errors import ConfigError, DatasetError

Ignored = int | str | Collection[int | str] | None

#: The default: :data:`DEFAULT_VALUE` is void, or an error is raised if the ground truth uses that value for a class.
AUTO: Final = "auto"
DEFAULT_VALUE: Final = 255

#: Names that mean void: a value with such a name is no class, and if 255 has one, it is still void by default.
_VOID_NAMES = {"void", "ignore", "ignored", "unlabeled", "unlabelled", "unknown", "255"}
_LARGEST_VALUE = 0xFFFFFF


def is_void(value: Any, name: str) -> bool:
    """Returns whether a mask target stands for pixels without a class, by its value or its name."""
    return value == DEFAULT_VALUE or name.casefold() in _VOID_NAMES


def parse_void(text: str) -> Ignored:
    """Parses void values that a user typed.

    Args:
        text: numbers or ``#rrggbb`` colours, separated by commas; empty for no void; ``"auto"`` for the default

    Returns:
        a value for ``ignore_index``

    Raises:
        ConfigError: if a part is neither a number nor a colour
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if parts == [AUTO]:
        return AUTO
    try:
        values = [part if part.startswith("#") else int(part) for part in parts]
    except ValueError as error:
        raise ConfigError(f"void values must be numbers or '#rrggbb' separated by commas, but got {text!r}") from error
    return values[0] if len(values) == 1 else values or None


def resolve_void(ignore_index: Ignored, field: str, targets: Mapping[int, str], in_colour: bool) -> Ignored:
    """Resolves the default for a ground truth; explicit values stay unchanged.

    Args:
        ignore_index: the user's setting
        field: ground-truth field, for the error message
        targets: class name by value
        in_colour: whether masks encode classes as colours

    Returns:
        the void values, never :data:`AUTO`

    Raises:
        DatasetError: if the default value is a class of the ground truth
    """
    if in_colour and ignore_index in (AUTO, DEFAULT_VALUE):
        return None  # read as a colour, 255 would be blue
    if ignore_index != AUTO:
        return ignore_index
    name = targets.get(DEFAULT_VALUE)
    if name is not None and name.casefold() not in _VOID_NAMES:
        raise DatasetError(
            f"value {DEFAULT_VALUE} of {field!r} is void by default, but it is also the class {name!r}; pass "
            f"ignore_index=None to count it, or ignore_index={DEFAULT_VALUE} to leave it out"
        )
    return DEFAULT_VALUE


def void_values(ignore_index: Ignored) -> set[int]:
    """Returns the void mask values as numbers; colours become ``0xRRGGBB``.

    Args:
        ignore_index: one value, several, or ``None``

    Returns:
        mask values

    Raises:
        ConfigError: if a value is negative, too large, or neither a number nor a colour
    """
    if ignore_index is None:
        return set()
    values: list[Any] = [ignore_index]
    if isinstance(ignore_index, (Sequence, Set)) and not isinstance(ignore_index, str):
        values = list(ignore_index)
    for value in values:
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if not (fof.is_rgb_target(value) if isinstance(value, str) else whole and 0 <= value <= _LARGEST_VALUE):
            raise ConfigError(f"ignore_index must be mask values of at least 0 or '#rrggbb' colours, but got {value!r}")
    return {mask_value(value) for value in values}


def mask_value(key: int | str) -> int:
    """Returns a mask target's key as a number: ``"#rrggbb"`` becomes ``0xRRGGBB``."""
    return int(fof.hex_to_int(key)) if isinstance(key, str) else int(key)
