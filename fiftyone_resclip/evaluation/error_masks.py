"""Writes masks that show where a prediction is wrong, for browsing in the App."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
from numpy.typing import NDArray

from fiftyone_resclip.errors import DatasetError, ImageError, unknown
from fiftyone_resclip.evaluation.counting import SAVED_AT_ONCE, images_in, read_pixels, write_fields
from fiftyone_resclip.evaluation.matching import UNLABELLED, VOID, ClassMatch, match_classes
from fiftyone_resclip.evaluation.void import AUTO, Ignored
from fiftyone_resclip.fields import masks, schema
from fiftyone_resclip.fields.exclusive import exclusive
from fiftyone_resclip.fields.mask_files import mask_path
from fiftyone_resclip.fields.private import dataset_of, refresh, root_dataset_of

#: Kind of pixel by mask value. *Missed*: the truth has a class, but nothing or background is predicted; *false*: the truth has
#: background, but another class is predicted; *wrong*: one class is predicted instead of another.
TARGETS: Mapping[int, str] = {1: "right", 2: "wrong", 3: "missed", 4: "false", 5: "void"}
#: Colour by kind of pixel, everywhere.
COLOURS: Mapping[str, str] = {"right": "#2ca02c", "wrong": "#e6194b", "missed": "#1f6fff", "false": "#ff8c00", "void": "#a9a9a9"}
VALUES = {name: value for value, name in TARGETS.items()}
#: Key in a dataset's info that records what its error masks were made from.
_INFO = "resclip_error_masks"


def write_error_masks(
    samples: Any,
    pred_field: str,
    gt_field: str,
    error_field: str,
    output_dir: str | Path,
    *,
    pair: tuple[str, str] | None = None,
    ignore_index: Ignored = AUTO,
    mapping: Mapping[str, str | None] | None = None,
    progress: Any = None,
) -> dict[str, str]:
    """Writes error masks as PNG files and adds a field for them.

    Args:
        samples: a FiftyOne dataset or view of images or videos
        pred_field: predicted masks
        gt_field: true masks
        error_field: field for the error masks, created if it is new; starts with ``frames.`` if the other two do
        output_dir: the files go into a subfolder for this dataset and field, and are named by sample id
        pair (None): a true and a predicted class (or :data:`~fiftyone_resclip.evaluation.matching.UNLABELLED`); if given, only
            pixels of that pair are marked, with value 1
        ignore_index ("auto"): as in :func:`fiftyone_resclip.evaluate`
        mapping (None): as in :func:`fiftyone_resclip.evaluate`
        progress (None): whether to show a progress bar

    Returns:
        images that got no error mask because their ground truth is missing or unreadable, each with the reason

    Raises:
        DatasetError: if a field can't be used, a class is unknown, or ``error_field`` holds something other than error masks
    """
    match = match_classes(samples, pred_field, gt_field, ignore_index, mapping)
    cell = None if pair is None else _cell(match, pair)
    made_of = [pred_field, gt_field, pair and list(pair), repr(ignore_index), mapping and dict(mapping)]
    _prepare(samples, error_field, TARGETS if pair is None else {1: f"{pair[0]} taken for {pair[1]}"}, match, made_of)
    skipped: dict[str, str] = {}
    short_name = error_field.removeprefix("frames.")
    done: dict[str, dict[int | None, dict[str, fo.Segmentation]]] = {}
    for sample_id, image in images_in(samples.select_fields([pred_field, gt_field]), match, progress):
        if len(done) >= SAVED_AT_ONCE and sample_id not in done:
            write_fields(samples, done)
            done.clear()
        try:
            pixels = read_pixels(image, match)
        except ImageError as error:
            skipped[image.name] = str(error)
            continue
        truth, prediction = match.truth_indices(pixels.truth), match.predicted_indices(pixels.prediction)
        name = sample_id if image.frame is None else f"{sample_id}-{image.frame:06d}"
        path = mask_path(output_dir, root_dataset_of(samples), error_field, name)
        marked = kinds_of(truth, prediction, match) if cell is None else (truth == cell[0]) & (prediction == cell[1])
        masks.write_mask(marked.astype(np.uint8), path)
        done.setdefault(sample_id, {})[image.frame] = {short_name: fo.Segmentation(mask_path=str(path))}
    write_fields(samples, done)
    return skipped


def error_fields(dataset: fo.Dataset) -> set[str]:
    """Returns the names of the fields with error masks."""
    return set(dataset.info.get(_INFO, {}))


def _cell(match: ClassMatch, pair: tuple[str, str]) -> tuple[int, int]:
    """Returns the class indices of a true and a predicted class."""
    names = (*match.class_names, UNLABELLED)
    for name, known in zip(pair, (match.class_names, names), strict=True):
        if name not in known:
            raise DatasetError(unknown("class", name, known))
    return names.index(pair[0]), names.index(pair[1])


def kinds_of(truth: NDArray[np.int64], prediction: NDArray[np.int64], match: ClassMatch) -> NDArray[np.int64]:
    """Returns the kind of each pixel, a key of :data:`TARGETS`."""
    background = -2 if match.background is None else match.class_names.index(match.background)
    nothing = (prediction == len(match.class_names)) | (prediction == background)
    conditions = [truth == VOID, truth == prediction, nothing, truth == background]
    kinds: NDArray[np.int64] = np.select(
        conditions, [VALUES[kind] for kind in ("void", "right", "missed", "false")], VALUES["wrong"]
    )
    return kinds


def _prepare(samples: Any, error_field: str, targets: Mapping[int, str], match: ClassMatch, made_of: list[Any]) -> None:
    """Declares the field. Rejects one that holds other masks, and deletes error masks made from other fields or settings."""
    dataset = dataset_of(samples)
    refresh(dataset)  # another process may have declared the field
    if error_field.startswith("frames.") != match.of_frames:
        raise DatasetError(
            f"{error_field!r} must be a field of {'frames' if match.of_frames else 'samples'}, like the compared fields"
        )
    before = dataset.mask_targets.get(error_field)
    if schema.has_masks(dataset, error_field):
        of_errors = before == TARGETS or (before and len(before) == 1 and " taken for " in before.get(1, ""))
        if not of_errors and dataset.count(error_field):  # an empty field may be what a killed process left
            raise DatasetError(f"field {error_field!r} must be new or hold error masks, but it holds others; choose another name")
        if before != targets or dataset.info.get(_INFO, {}).get(error_field) != made_of:
            clear = dataset.clear_frame_field if match.of_frames else dataset.clear_sample_field
            clear(error_field.removeprefix("frames."))
    schema.declare_field(dataset, error_field, targets, {name: COLOURS.get(name, COLOURS["wrong"]) for name in targets.values()})
    with exclusive(dataset):
        dataset.info = {**dataset.info, _INFO: {**dataset.info.get(_INFO, {}), error_field: made_of}}
