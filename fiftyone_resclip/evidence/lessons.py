"""Keeps what examples taught under a name, so that it can be used for other datasets and in other processes.

Each is one file in safetensors' format, which can hold no code: the correction, and everything else as JSON in its header. The
folder is ``FIFTYONE_RESCLIP_LESSONS``, by default ``resclip-lessons`` beside FiftyOne's datasets.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

import fiftyone as fo
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from fiftyone_resclip.core.teaching import Taught
from fiftyone_resclip.core.text import Correction
from fiftyone_resclip.errors import DatasetError, StorageError, unknown
from fiftyone_resclip.fields.names import checked, slug

_KIND = "lesson"
_ENDING = ".safetensors"


def save_lesson(name: str, taught: Taught) -> Path:
    """Saves what examples taught; replaces an earlier lesson of the same name.

    Args:
        name: the name for it
        taught: ``model.taught`` of a model from :func:`fiftyone_resclip.learn`

    Returns:
        its file

    Raises:
        DatasetError: if the name is blank or not text, or the model was taught nothing
        StorageError: if the file can't be written
    """
    path = _path(name)
    if not isinstance(taught, Taught):
        raise DatasetError(f"a lesson must be the `taught` of a model from learn(), but got {type(taught).__name__}")
    content = save(
        {part: values.contiguous() for part, values in taught.correction._asdict().items()},
        {"name": name.strip(), "taught": json.dumps(taught.to_json())},
    )
    partial = path.with_name(f".{path.stem}.{token_hex(6)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise StorageError(f"lesson {name!r} must be saved to {str(path)!r}, but: {error.strerror or error}") from error
    return path


def load_lesson(name: str) -> Taught:
    """Loads a lesson.

    Args:
        name: the name it was saved under

    Returns:
        what was taught, exactly as it was saved; :func:`fiftyone_resclip.load_model` takes it

    Raises:
        DatasetError: if there is no such lesson, or its file is damaged
    """
    path = _path(name)
    if not path.is_file():
        raise DatasetError(unknown(_KIND, name, list_lessons()))
    try:
        _, taught = _read(path)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"lesson {name!r} must be the file that was saved, but is damaged: {error}; learn again") from error
    return taught


def list_lessons() -> list[str]:
    """Lists the names of the saved lessons, sorted; files that are no lessons are left out."""
    names = []
    for path in lessons_folder().glob(f"*{_ENDING}"):
        try:
            names.append(_read(path)[0])
        except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return sorted(names)


def delete_lesson(name: str) -> None:
    """Deletes a lesson; does nothing if it does not exist.

    Raises:
        DatasetError: if the name is blank or not text
    """
    _path(name).unlink(missing_ok=True)


def _read(path: Path) -> tuple[str, Taught]:
    with safe_open(path, "pt") as file:
        told = file.metadata() or {}
        correction = Correction(*(file.get_tensor(part) for part in Correction._fields))
    return told["name"], Taught.from_json(json.loads(told["taught"]), correction)


def _path(name: str) -> Path:
    return lessons_folder() / f"{slug(checked(name, _KIND).strip())}{_ENDING}"


def lessons_folder() -> Path:
    """Returns the folder of lessons, which may not exist yet."""
    configured = os.environ.get("FIFTYONE_RESCLIP_LESSONS")
    return Path(configured).expanduser() if configured else Path(fo.config.default_dataset_dir) / "resclip-lessons"
