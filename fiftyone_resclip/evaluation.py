"""Evaluates a field of masks against ground truth: dataset-wide mIoU as the field counts it.

Classes are matched by name, so the two fields may number them differently. Ratios are taken once, from integer counts over the
whole collection; see :mod:`fiftyone_resclip.metrics`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import fiftyone as fo
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fiftyone_resclip import masks, metrics
from fiftyone_resclip.errors import DatasetError, ImageError

_UNLABELLED = -1


@dataclass(frozen=True)
class Evaluation:
    """How good a field of masks is.

    Attributes:
        class_names: the ground truth's classes
        confusion: pixels by true (row) and predicted class (column), ``(C, C + 1)``; the last column is unlabelled
        images: number of images counted
        unmatched: predicted classes that the ground truth does not have; their pixels count as unlabelled
        without_prediction: files whose prediction is missing or unreadable; all their pixels count as unlabelled
        without_truth: files whose ground truth is missing or unreadable; they are not counted
    """

    class_names: tuple[str, ...]
    confusion: metrics.Confusion
    images: int
    unmatched: tuple[str, ...] = ()
    without_prediction: dict[str, str] = field(default_factory=dict)
    without_truth: dict[str, str] = field(default_factory=dict)

    @property
    def miou(self) -> float:
        """Mean IoU over the classes that occur, in percent."""
        return 100 * metrics.miou(self.confusion)

    @property
    def pixel_accuracy(self) -> float:
        """Share of right pixels, in percent."""
        return 100 * metrics.pixel_accuracy(self.confusion)

    @property
    def iou(self) -> dict[str, float]:
        """IoU by class name, in percent; NaN for a class that does not occur."""
        return {name: 100 * float(value) for name, value in zip(self.class_names, metrics.iou(self.confusion), strict=True)}

    def __str__(self) -> str:
        width = max(map(len, self.class_names))
        rows = [f"{name:<{width}}  {'–' if math.isnan(value) else f'{value:6.2f}'}" for name, value in self.iou.items()]
        head = f"mIoU {self.miou:.2f} %, pixel accuracy {self.pixel_accuracy:.2f} %, {self.images} images"
        notes = [f"not in the ground truth, counted as unlabelled: {', '.join(self.unmatched)}"] if self.unmatched else []
        notes += [f"no prediction, counted as unlabelled: {reason}" for reason in self.without_prediction.values()]
        notes += [f"no ground truth, not counted: {reason}" for reason in self.without_truth.values()]
        return "\n".join([head, *rows, *notes])


def evaluate(
    samples: Any, pred_field: str, gt_field: str, *, ignore_index: int = 255, progress: bool | None = None
) -> Evaluation:
    """Evaluates masks over a collection.

    Args:
        samples: a FiftyOne dataset or view of images
        pred_field: predicted ``Segmentation`` masks
        gt_field: true ``Segmentation`` masks
        ignore_index (255): void in the ground truth, as is every value without a name
        progress (None): whether to show a bar; by default FiftyOne's setting

    Returns:
        the evaluation; a prediction of another size is resized to the ground truth's (nearest)

    Raises:
        DatasetError: if a field is missing, of another type or without mask targets, or no class is in both
    """
    truth_targets = {value: name for value, name in _targets(samples, gt_field).items() if value != ignore_index}
    predicted_targets = _targets(samples, pred_field)
    class_names = tuple(dict.fromkeys(truth_targets.values()))
    if not set(class_names) & set(predicted_targets.values()):
        raise DatasetError(
            f"{pred_field!r} and {gt_field!r} must share class names, but have "
            f"{sorted(predicted_targets.values())} and {sorted(class_names)}"
        )
    confusion = np.zeros((len(class_names), len(class_names) + 1), dtype=np.int64)
    truth_lookup, predicted_lookup = _lookup(truth_targets, class_names), _lookup(predicted_targets, class_names)
    notes: dict[str, dict[str, str]] = {"prediction": {}, "truth": {}}
    images = 0
    view = samples.select_fields([pred_field, gt_field])
    for sample in view.iter_samples(progress=progress):
        try:
            truth = _indices(sample[gt_field], truth_lookup)
        except ImageError as error:
            notes["truth"][sample.filepath] = f"{sample.filepath}: {error}"
            continue
        try:
            prediction = _fit(_indices(sample[pred_field], predicted_lookup), truth.shape)
        except ImageError as error:
            notes["prediction"][sample.filepath] = f"{sample.filepath}: {error}"
            prediction = np.full_like(truth, _UNLABELLED)
        confusion += metrics.confusion_matrix(truth, prediction, len(class_names))
        images += 1
    if not images:
        raise DatasetError(f"no sample has a readable mask in {gt_field!r}: nothing can be evaluated")
    unmatched = tuple(name for name in predicted_targets.values() if name not in class_names)
    return Evaluation(class_names, confusion, images, unmatched, notes["prediction"], notes["truth"])


def _targets(samples: Any, field_name: str) -> dict[int, str]:
    """Class name by mask value of a field, checked."""
    schema = samples.get_field_schema()
    if field_name not in schema:
        raise DatasetError(f"field {field_name!r} must exist, but the fields are {', '.join(schema)}")
    if getattr(schema[field_name], "document_type", None) is not fo.Segmentation:
        raise DatasetError(f"field {field_name!r} must hold Segmentation labels, but it holds {schema[field_name]}")
    targets = samples._dataset.mask_targets.get(field_name) or samples._dataset.default_mask_targets
    if not targets:
        raise DatasetError(
            f"field {field_name!r} needs mask targets; set dataset.mask_targets[{field_name!r}] = {{1: 'road', ...}}"
        )
    if not all(isinstance(value, int) for value in targets):
        raise DatasetError(f"mask targets of {field_name!r} must be whole numbers, but are {list(targets)[:3]}")
    return dict(targets)


def _lookup(targets: dict[int, str], class_names: tuple[str, ...]) -> NDArray[np.int64]:
    """Class index by mask value; -1 where the value has no name or the name no class, as in the last entry."""
    table = np.full(max(targets) + 2, _UNLABELLED, dtype=np.int64)
    for value, name in targets.items():
        if name in class_names:
            table[value] = class_names.index(name)
    return table


def _indices(label: fo.Segmentation | None, lookup: NDArray[np.int64]) -> NDArray[np.int64]:
    if label is None or not label.has_mask:
        raise ImageError("the sample has no mask")
    mask = masks.read_mask(label).astype(np.int64)
    indices: NDArray[np.int64] = lookup[np.where((mask >= 0) & (mask < len(lookup)), mask, len(lookup) - 1)]
    return indices


def _fit(indices: NDArray[np.int64], image_hw: tuple[int, ...]) -> NDArray[np.int64]:
    if indices.shape == image_hw:
        return indices
    resized = Image.fromarray(indices.astype(np.int32)).resize((image_hw[1], image_hw[0]), Image.Resampling.NEAREST)
    return np.asarray(resized).astype(np.int64)
