"""Names of datasets, fields and the like: checks them, and turns them into names of files and folders."""

from __future__ import annotations

import hashlib
import re

from fiftyone_resclip.errors import DatasetError, ResCLIPError

_LONGEST = 80
_PLAIN = re.compile(r"[a-z0-9_][a-z0-9_.-]*", re.ASCII)
_WITH_HASH = re.compile(r".*-[0-9a-f]{16}")
_NAME_OF_A_FIELD = re.compile(r"[^.$\x00-\x1f\x7f\ud800-\udfff]+")
_UNSAFE = re.compile(r"[^a-z0-9_-]+", re.ASCII)


def checked(name: object, kind: str, error: type[ResCLIPError] = DatasetError) -> str:
    """Refuses a name that is not text, such as ``{"$ne": None}``, which the database would take for a query.

    Args:
        name: what the user passed
        kind: what the name stands for, such as ``"field"``
        error (DatasetError): the error to raise

    Returns:
        the name

    Raises:
        ResCLIPError: if the name is not text, or is blank
    """
    if not isinstance(name, str):
        raise error(f"the name of a {kind} must be text, but got {type(name).__name__}")
    if not name.strip():
        raise error(f"a {kind} needs a name, but the name is empty")
    return name


def checked_field(name: object) -> str:
    """Refuses a name that a field can't have; FiftyOne would take dots for embedded fields, or fail somewhere in the middle.

    Args:
        name: what the user passed

    Returns:
        the name

    Raises:
        DatasetError: if the name is not text, is blank, or FiftyOne can't have a field of that name
    """
    text = checked(name, "field")
    if text.startswith("_") or not _NAME_OF_A_FIELD.fullmatch(text):
        hint = "; leave out 'frames.', which is added for frames of videos" if text.startswith("frames.") else ""
        raise DatasetError(
            f"the name of a field can't start with _ or contain . or $ or control characters, but got {text!r}{hint}"
        )
    return text


def slug(name: str) -> str:
    """Turns a name into the name of one file or folder, so that a path made from it stays inside its folder.

    Args:
        name: any text

    Returns:
        the name itself if it is short and has only small letters, digits, ``_``, ``-`` and ``.``; otherwise what remains of it,
        and a hash. Different names have different slugs, even on disks that ignore case
    """
    if len(name) <= _LONGEST and _PLAIN.fullmatch(name) and not _WITH_HASH.fullmatch(name):
        return name
    readable = _UNSAFE.sub("-", name.lower()).strip("-")[:_LONGEST].rstrip("-")
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return f"{readable or 'name'}-{digest}"
