"""Selects the image slices of grouped datasets."""

from __future__ import annotations

from typing import Any

from fiftyone.core.media import GROUP, IMAGE

from fiftyone_resclip.errors import DatasetError, unknown
from fiftyone_resclip.fields.private import dataset_of


def image_slices(samples: Any) -> list[str]:
    """Lists the slices of a grouped collection that hold images; empty for a collection without groups."""
    media = dataset_of(samples).group_media_types or {}
    return [name for name, kind in media.items() if kind == IMAGE]


def select_slice(samples: Any, group_slice: str | None = None) -> Any:
    """Selects the images of a grouped collection as a flat view.

    Args:
        samples: a FiftyOne dataset or view
        group_slice (None): name of a slice; by default all image slices

    Returns:
        a flat view; a collection without groups is returned unchanged

    Raises:
        DatasetError: if there is no such slice, or none holds images
    """
    if samples.media_type != GROUP:
        return samples
    slices = image_slices(samples)
    if group_slice is not None and group_slice not in slices:
        raise DatasetError(unknown("slice of images", group_slice, slices))
    if not slices:
        raise DatasetError("the groups must have a slice of images, but have none")
    return samples.select_group_slices([group_slice] if group_slice else slices)
