"""Converts label maps to FiftyOne masks, writes mask files, and reads masks of any origin.

FiftyOne reserves 0 for unlabelled pixels, so class index ``i`` is written as value ``i + 1``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import fiftyone as fo
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fiftyone_resclip.errors import ImageError

if TYPE_CHECKING:
    from fiftyone_resclip.core.labels import LabelMap


def to_segmentation(label_map: LabelMap, n_classes: int, path: Path | None = None) -> fo.Segmentation:
    """Converts a prediction to a FiftyOne label.

    Args:
        label_map: labels and confidence of one image
        n_classes: number of classes; more than 255 need 16 bits
        path (None): PNG file to write the mask to; by default the mask stays in memory

    Returns:
        a ``Segmentation`` with ``mask`` (uint8 or uint16) or ``mask_path``, and ``confidence``, the mean over pixels in [0, 1]
    """
    dtype = np.uint8 if n_classes <= 255 else np.uint16
    mask: NDArray[np.integer] = (label_map.labels.cpu().numpy() + 1).astype(dtype)
    confidence = round(float(label_map.confidence.mean()), 4)
    if path is None:
        return fo.Segmentation(mask=mask, confidence=confidence)
    write_mask(mask, path)
    # a new label, because removing the mask from one makes FiftyOne compare old and new, which is slower than the write
    return fo.Segmentation(mask_path=str(path), confidence=confidence)


def write_mask(mask: NDArray[np.integer], path: Path) -> None:
    """Writes a mask as PNG, first to a temporary file, so that no reader sees half a file.

    Args:
        mask: ``(H, W)`` uint8 or uint16
        path: the PNG file; its folder is created if it is missing
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    Image.fromarray(mask).save(partial, format="PNG", compress_level=1)
    partial.replace(path)


def read_mask(label: fo.Segmentation, *, colours: bool = False) -> NDArray[np.integer]:
    """Reads a label's mask from memory or disk.

    Palette files are read as indices, not colours; FiftyOne's own reader fails there. With ``colours``, they are read as colours.

    Args:
        label: a label with ``mask`` or ``mask_path``
        colours (False): whether the mask encodes classes as colours; values are then ``0xRRGGBB``

    Returns:
        ``(H, W)`` integers

    Raises:
        ImageError: if the file is missing or broken, or the mask is empty, has colours where ids are expected, or ids where
            colours are expected
    """
    mask: NDArray[np.integer] = _read_file(label.mask_path, colours) if label.mask is None else np.asarray(label.mask)
    if mask.ndim == 3 and mask.shape[2] == 1:
        mask = mask[..., 0]
    if mask.dtype == bool or (np.issubdtype(mask.dtype, np.floating) and bool((mask == np.round(mask)).all())):
        mask = mask.astype(np.int64)
    is_colour = mask.ndim == 3 and mask.shape[2] >= 3
    if is_colour != colours or (mask.ndim != 2 and not is_colour) or not np.issubdtype(mask.dtype, np.integer) or not mask.size:
        wanted = "(H, W, 3) colours, like its mask targets" if colours else "(H, W) class ids"
        raise ImageError(f"mask {label.mask_path or 'in the database'!r} must be {wanted}, but is {mask.shape} {mask.dtype}")
    if colours:
        red, green, blue = (mask[..., channel].astype(np.int64) for channel in range(3))
        return red << 16 | green << 8 | blue
    return mask


def _read_file(path: str, colours: bool) -> NDArray[np.integer]:
    try:
        with Image.open(path) as image:
            if image.mode == "1":  # becomes 0 and 255, as in FiftyOne
                return np.asarray(image.convert("L"))
            return np.asarray(image.convert("RGB") if colours and image.mode == "P" else image)
    except (OSError, ValueError, SyntaxError, AttributeError, TypeError, Image.DecompressionBombError) as error:
        raise ImageError(f"mask {path!r} must be a readable image, but: {error}") from error
