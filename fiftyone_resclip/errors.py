"""Every error this package raises on purpose.

The tree::

    ResCLIPError
    ├── ConfigError        (ValueError)   a preset, strategy or setting that can't be
    ├── VocabularyError    (ValueError)   classes or phrases that can't be
    ├── ShapeError         (ValueError)   tensors or masks whose sizes or values don't fit
    ├── BackboneError      (ValueError)   a model this method can't use
    │   └── WeightsError                  weights that are missing or don't fit
    ├── ImageError         (OSError)      a file that can't be read as an image
    └── DatasetError       (ValueError)   a FiftyOne collection or field that can't be used
        └── DatabaseError                 FiftyOne's database can't be started

Each message says what was expected, what came and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ResCLIPError(Exception):
    """The root: catch this to catch everything this package raises on purpose."""


class ConfigError(ResCLIPError, ValueError):
    """A preset, a strategy or a setting is unknown, out of range or impossible in this combination."""


class VocabularyError(ResCLIPError, ValueError):
    """Classes or phrases are missing, blank, repeated or can't be read."""


class ShapeError(ResCLIPError, ValueError):
    """Tensors or masks have sizes or values that can't be."""


class BackboneError(ResCLIPError, ValueError):
    """The open_clip model has no tower that the method can be run on."""


class WeightsError(BackboneError):
    """The weights can't be found, fetched or loaded into this architecture."""


class ImageError(ResCLIPError, OSError):
    """A file is missing or can't be decoded as an image."""


class DatasetError(ResCLIPError, ValueError):
    """A FiftyOne collection or one of its fields can't be used for this."""


class DatabaseError(DatasetError):
    """FiftyOne's database program can't be found or started."""


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """Words the message for an unknown name, with the nearest known one.

    Args:
        kind: what the name stands for, such as ``"preset"``
        name: the name that came
        known: the names that are known

    Returns:
        one sentence for the user
    """
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return f"{kind} {name!r} is unknown{hint} Known: {', '.join(names)}"
