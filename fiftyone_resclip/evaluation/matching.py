"""Finds which mask values mean the same class in two fields, by name or by an explicit mapping, and reports what has no match."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import fiftyone as fo
import fiftyone.core.fields as fof
import numpy as np
from numpy.typing import NDArray

from fiftyone_resclip.errors import DatasetError, unknown
from fiftyone_resclip.evaluation.metrics import Confusion, ValuePairs
from fiftyone_resclip.evaluation.void import AUTO, Ignored, mask_value, resolve_void, void_values
from fiftyone_resclip.fields import masks
from fiftyone_resclip.fields.names import checked
from fiftyone_resclip.fields.private import dataset_of, is_frame_field, root_dataset_of
from fiftyone_resclip.fields.schema import mask_fields
from fiftyone_resclip.fields.values import Mask, relabel

#: Name for pixels without a class, also used in FiftyOne's tables.
UNLABELLED = "(unlabelled)"

#: Class index of void pixels.
VOID = -1
_UNNAMED = -2


@dataclass
class Count:
    """Pixels counted in one image.

    Attributes:
        rows: ``(K,)`` true class of each pair that occurs
        columns: ``(K,)`` predicted class, ``C`` for unlabelled; a pair may occur several times
        pixels: ``(K,)`` number of pixels of each pair
        void: pixels that are left out
        unmatched: pixels by predicted class that has no match in the ground truth; they count as unlabelled
        unnamed: pixels by ground-truth value that has no name; they are left out as void
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    pixels: NDArray[np.int64]
    void: int = 0
    unmatched: Counter[str] = field(default_factory=Counter)
    unnamed: Counter[int] = field(default_factory=Counter)

    def add_to(self, confusion: Confusion) -> Confusion:
        """Adds the pixels to a confusion matrix, ``(C, C + 1)``, in place, and returns it."""
        np.add.at(confusion, (self.rows, self.columns), self.pixels)
        return confusion


@dataclass(frozen=True)
class MaskField:
    """A field of masks and the meaning of its values.

    Attributes:
        name: name of the field, including ``frames.``
        targets: class name by mask value; colours are ``0xRRGGBB``
        in_colour: whether masks encode classes as colours
    """

    name: str
    targets: Mapping[int, str]
    in_colour: bool = False

    @classmethod
    def of(cls, samples: Any, name: str, targets: Mapping[Any, str] | None = None) -> MaskField:
        """Looks up a field.

        Args:
            samples: a FiftyOne collection
            name: name of the field
            targets (None): class name by mask value; by default those of the dataset

        Raises:
            DatasetError: if the field is missing, holds something other than masks, or has no valid mask targets
        """
        checked(name, "field")
        schema = samples.get_field_schema() if not is_frame_field(samples, name) else samples.get_frame_field_schema()
        short = name.removeprefix("frames.")
        if short not in schema:
            raise DatasetError(unknown("field", name, mask_fields(samples, frames=True)))
        if getattr(schema[short], "document_type", None) is not fo.Segmentation:
            raise DatasetError(f"field {name!r} must hold Segmentation labels, but it holds {schema[short]}")
        targets = targets or _declared(dataset_of(samples), name) or _declared(root_dataset_of(samples), f"frames.{name}")
        if not targets:
            raise DatasetError(f"field {name!r} needs mask targets; set dataset.mask_targets[{name!r}] = {{1: 'road', ...}}")
        in_colour = bool(fof.is_rgb_mask_targets(targets))
        if any(isinstance(key, int) and key < 0 for key in targets):
            raise DatasetError(f"mask targets of {name!r} must be at least 0, but are {sorted(targets)[:3]}")
        return cls(name, {mask_value(key): name for key, name in targets.items()}, in_colour)

    def read(self, label: fo.Segmentation) -> Mask:
        """Reads a mask; see :func:`fiftyone_resclip.fields.masks.read_mask`."""
        return masks.read_mask(label, colours=self.in_colour)


