"""Label maps as FiftyOne stores them: mask values, segmentation labels, mask files, targets and colours.

FiftyOne keeps 0 for "nothing here", so class index ``i`` is written as value ``i + 1``.
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from pathlib import Path

import fiftyone as fo
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fiftyone_resclip.core.labels import LabelMap
from fiftyone_resclip.errors import DatasetError, ImageError
from fiftyone_resclip.vocabulary import Vocabulary

MaskTargets = Mapping[int, str]


def targets(vocabulary: Vocabulary) -> dict[int, str]:
    """Gives the mask value of each class: 1 for the first. 0 stays unlabelled."""
    return dict(enumerate(vocabulary.class_names, start=1))


def to_segmentation(label_map: LabelMap, n_classes: int) -> fo.Segmentation:
    """Turns a prediction into a FiftyOne label with the mask in memory.

    Args:
        label_map: labels and confidence of one image
        n_classes: number of classes; more than 255 need 16 bits

    Returns:
        a ``Segmentation`` with ``mask`` (uint8 or uint16) and ``confidence``, the mean over pixels in [0, 1]
    """
    dtype = np.uint8 if n_classes <= 255 else np.uint16
    mask = (label_map.labels.cpu().numpy() + 1).astype(dtype)
    return fo.Segmentation(mask=mask, confidence=round(float(label_map.confidence.mean()), 4))


def write_mask(mask: NDArray[np.integer], path: Path) -> None:
    """Writes a mask as PNG, so that a reader never meets half a file.

    Args:
        mask: ``(H, W)`` uint8 or uint16
        path: of the PNG; its folder is made
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    Image.fromarray(mask).save(partial, format="PNG", compress_level=1)
    partial.replace(path)


def read_mask(label: fo.Segmentation) -> NDArray[np.integer]:
    """Reads a label's mask from memory or disk.

    Palette files give their indices, not their colours, which is where FiftyOne's own reader fails.

    Args:
        label: with ``mask`` or ``mask_path``

    Returns:
        ``(H, W)`` integers

    Raises:
        ImageError: if the file is missing or broken, or holds colours instead of ids
    """
    if label.mask is not None:
        mask = np.asarray(label.mask)
    else:
        try:
            with Image.open(label.mask_path) as image:
                mask = np.asarray(image)
        except (OSError, ValueError, SyntaxError, AttributeError, TypeError) as error:
            raise ImageError(f"mask {label.mask_path!r} must be a readable image, but: {error}") from error
    if mask.ndim != 2:
        raise ImageError(f"mask {label.mask_path or 'in the database'!r} must be (H, W) class ids, but is {mask.shape}")
    return mask


def declare_field(dataset: fo.Dataset, field: str, mask_targets: MaskTargets) -> None:
    """Makes the field ready before anything is written: its type, confidence, class names and colours.

    Args:
        dataset: a FiftyOne dataset
        field: name; ``frames.`` before it for a field of video frames
        mask_targets: class name by mask value

    Raises:
        DatasetError: if the field exists and holds something else than segmentations
    """
    is_new = not has_masks(dataset, field)
    frame_field = field.removeprefix("frames.")
    add = dataset.add_sample_field if field == frame_field else dataset.add_frame_field
    if is_new:
        add(frame_field, fo.EmbeddedDocumentField, embedded_doc_type=fo.Segmentation)
    add(f"{frame_field}.confidence", fo.FloatField)
    dataset.mask_targets = {**dataset.mask_targets, field: dict(mask_targets)}
    _colour_field(dataset, field, mask_targets)
    dataset.save()


def has_masks(dataset: fo.Dataset, field: str) -> bool:
    """Says whether a field of segmentations exists.

    Args:
        dataset: a FiftyOne dataset
        field: name; ``frames.`` before it for a field of video frames

    Returns:
        False if there is no such field

    Raises:
        DatasetError: if there is, but it holds something else
    """
    frame_field = field.removeprefix("frames.")
    schema = dataset.get_field_schema() if field == frame_field else dataset.get_frame_field_schema()
    existing = (schema or {}).get(frame_field)
    if existing is not None and getattr(existing, "document_type", None) is not fo.Segmentation:
        raise DatasetError(
            f"field {field!r} must hold Segmentation labels or be new, but it holds {existing}; choose another name"
        )
    return existing is not None


def colours(n_classes: int) -> list[str]:
    """Gives well separated colours, the same at every call.

    Args:
        n_classes: how many

    Returns:
        hex colours such as ``"#e6194b"``
    """
    golden_ratio = 0.61803398875
    rings = ((0.85, 0.95), (0.55, 0.80), (0.95, 0.65))
    result = []
    for index in range(n_classes):
        saturation, value = rings[index % len(rings)]
        rgb = colorsys.hsv_to_rgb((0.02 + index * golden_ratio) % 1, saturation, value)
        result.append("#" + "".join(f"{round(255 * part):02x}" for part in rgb))
    return result


def _colour_field(dataset: fo.Dataset, field: str, mask_targets: MaskTargets) -> None:
    """Lets the App paint this field by class; colours the user chose for other fields stay."""
    palette = colours(len(mask_targets))
    entries = [{"intTarget": value, "color": colour} for value, colour in zip(mask_targets, palette, strict=True)]
    scheme = dataset.app_config.color_scheme or fo.ColorScheme()
    scheme.color_by = "value"
    scheme.fields = [f for f in scheme.fields or [] if f["path"] != field] + [{"path": field, "maskTargetsColors": entries}]
    dataset.app_config.color_scheme = scheme
