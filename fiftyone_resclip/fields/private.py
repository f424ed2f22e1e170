"""Wraps the few private attributes of FiftyOne that we need, so that a FiftyOne upgrade can only break this file."""

from __future__ import annotations

from typing import Any


def dataset_of(samples: Any) -> Any:
    """Returns the dataset that a collection reads from; for views of patches, clips and frames, this is a generated copy."""
    return samples._dataset


def root_dataset_of(samples: Any) -> Any:
    """Returns the dataset that the user opened, also for views of patches, clips and frames."""
    return samples._root_dataset


def dataset_id(dataset: Any) -> Any:
    """Returns a dataset's id in the database, which survives renaming."""
    return dataset._doc.id


def is_frame_field(samples: Any, field: str) -> bool:
    """Returns whether a field belongs to the frames of videos."""
    return bool(samples._is_frame_field(field))


def delete_empty_sidebar_group(samples: Any, group: str) -> None:
    """Removes a group from the App's sidebar if no field is left in it."""
    samples._delete_empty_sidebar_group(group)