@dataclass(frozen=True)
class ClassMatch:
    """The classes of the ground truth, and the values that stand for them in both fields.

    Attributes:
        truth_field: the ground truth
        pred_field: the prediction
        class_names: ``C`` names, in the order of the ground truth's values
        truth: class index by ground-truth value; :data:`VOID` for void values
        prediction: class index by predicted value
        partners: matching ground-truth class by predicted class; ``None`` if there is no match
        ignore_index: the void values, in the form of the setting
    """

    truth_field: MaskField
    pred_field: MaskField
    class_names: tuple[str, ...]
    truth: Mapping[int, int]
    prediction: Mapping[int, int]
    partners: Mapping[str, str | None]
    ignore_index: Ignored = None

    @property
    def of_frames(self) -> bool:
        """Whether the masks belong to video frames."""
        return self.truth_field.name.startswith("frames.")

    @property
    def never_predicted(self) -> tuple[str, ...]:
        """Ground-truth classes that no predicted class matches."""
        return tuple(name for name in self.class_names if name not in self.partners.values())

    @property
    def background(self) -> str | None:
        """The class called background; see :func:`background_of`."""
        return background_of(self.class_names)

    def empty(self) -> Confusion:
        """Returns a confusion matrix of zeros, ``(C, C + 1)``."""
        return np.zeros((len(self.class_names), len(self.class_names) + 1), dtype=np.int64)

    def scored(self, include_background: bool) -> list[bool]:
        """Returns for each class whether it counts in means over classes."""
        return [include_background or name != self.background for name in self.class_names]

    def truth_indices(self, mask: Mask) -> NDArray[np.int64]:
        """Returns the class index of each pixel of a ground-truth mask, ``(H, W)``; :data:`VOID` for void pixels."""
        return relabel(mask, self.truth, VOID)

    def predicted_indices(self, mask: Mask) -> NDArray[np.int64]:
        """Returns the class index of each pixel of a predicted mask, ``(H, W)``; ``C`` for unlabelled pixels."""
        return relabel(mask, self.prediction, len(self.class_names))

    def count(self, pairs: ValuePairs) -> Count:
        """Converts counts of value pairs to counts of class pairs."""
        n_classes = len(self.class_names)
        rows = np.array([self.truth.get(value, _UNNAMED) for value in pairs.truth.tolist()], dtype=np.int64)
        columns = np.array([self.prediction.get(value, n_classes) for value in pairs.prediction.tolist()], dtype=np.int64)
        valid = rows >= 0
        count = Count(rows[valid], columns[valid], pairs.pixels[valid], void=int(pairs.pixels[~valid].sum()))
        for place in np.flatnonzero(rows == _UNNAMED):
            count.unnamed[int(pairs.truth[place])] += int(pairs.pixels[place])
        for place in np.flatnonzero(valid & (columns == n_classes)):
            value = int(pairs.prediction[place])
            name = self.pred_field.targets.get(value, f"value {value}" if value > 0 else None)
            if name is not None:
                count.unmatched[name] += int(pairs.pixels[place])
        return count


def match_classes(
    samples: Any,
    pred_field: str,
    gt_field: str,
    ignore_index: Ignored = AUTO,
    mapping: Mapping[str, str | None] | None = None,
    mask_targets: Mapping[Any, str] | None = None,
    require_common: bool = True,
) -> ClassMatch:
    """Matches the classes of two fields.

    Args:
        samples: a FiftyOne collection
        pred_field: predicted masks
        gt_field: true masks
        ignore_index ("auto"): void values of the ground truth
        mapping (None): ground-truth class by predicted class where the names differ; ``None`` for no match
        mask_targets (None): class name by mask value for both fields; by default those of the dataset
        require_common (True): whether to raise an error if the fields share no class

    Returns:
        the match

    Raises:
        DatasetError: if a field can't be used, the fields share no class, or ``mapping`` has an unknown name
        ConfigError: if a void value is invalid
    """
    if samples.media_type == fo.core.media.GROUP:
        raise DatasetError("samples must be images or videos, but are groups; use select_group_slices()")
    if is_frame_field(samples, pred_field) != is_frame_field(samples, gt_field):
        raise DatasetError(f"both fields must belong to samples or both to frames, but got {pred_field!r} and {gt_field!r}")
    truth_field, predicted = (MaskField.of(samples, name, mask_targets) for name in (gt_field, pred_field))
    ignore_index = resolve_void(ignore_index, gt_field, truth_field.targets, truth_field.in_colour)
    void = void_values(ignore_index)
    class_names = tuple(dict.fromkeys(name for value, name in truth_field.targets.items() if value not in void))
    if UNLABELLED in class_names:
        raise DatasetError(f"no class may be called {UNLABELLED!r}, which stands for pixels without a class; rename it")
    partners = _partners(dict.fromkeys(predicted.targets.values()), class_names, mapping or {})
    if require_common and not any(partners.values()):
        raise DatasetError(
            f"{pred_field!r} and {gt_field!r} must share class names, but have {sorted(partners)} and {sorted(class_names)}; "
            "pass mapping={'predicted': 'true', ...} for names that differ"
        )
    index = {name: number for number, name in enumerate(class_names)}
    truth = {value: VOID if value in void else index[name] for value, name in truth_field.targets.items()}
    truth.update(dict.fromkeys(void, VOID))
    prediction = {value: index[partner] for value, name in predicted.targets.items() if (partner := partners[name]) is not None}
    return ClassMatch(truth_field, predicted, class_names, truth, prediction, partners, ignore_index)


def background_of(class_names: Iterable[str]) -> str | None:
    """Returns the class called background. Value 0 alone does not mean background: in Cityscapes it is road."""
    return next((name for name in class_names if name.casefold() == "background"), None)


def _partners(
    predicted: Mapping[str, Any], class_names: tuple[str, ...], mapping: Mapping[str, str | None]
) -> dict[str, str | None]:
    for name, partner in mapping.items():
        if name not in predicted:
            raise DatasetError(unknown("predicted class in mapping", name, predicted))
        if partner is not None and partner not in class_names:
            raise DatasetError(unknown("ground-truth class in mapping", partner, class_names))
    by_name = {name: name if name in class_names else None for name in predicted}
    return {**by_name, **mapping}


def _declared(dataset: Any, name: str) -> Mapping[Any, str] | None:
    targets: Mapping[Any, str] | None = dataset.mask_targets.get(name) or dataset.default_mask_targets
    return targets
