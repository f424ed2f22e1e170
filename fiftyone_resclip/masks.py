"""Label maps as FiftyOne stores them: mask values, segmentation labels, mask files, targets and colours.

FiftyOne keeps 0 for "nothing here", so class index ``i`` is written as value ``i + 1``.
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import fiftyone as fo
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fiftyone_resclip.errors import DatasetError, ImageError
from fiftyone_resclip.metrics import value_codes
from fiftyone_resclip.vocabulary import Vocabulary

if TYPE_CHECKING:
    from fiftyone_resclip.core.labels import LabelMap

MaskTargets = Mapping[int, str]


def targets(vocabulary: Vocabulary) -> dict[int, str]:
    """Gives the mask value of each class: 1 for the first. 0 stays unlabelled."""
    return dict(enumerate(vocabulary.class_names, start=1))


def to_segmentation(label_map: LabelMap, n_classes: int, path: Path | None = None) -> fo.Segmentation:
    """Turns a prediction into a FiftyOne label.

    Args:
        label_map: labels and confidence of one image
        n_classes: number of classes; more than 255 need 16 bits
        path (None): of a PNG to write the mask to; by default it stays in memory

    Returns:
        a ``Segmentation`` with ``mask`` (uint8 or uint16) or ``mask_path``, and ``confidence``, the mean over pixels in [0, 1]
    """
    dtype = np.uint8 if n_classes <= 255 else np.uint16
    mask: NDArray[np.integer] = (label_map.labels.cpu().numpy() + 1).astype(dtype)
    confidence = round(float(label_map.confidence.mean()), 4)
    if path is None:
        return fo.Segmentation(mask=mask, confidence=confidence)
    write_mask(mask, path)
    # not by taking the mask out of a label: FiftyOne then compares old and new, which takes longer than writing the file
    return fo.Segmentation(mask_path=str(path), confidence=confidence)


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


def read_mask(label: fo.Segmentation, *, colours: bool = False) -> NDArray[np.integer]:
    """Reads a label's mask from memory or disk.

    Palette files give their indices, not their colours, which is where FiftyOne's own reader fails.

    Args:
        label: with ``mask`` or ``mask_path``
        colours (False): whether classes are told by colour: then a value is ``0xRRGGBB``

    Returns:
        ``(H, W)`` integers

    Raises:
        ImageError: if the file is missing or broken, the mask is empty, or holds colours where ids are expected, or the other
            way round
    """
    mask: NDArray[np.integer] = _read_file(label.mask_path, colours) if label.mask is None else np.asarray(label.mask)
    if mask.ndim == 3 and mask.shape[2] == 1:
        mask = mask[..., 0]
    if mask.dtype == bool or (np.issubdtype(mask.dtype, np.floating) and bool((mask == np.round(mask)).all())):
        mask = mask.astype(np.int64)
    is_colour = mask.ndim == 3 and mask.shape[2] >= 3
    if is_colour != colours or (mask.ndim != 2 and not is_colour) or not np.issubdtype(mask.dtype, np.integer) or not mask.size:
        wanted = "(H, W, 3) colours, as its mask targets are" if colours else "(H, W) class ids"
        raise ImageError(f"mask {label.mask_path or 'in the database'!r} must be {wanted}, but is {mask.shape} {mask.dtype}")
    if colours:
        red, green, blue = (mask[..., channel].astype(np.int64) for channel in range(3))
        return red << 16 | green << 8 | blue
    return mask


def _read_file(path: str, colours: bool) -> NDArray[np.integer]:
    try:
        with Image.open(path) as image:
            if image.mode == "1":  # reads 0 and 255, as FiftyOne shows it
                return np.asarray(image.convert("L"))
            return np.asarray(image.convert("RGB") if colours and image.mode == "P" else image)
    except (OSError, ValueError, SyntaxError, AttributeError, TypeError, Image.DecompressionBombError) as error:
        raise ImageError(f"mask {path!r} must be a readable image, but: {error}") from error


def relabel(mask: NDArray[np.integer], new_values: Mapping[int, int], otherwise: int) -> NDArray[np.int64]:
    """Gives each pixel another value.

    Args:
        mask: ``(H, W)`` integers
        new_values: new value by old value
        otherwise: for old values that are not among them

    Returns:
        ``(H, W)`` int64
    """
    values, codes = value_codes(mask)
    table = np.array([new_values.get(value, otherwise) for value in values.tolist()], dtype=np.int64)
    relabelled: NDArray[np.int64] = table[codes]
    return relabelled


def fit(mask: NDArray[np.integer], image_hw: tuple[int, ...]) -> NDArray[np.integer]:
    """Resizes a mask by the nearest pixel; ids of any width stay what they are.

    Args:
        mask: ``(H, W)``
        image_hw: height and width of the result

    Returns:
        ``image_hw``, same values
    """
    if mask.shape == tuple(image_hw):
        return mask
    rows, columns = (((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(image_hw, mask.shape, strict=True))
    resized: NDArray[np.integer] = mask[rows[:, None], columns[None, :]]
    return resized


def declare_field(dataset: fo.Dataset, field: str, mask_targets: MaskTargets, palette: Sequence[str] | None = None) -> None:
    """Makes the field ready before anything is written: its type, confidence, class names and colours.

    Args:
        dataset: a FiftyOne dataset
        field: name; ``frames.`` before it for a field of video frames
        mask_targets: class name by mask value
        palette (None): hex colour of each; by default from :func:`colours`

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
    _colour_field(dataset, field, mask_targets, palette or colours(len(mask_targets)))
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


def mask_fields(samples: fo.core.collections.SampleCollection, *, frames: bool = False) -> list[str]:
    """Lists the fields of masks.

    Args:
        samples: a FiftyOne dataset or view
        frames (False): whether those of video frames are listed too, with ``frames.`` before their name

    Returns:
        names, in the order of the schema
    """
    fields = list(samples.get_field_schema(embedded_doc_type=fo.Segmentation))
    of_frames = samples.get_frame_field_schema(embedded_doc_type=fo.Segmentation) if frames else None
    return fields + [f"frames.{name}" for name in of_frames or ()]


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


def _colour_field(dataset: fo.Dataset, field: str, mask_targets: MaskTargets, palette: Sequence[str]) -> None:
    """Lets the App paint this field by class; colours the user chose for other fields stay."""
    entries = [{"intTarget": value, "color": colour} for value, colour in zip(mask_targets, palette, strict=True)]
    scheme = dataset.app_config.color_scheme or fo.ColorScheme()
    scheme.color_by = "value"
    scheme.fields = [f for f in scheme.fields or [] if f["path"] != field] + [{"path": field, "maskTargetsColors": entries}]
    dataset.app_config.color_scheme = scheme
