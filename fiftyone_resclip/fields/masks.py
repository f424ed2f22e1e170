"""Converts label maps to FiftyOne masks, writes mask files, and reads masks of any origin.

FiftyOne reserves 0 for unlabelled pixels, so class index ``i`` is written as value ``i + 1``.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable
from functools import cache
from hashlib import blake2b
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import cv2
import fiftyone as fo
import numpy as np
import psutil
from numpy.typing import NDArray

from fiftyone_resclip.errors import ImageError
from fiftyone_resclip.fields.process_identity import pid_space
from fiftyone_resclip.fields.raster import opened

if TYPE_CHECKING:
    from torch import Tensor

    from fiftyone_resclip.core.labels import LabelMap

_PARTIAL = ".partial"
_PNG = [
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP),
]
#: Where process numbers count: containers may have the host name of their machine, but they see other processes.
_HOST = re.sub(r"\W", "_", platform.node()) + blake2b((pid_space() or "").encode(), digest_size=4).hexdigest()


def to_segmentation(
    label_map: LabelMap, n_classes: int, path: Path | None = None, allow: Callable[[], object] | None = None
) -> fo.Segmentation:
    """Converts a prediction to a FiftyOne label.

    Args:
        label_map: labels and confidence of one image
        n_classes: number of classes; more than 255 need 16 bits
        path (None): PNG file to write the mask to; by default the mask stays in memory
        allow (None): as for :func:`write_mask`

    Returns:
        a ``Segmentation`` with ``mask`` (uint8 or uint16) or ``mask_path``, and ``confidence``, the mean over pixels in [0, 1]
    """
    mask = to_mask(label_map.labels, n_classes)
    confidence = round(float(label_map.mean_confidence), 4)
    if path is None:
        return fo.Segmentation(mask=mask, confidence=confidence)
    write_mask(mask, path, allow)
    # a new label, because removing the mask from one makes FiftyOne compare old and new, which is slower than the write
    return fo.Segmentation(mask_path=str(path), confidence=confidence)


def to_mask(labels: Tensor, n_classes: int) -> NDArray[np.integer]:
    """Converts class indices to mask values.

    Args:
        labels: class index per pixel, -1 for no label, ``(H, W)``
        n_classes: number of classes; more than 255 need 16 bits

    Returns:
        ``(H, W)`` uint8 or uint16, 0 for no label
    """
    mask: NDArray[np.integer] = np.empty(tuple(labels.shape), np.uint8 if n_classes <= 255 else np.uint16)
    np.add(labels.cpu().numpy(), 1, out=mask, casting="unsafe")  # without a copy in between: masks can be huge
    return mask


def write_mask(mask: NDArray[np.integer], path: Path, allow: Callable[[], object] | None = None) -> None:
    """Writes a mask as PNG, whole or not at all, whoever else reads or writes the same file at that moment.

    The file is written under a name of its own and then takes its place. A link at ``path`` is replaced, never followed. When a
    process first writes to a folder, it removes what writers that were killed left there.

    Args:
        mask: ``(H, W)`` uint8 or uint16
        path: the PNG file; its folder is created if it is missing
        allow (None): called before the file takes its place; an exception of it prevents that

    Raises:
        OSError: if the file can't be written, for example because the disk is full
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path.parent, os.getpid())
    partial = path.with_name(f".{path.stem}.{_HOST}.{os.getpid()}.{token_hex(6)}{_PARTIAL}")
    try:
        with partial.open("xb") as file:  # "x" refuses files and links that are there
            file.write(_png(mask))
        if allow is not None:
            allow()
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _png(mask: NDArray[np.integer]) -> bytes:
    """Encodes a mask. Most of its pixels equal the one above and the one before, for which filter and strategy are made."""
    written, png = cv2.imencode(".png", mask, _PNG)
    if not written:
        raise OSError(f"a mask of {mask.shape} {mask.dtype} can't be encoded as PNG")
    return bytes(png)


@cache
def _remove_leftovers(folder: Path, _process: int) -> None:
    """Removes partial files whose writer, a process of this host, no longer runs; once per folder and process."""
    for path in folder.glob(f".*{_PARTIAL}"):
        *_, host, process, _token = path.name.removesuffix(_PARTIAL).split(".")
        if host == _HOST and process.isdecimal() and not psutil.pid_exists(int(process)):
            path.unlink(missing_ok=True)


def read_mask(label: fo.Segmentation, *, colours: bool = False) -> NDArray[np.integer]:
    """Reads a label's mask from memory or disk.

    Palette files are read as indices, not colours; FiftyOne's own reader fails there. With ``colours``, they are read as colours.

    Args:
        label: a label with ``mask`` or ``mask_path``
        colours (False): whether the mask encodes classes as colours; values are then ``0xRRGGBB``

    Returns:
        ``(H, W)`` integers

    Raises:
        ImageError: if the file is missing or anything fails while it is read, or the mask is empty, has colours where ids are
            expected, or ids where colours are expected
    """
    mask: NDArray[np.integer] = _read_file(label.mask_path, colours) if label.mask is None else np.asarray(label.mask)
    if mask.ndim == 3 and mask.shape[2] == 1:
        mask = mask[..., 0]
    if mask.dtype == bool or (np.issubdtype(mask.dtype, np.floating) and _are_whole(mask)):
        mask = mask.astype(np.int64)
    is_colour = mask.ndim == 3 and mask.shape[2] >= 3
    if is_colour != colours or (mask.ndim != 2 and not is_colour) or not np.issubdtype(mask.dtype, np.integer) or not mask.size:
        wanted = "(H, W, 3) colours, like its mask targets" if colours else "(H, W) class ids"
        raise ImageError(f"mask {label.mask_path or 'in the database'!r} must be {wanted}, but is {mask.shape} {mask.dtype}")
    if colours:
        red, green, blue = (mask[..., channel].astype(np.int64) for channel in range(3))
        return red << 16 | green << 8 | blue
    return mask


def _are_whole(numbers: NDArray[Any]) -> bool:
    return bool((np.isfinite(numbers) & (numbers == np.round(numbers))).all())


def _read_file(path: str, colours: bool) -> NDArray[np.integer]:
    with opened(path, kind="mask ") as image:
        if image.mode == "1":  # becomes 0 and 255, as in FiftyOne
            return np.asarray(image.convert("L"))
        return np.asarray(image.convert("RGB") if colours and image.mode == "P" else image)
