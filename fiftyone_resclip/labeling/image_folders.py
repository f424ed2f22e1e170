"""Makes a FiftyOne dataset of a folder of images, so that a folder can be labelled, seen in the App and labelled on later."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
from PIL import Image

from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.fields.names import checked
from fiftyone_resclip.fields.raster import FORMATS
from fiftyone_resclip.labeling.picture_files import LEGEND

#: Key in a dataset's info that names the folder it was made of.
_INFO = "resclip_folder"


def dataset_of_folder(folder: Path, name: str | None = None) -> Any:
    """Makes a persistent dataset of the images in a folder and its subfolders, or adds new images to the one made before.

    Args:
        folder: the folder; hidden files, and folders that :func:`~fiftyone_resclip.labeling.picture_files.write_pictures` wrote,
            are left out
        name (None): name of the dataset; by default that of the folder

    Returns:
        the FiftyOne dataset

    Raises:
        DatasetError: if the folder has no images, or another dataset has the name
    """
    root = _absolute(folder)
    paths = sorted(map(str, _images(root)))
    if not paths:
        raise DatasetError(f"folder {str(root)!r} must have images, such as JPEG or PNG files, but has none")
    dataset = _dataset(root.name or "images" if name is None else checked(name, "dataset"), root)
    known = set(dataset.values("filepath"))
    dataset.add_samples([fo.Sample(path) for path in paths if path not in known], progress=False)
    return dataset


def is_of_folder(dataset: Any, folder: Path) -> bool:
    """Returns whether a dataset was made of a folder."""
    return bool(dataset.info.get(_INFO) == str(_absolute(folder)))


def _dataset(name: str, root: Path) -> Any:
    if not fo.dataset_exists(name):
        dataset = fo.Dataset()
        dataset.info = {_INFO: str(root)}
        dataset.name, dataset.persistent = name, True  # last, so that a dataset of this name is always known as ours
        return dataset
    dataset = fo.load_dataset(name)
    if not is_of_folder(dataset, root):
        raise DatasetError(f"dataset {name!r} must be the one of folder {str(root)!r}, but is another; choose a name with --name")
    return dataset


def _absolute(folder: Path) -> Path:
    return Path(os.path.abspath(folder.expanduser()))  # noqa: PTH100  # resolve() follows links, FiftyOne does not


def _images(root: Path) -> Iterator[Path]:
    endings = {ending for ending, kind in Image.registered_extensions().items() if kind in FORMATS}
    for folder, below, files in os.walk(root):
        if LEGEND in files:
            below.clear()
            continue
        below[:] = sorted(name for name in below if not name.startswith("."))
        yield from (Path(folder, name) for name in files if Path(name).suffix.lower() in endings and not name.startswith("."))
