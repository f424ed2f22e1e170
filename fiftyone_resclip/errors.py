"""The errors this package raises on purpose.

The class tree::

    ResCLIPError
    ├── ConfigError        (ValueError)   an unknown or invalid preset, strategy or setting
    ├── VocabularyError    (ValueError)   invalid classes or phrases
    ├── ShapeError         (ValueError)   tensors or masks with invalid sizes or values
    ├── BackboneError      (ValueError)   a model that ResCLIP can't use
    │   └── WeightsError                  weights that are missing or don't fit
    ├── ImageError         (OSError)      a file that can't be read as an image
    ├── StorageError       (OSError)      a folder or disk that masks can't be written to
    └── DatasetError       (ValueError)   a FiftyOne collection or field that can't be used
        └── DatabaseError                 FiftyOne's database can't be started or went away

Each message states what was expected and what was found; where it is not obvious, it also states what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LISTED, _NEAR = 30, 5


class ResCLIPError(Exception):
    """The base class: catch it to catch everything this package raises on purpose."""


class ConfigError(ResCLIPError, ValueError):
    """A preset, a strategy or a setting is unknown, out of range or impossible in this combination."""


class VocabularyError(ResCLIPError, ValueError):
    """Classes or phrases are missing, blank, repeated or can't be read."""


class ShapeError(ResCLIPError, ValueError):
    """Tensors or masks have invalid sizes or values."""


class BackboneError(ResCLIPError, ValueError):
    """The open_clip model has no image tower that ResCLIP can use."""


class WeightsError(BackboneError):
    """The weights can't be found, fetched or loaded into this architecture."""


class ImageError(ResCLIPError, OSError):
    """A file is missing or can't be decoded as an image."""


class StorageError(ResCLIPError, OSError):
    """Masks can't be written: the disk is full, or the folder is missing or read-only."""


class DatasetError(ResCLIPError, ValueError):
    """A FiftyOne collection or one of its fields can't be used."""


class DatabaseError(DatasetError):
    """FiftyOne's database program can't be found or started."""


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """Writes the message for an unknown name and suggests the nearest known name.

    Args:
        kind: what the name stands for, such as ``"preset"``
        name: the unknown name
        known: the known names

    Returns:
        the message for the user
    """
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=_NEAR, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    listed = near if near and len(names) > _LISTED else names[:_LISTED]
    more = f" and {len(names) - len(listed)} more" if len(names) > len(listed) else ""
    return f"{kind} {name!r} is unknown{hint} Known: {', '.join(listed) or 'none'}{more}"


def counted(number: int, thing: str) -> str:
    """Writes a number with its noun, such as ``"1 image"`` or ``"3 classes"``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}{'es' if thing.endswith('s') else 's'}"
