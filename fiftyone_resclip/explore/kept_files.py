"""Writes and removes the mask files of copies of kept masks.

A step of a review records, for each sample, the ``path`` of the file that it made, and ``file``, a digest of its content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from bson import ObjectId

from fiftyone_resclip.errors import ImageError
from fiftyone_resclip.fields import schema
from fiftyone_resclip.fields.mask_files import mask_path
from fiftyone_resclip.fields.private import dataset_id, sample_collection

#: What a step has made, by sample id.
Made = Mapping[str, Mapping[str, Any]]


def digest(content: bytes) -> bytes:
    """Returns 8 bytes that tell contents apart."""
    return hashlib.blake2b(content, digest_size=8).digest()


def with_paths(dataset: Any, *whole_fields: str) -> dict[str, int]:
    """Returns the projection that loads fields, and of all other masks of a sample the path."""
    paths = (f"{field}.mask_path" for field in schema.mask_fields(dataset) if field not in whole_fields)
    return dict.fromkeys(("_id", *whole_fields, *paths), 1)


def path_of_copy(dataset: Any, field: str, sample: Mapping[str, Any], original: str) -> Path:
    """Returns the path for the copy of a mask file: among the masks of its own field, where no other label has its file.

    Args:
        dataset: a FiftyOne dataset
        field: the field of the copy
        sample: the document of the sample, loaded :func:`with_paths`
        original: the path of the original; the copy goes to the same output folder, or next to it
    """
    folder = Path(original).parent
    root = folder.parent.parent if folder.parent.name == str(dataset_id(dataset)) else folder
    path, number = mask_path(root, dataset, field, str(sample["_id"])), 2
    while str(path) in _paths_in(sample):  # a field that was renamed keeps its files
        path, number = path.with_stem(f"{sample['_id']}-{number}"), number + 1
    return path


def read(path: str) -> bytes:
    """Reads a mask file.

    Raises:
        ImageError: if it is missing or no file; reading a pipe would wait for ever
    """
    if not Path(path).is_file():
        raise ImageError(f"mask {path!r} must be a file")
    return Path(path).read_bytes()


def write(content: bytes, path: Path, step_id: str) -> None:
    """Writes a file as a whole or not at all; the step's id is in the name of the partial file.

    Raises:
        ImageError: if the file can't be written
    """
    partial = path.with_name(f".{path.stem}.{step_id}.{uuid4().hex}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("xb") as file:
            file.write(content)
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise ImageError(f"mask file {str(path)!r} must be writable, but: {error}; then copy again to go on, or undo") from error


def is_unchanged(made: Mapping[str, Any], *, if_missing: bool = True) -> bool:
    """Returns whether a file has the content that a step wrote; ``if_missing`` if there is no such file."""
    try:
        return digest(Path(made["path"]).read_bytes()) == bytes(made["file"])
    except FileNotFoundError:
        return if_missing


def remove(dataset: Any, made: Made) -> None:
    """Removes those unchanged files of a step that no label of their sample refers to."""
    files = {key: entry for key, entry in made.items() if "path" in entry}
    samples = sample_collection(dataset).find({"_id": {"$in": [ObjectId(key) for key in files]}}, with_paths(dataset))
    used = {path for sample in samples for path in _paths_in(sample)}
    for entry in files.values():
        if entry["path"] not in used and is_unchanged(entry, if_missing=False):
            Path(entry["path"]).unlink(missing_ok=True)


def remove_partial(folders: Iterable[Path], step_id: str) -> None:
    """Removes the files that processes were writing when they were killed."""
    for folder in folders:
        for partial in folder.glob(f".*.{step_id}.*.partial"):
            partial.unlink(missing_ok=True)


def folders(made: Made) -> set[Path]:
    """Returns the folders of the files of a step."""
    return {Path(entry["path"]).parent for entry in made.values() if "path" in entry}


def _paths_in(sample: Mapping[str, Any]) -> set[str]:
    return {value["mask_path"] for value in sample.values() if isinstance(value, dict) and value.get("mask_path")}
