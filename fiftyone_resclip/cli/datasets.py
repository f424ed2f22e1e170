"""The FiftyOne datasets that commands work on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fiftyone_resclip.errors import DatasetError, unknown


class Folder(click.Path):
    """An option that takes a path; blank text is refused, because it would mean the current folder."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Returns the path with the home folder written out."""
        if not str(value).strip():
            self.fail("it must be a path, but is empty", param, ctx)
        return Path(str(super().convert(value, param, ctx))).expanduser()


def samples_of(name: str, view: str | None = None, kind: str = "dataset") -> Any:
    """Loads a dataset or one of its saved views.

    Args:
        name: name of the dataset
        view (None): name of the view; by default the whole dataset
        kind ("dataset"): what the name stands for, in messages

    Returns:
        the FiftyOne dataset or view

    Raises:
        DatabaseError: if FiftyOne's database can't be started
        DatasetError: if there is no such dataset or view
    """
    import fiftyone as fo

    from fiftyone_resclip.doors.database import require_database
    from fiftyone_resclip.fields.names import checked

    require_database()
    if not fo.dataset_exists(checked(name, "dataset")):
        raise DatasetError(unknown(kind, name, fo.list_datasets()))
    dataset = fo.load_dataset(name)
    if view is None:
        return dataset
    if not dataset.has_saved_view(view):
        raise DatasetError(unknown("saved view", view, dataset.list_saved_views()))
    return dataset.load_saved_view(view)


def folder_or_dataset(target: str, name: str | None = None, view: str | None = None) -> Any:
    """Loads a dataset, or makes one of a folder of images.

    Args:
        target: path of a folder, or name of a dataset
        name (None): name for the dataset of a folder; by default that of the folder
        view (None): name of a saved view of a dataset

    Returns:
        the FiftyOne dataset or view

    Raises:
        DatabaseError: if FiftyOne's database can't be started
        DatasetError: if there is neither, both, or no image in the folder
    """
    import fiftyone as fo

    from fiftyone_resclip.doors.database import require_database
    from fiftyone_resclip.labeling.image_folders import dataset_of_folder, is_of_folder

    require_database()
    folder, known = Path(target).expanduser(), bool(target) and fo.dataset_exists(target)
    if not folder.is_dir() or not target:
        if not known and "/" in target:
            raise DatasetError(f"there is no folder {target!r}; check its path")
        if name is not None:
            raise DatasetError(f"--name is for the dataset of a folder, but {target!r} is none; leave it out")
        return samples_of(target, view, "folder or dataset")
    if known and not is_of_folder(fo.load_dataset(target), folder):
        raise DatasetError(f"{target!r} is a folder and a dataset; write ./{target} for the folder, or rename one of them")
    if view is not None:
        raise DatasetError(f"--view needs a dataset, but {target!r} is a folder; leave it out")
    return dataset_of_folder(folder, name)


def check_path(target: str) -> None:
    """Refuses a path that is no folder, as far as no dataset can have that name, which only the database knows.

    Raises:
        DatasetError: if it is a file, or there is nothing
    """
    path = Path(target).expanduser()
    if path.is_file():
        raise DatasetError(f"{target!r} is a file; give the folder that it is in")
    if target.startswith((".", "/", "~")) and not path.is_dir():
        raise DatasetError(f"there is no folder {target!r}; check its path")
