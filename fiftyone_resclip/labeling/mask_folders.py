"""Puts masks that lie in a folder into a field of a dataset, such as true masks to evaluate against."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
from numpy.typing import NDArray

from fiftyone_resclip.errors import DatasetError, ImageError, counted
from fiftyone_resclip.fields import schema
from fiftyone_resclip.fields.masks import read_mask
from fiftyone_resclip.fields.names import checked_field
from fiftyone_resclip.fields.private import dataset_of
from fiftyone_resclip.labeling.picture_files import below_common_folder, read_legend

logger = logging.getLogger(__name__)

_LOOKED_AT = 50


def add_masks(samples: Any, field: str, folder: str | Path, targets: Mapping[int, str] | None = None) -> int:
    """Adds the masks of a folder to a field; the files stay where they are.

    Args:
        samples: a FiftyOne dataset or view of images; those that have a mask in the field keep it
        field: the field, created if it is new
        folder: PNG files, named like the images, with their subfolders
        targets (None): class name by mask value; by default those that :func:`fiftyone_resclip.export` wrote there as ``masks``

    Returns:
        number of masks that were added

    Raises:
        DatasetError: if no file is named like an image, class names are missing, masks have colours, or the field holds
            something else
        ImageError: if a mask can't be read
    """
    folder = Path(folder).expanduser()
    dataset, targets = dataset_of(samples), _written(folder) if targets is None else _by_value(targets)
    schema.has_masks(dataset, checked_field(field))
    known = dataset.mask_targets.get(field)
    if known and dict(known) != dict(targets):
        raise DatasetError(
            f"masks in {field!r} have the classes {known}, but those of {str(folder)!r} {dict(targets)}; use another field"
        )
    paths = dict(zip(*samples.values(["id", "filepath"]), strict=True))
    names = below_common_folder([*paths.values()])
    files = {sample: _file_of(folder, names[path]) for sample, path in paths.items()}
    found = {sample: path for sample, path in files.items() if path is not None}
    if not found:
        raise DatasetError(f"{str(folder)!r} has no PNG that is named like an image; give the folder that has them")
    _check_values([*found.values()], targets)
    schema.declare_field(dataset, field, targets)
    missing = set(dataset.select(list(found)).exists(field, False).values("id"))
    labels = {sample: fo.Segmentation(mask_path=str(path.absolute())) for sample, path in found.items() if sample in missing}
    dataset.select(list(labels)).set_values(field, labels, key_field="id")
    if len(labels) < len(found):
        logger.warning("%s had a mask in %r already and kept it", counted(len(found) - len(labels), "image"), field)
    return len(labels)


def _by_value(targets: Any) -> dict[int, str]:
    """Checks class names by mask value; values may be text, as JSON has them."""
    try:
        return {int(value): str(name) for value, name in targets.items()}
    except (AttributeError, TypeError, ValueError):
        raise DatasetError(
            f"targets must give a class name by mask value, such as {{1: 'road', 2: 'sky'}}, but got {targets!r}"
        ) from None


def _file_of(folder: Path, name: Path) -> Path | None:
    """Returns the mask of an image, given its path below the folder of images."""
    candidates = (folder / name.with_suffix(".png"), folder / f"{name}.png")
    return next((path for path in candidates if path.is_file()), None)


def _check_values(paths: list[Path], targets: Mapping[int, str]) -> None:
    """Refuses class names that don't fit the masks, as far as some of these show it; 0 and 255 need no name."""
    looked_at = paths[:: -(-len(paths) // _LOOKED_AT)]
    used = {int(value) for path in looked_at for value in np.unique(_read(path))}
    nameless = sorted(used - {0, 255, *targets})
    if nameless:
        raise DatasetError(
            f"each value of the masks needs a class name, but {nameless[0]} has none, where {len(targets)} have; name all of them"
        )


def _read(path: Path) -> NDArray[np.integer]:
    label = fo.Segmentation(mask_path=str(path.absolute()))
    try:
        return read_mask(label)
    except ImageError as error:
        with suppress(ImageError):
            read_mask(label, colours=True)
            raise DatasetError(
                f"{error}; for colours that stand for classes, set the field yourself, to fo.Segmentation(mask_path=...), and "
                "dataset.mask_targets[field] to the names by colour, such as {'#ff0000': 'road'}"
            ) from error
        raise


def _written(folder: Path) -> dict[int, str]:
    """Returns the classes that an export wrote into a folder or the one above it."""
    targets = read_legend(folder) or read_legend(folder.parent)
    if not targets:
        raise DatasetError(
            f"the values of the masks in {str(folder)!r} need class names; "
            "give them in the order of the values, from 1 (--classes)"
        )
    return targets
