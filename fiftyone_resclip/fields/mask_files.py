"""Decides where mask files lie: each belongs to one label of one field of one dataset, so no two labels ever share a file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fiftyone_resclip.errors import StorageError
from fiftyone_resclip.fields.names import slug
from fiftyone_resclip.fields.private import dataset_id


def mask_path(output_dir: str | Path, dataset: Any, field: str, name: str) -> Path:
    """Returns the path of a mask file.

    Args:
        output_dir: the user's folder for mask files; several datasets and fields may share it
        dataset: the FiftyOne dataset that the user opened. Its id names the folder: a name can change, and clones share sample
            ids
        field: field of the label; starts with ``frames.`` for a field of video frames
        name: id of the sample or frame

    Returns:
        an absolute path
    """
    return Path(output_dir).expanduser().absolute() / str(dataset_id(dataset)) / slug(field) / f"{name}.png"


def is_own(path: str | None, dataset: Any, field: str) -> bool:
    """Returns whether a mask file belongs to a field of a dataset, according to :func:`mask_path`."""
    return path is not None and Path(path).parts[-3:-1] == (str(dataset_id(dataset)), slug(field))


@contextmanager
def storing(output_dir: Path | None) -> Iterator[None]:
    """Turns errors of the file system into one that says what to do.

    Args:
        output_dir: the user's folder

    Raises:
        StorageError: if a file in the folder can't be written
    """
    try:
        yield
    except StorageError:
        raise  # says what to do already
    except OSError as error:
        raise StorageError(
            f"masks can't be written to {str(output_dir)!r}: {error.strerror or error}; "
            "what was saved is kept, so mend that and repeat the call to go on"
        ) from error


def refuse_unwritable(folder: Path) -> None:
    """Checks that files can be written to a folder, which is created if it is missing.

    Raises:
        StorageError: if not
    """
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"test")
