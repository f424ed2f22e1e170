"""Decides where mask files lie, and which may be removed.

Each call of a function that writes masks names its files anew: FiftyOne copies the *paths* of masks to clones of fields and
datasets, so a file that changes or goes would change or break the copies. For the same reason, a file is removed only if no
label of any dataset names it.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fiftyone_resclip.errors import StorageError
from fiftyone_resclip.fields.names import slug
from fiftyone_resclip.fields.private import dataset_id, named_in

_OF_A_SAMPLE = re.compile(r"[0-9a-f]{24}(-.*)?\.png")


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


def is_own(path: str, dataset: Any) -> bool:
    """Returns whether a mask file is one that we wrote for a dataset, according to :func:`mask_path`."""
    return folder_is_own(Path(path).parent, dataset) and _OF_A_SAMPLE.fullmatch(Path(path).name) is not None


def folder_is_own(folder: Path, dataset: Any) -> bool:
    """Returns whether a folder is one of a field of this dataset; a clone inherits records that name the original's folders."""
    return folder.parent.name == str(dataset_id(dataset))


def written_by(writer: str, folders: Iterable[Path]) -> list[Path]:
    """Lists the files of a writer, and the partial files that it left when it was killed.

    Args:
        writer: what stands in the names of its files after the sample's id
        folders: where to look
    """
    return [path for folder in folders for path in folder.glob(f"*-{writer}-*") if path.suffix in (".png", ".partial")]


def unused(paths: Iterable[Path], besides: tuple[Any, Collection[str]] | None = None) -> set[Path]:
    """Returns those files of masks and heat maps that no label names.

    Args:
        paths: the files; some may be gone already
        besides (None): a FiftyOne dataset and fields of it whose labels don't matter
    """
    files = set(paths)
    used = named_in({str(path.parent) for path in files}, besides) if files else set()
    return {path for path in files if str(path) not in used}


def remove_unused(paths: Iterable[Path], besides: tuple[Any, Collection[str]] | None = None) -> dict[Path, OSError]:
    """Removes mask files that no label names.

    Args:
        paths: the files; some may be gone already
        besides (None): a FiftyOne dataset and fields of it whose labels don't matter

    Returns:
        the files that can't be removed, and why
    """
    failed = {}
    for path in unused(paths, besides):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            failed[path] = error
    return failed


@contextmanager
def storing(output_dir: Path | None, what: str = "masks") -> Iterator[None]:
    """Turns errors of the file system into one that says what to do.

    Args:
        output_dir: the user's folder
        what ("masks"): what is written there

    Raises:
        StorageError: if a file in the folder can't be written
    """
    try:
        yield
    except StorageError:
        raise  # says what to do already
    except OSError as error:
        raise StorageError(
            f"{what} can't be written to {str(output_dir)!r}: {error.strerror or error}; "
            "what was saved is kept, so mend that and repeat the call to go on"
        ) from error


def check_writable(folder: Path, what: str = "masks") -> None:
    """Does what :func:`refuse_unwritable` does, without making the folder: looks at the one in which it would be made.

    Args:
        folder: the folder
        what ("masks"): what is to be written there

    Raises:
        StorageError: if files can't be written there
    """
    refuse_unwritable(next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists()), what)


def refuse_unwritable(folder: Path, what: str = "masks") -> None:
    """Checks that files can be written to a folder, which is created if it is missing.

    Args:
        folder: the folder
        what ("masks"): what is to be written there

    Raises:
        StorageError: if not
    """
    with storing(folder, what):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"test")
