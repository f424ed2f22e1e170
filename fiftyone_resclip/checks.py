"""Checks the values that users pass: each error says what was expected, what came and, where it is not obvious, what to do.

Names of datasets and fields are checked in :mod:`fiftyone_resclip.fields.names`, words in :mod:`fiftyone_resclip.vocabulary`.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path

from fiftyone_resclip.errors import ConfigError, ResCLIPError, unknown


def is_number(value: object) -> bool:
    """Returns whether a value is a finite number; ``True`` and ``False`` are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def check_unit(name: str, value: float) -> None:
    """Refuses anything but a number in [0, 1]."""
    if not is_number(value) or not 0 <= value <= 1:
        raise ConfigError(f"{name} must be a number in [0, 1], but got {value!r}")


def check_positive(name: str, value: float) -> None:
    """Refuses anything but a number above 0."""
    if not is_number(value) or value <= 0:
        raise ConfigError(f"{name} must be a number above 0, but got {value!r}")


def check_whole(name: str, value: int, least: int, remedy: str = "") -> None:
    """Refuses anything but a whole number of at least ``least``."""
    if not is_number(value) or value != int(value) or value < least:
        raise ConfigError(f"{name} must be a whole number of at least {least}, but got {value!r}{remedy}")


def check_switch(name: str, value: object) -> None:
    """Refuses anything but true and false: the text ``"no"`` would count as true."""
    if type(value).__name__ not in ("bool", "bool_"):  # or numpy's
        raise ConfigError(f"{name} must be True or False, but got {value!r}")


def check_known(kind: str, name: object, known: Collection[str], error: type[ResCLIPError] = ConfigError) -> None:
    """Refuses a name that is not among those that are known; the message suggests the nearest."""
    if not isinstance(name, str) or name not in known:
        raise error(unknown(kind, name, known))


def checked_path(name: str, value: object, error: type[ResCLIPError] = ConfigError) -> Path:
    """Returns a path with the home folder written out; refuses blank text, which would mean the current folder."""
    if not isinstance(value, (str, Path)) or not str(value).strip():
        raise error(f"{name} must be a path, but got {value!r}")
    return Path(value).expanduser()
