"""Notices when the folder for mask files is taken away under a run: deleted, moved, replaced or unmounted."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from fiftyone_resclip.errors import StorageError
from fiftyone_resclip.fields.mask_files import refuse_unwritable


class FolderWatch:
    """Remembers which folder it was while a ``with`` block lasts.

    The folder stays open, where the system allows that, or a new folder might get the number of one that was deleted.

    Args:
        folder: the folder
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: tuple[int, int] | None = None
        self._opened: int | None = None

    def __enter__(self) -> FolderWatch:
        if self.folder.is_dir():
            self._remember()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._opened is not None:
            os.close(self._opened)
            self._opened = None

    def prepare(self) -> None:
        """Creates the folder if it was missing from the beginning, and checks that files can be written to it.

        Raises:
            StorageError: if they can't, or the folder was taken away
        """
        if self._known is not None:
            self.check()
        refuse_unwritable(self.folder)
        if self._known is None:
            self._remember()

    def check(self) -> None:
        """Checks that the folder is still the same.

        Raises:
            StorageError: if it was taken away
        """
        now = None
        with suppress(OSError):
            now = _identity(self.folder)
        if now is None or now != self._known:
            raise StorageError(
                f"folder {str(self.folder)!r} must stay while masks are written to it, but it is missing or was replaced; bring "
                "it back and repeat the call, which makes only those masks again that are gone"
            )

    def _remember(self) -> None:
        with suppress(OSError):  # Windows opens no folders
            self._opened = os.open(self.folder, os.O_RDONLY)
        with suppress(OSError):
            self._known = _identity(self.folder)


def missing_files(paths: Collection[str]) -> set[str]:
    """Returns those of many files that do not exist. Lists each folder once, because asking for each file takes much longer.

    Args:
        paths: paths of files
    """
    missing = set(paths)
    for folder in {path.rpartition(os.sep)[0] for path in paths}:
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_file():
                    missing.discard(entry.path)
    return {path for path in missing if not Path(path).is_file()}  # the folder may have another name, or may not be listed


def _identity(folder: Path) -> tuple[int, int]:
    known = folder.stat()
    return known.st_dev, known.st_ino
