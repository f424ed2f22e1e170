"""Checks what users pass as a dataset or view, before anything is read or written."""

from __future__ import annotations

from typing import Any

import fiftyone as fo

from fiftyone_resclip.errors import DatasetError


def checked_collection(samples: Any, name: str = "samples") -> Any:
    """Returns a dataset or view.

    Args:
        samples: what the user passed
        name ("samples"): the name of the argument

    Raises:
        DatasetError: if it is something else
    """
    if not isinstance(samples, fo.core.collections.SampleCollection):
        hint = f"; pass fo.load_dataset({samples!r})" if isinstance(samples, str) and samples.strip() else ""
        raise DatasetError(f"{name} must be a FiftyOne dataset or view, but got {type(samples).__name__}{hint}")
    return samples


def checked_dataset(dataset: Any) -> Any:
    """Returns a dataset.

    Raises:
        DatasetError: if it is something else, also a view, because runs belong to the whole dataset
    """
    if isinstance(dataset, fo.DatasetView):
        name = dataset.dataset_name
        raise DatasetError(f"dataset must not be a view, as runs belong to the whole dataset; pass fo.load_dataset({name!r})")
    if not isinstance(dataset, fo.Dataset):
        raise DatasetError(
            f"dataset must be a FiftyOne dataset, but got {type(dataset).__name__}; load it with fo.load_dataset(name)"
        )
    return dataset
