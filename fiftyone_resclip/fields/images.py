"""Decodes images of any kind to upright 8-bit RGB, and resizes them to network size."""

from __future__ import annotations

import mmap
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image
from torch import Tensor

from fiftyone_resclip.config import ResCLIPConfig
from fiftyone_resclip.core.windows import slices, upsample
from fiftyone_resclip.errors import ImageError
from fiftyone_resclip.fields.raster import opened

#: An image with more pixels than this is huge: JPEG files are decoded at half size or less, and one image at a time.
HUGE_PIXELS = 2**26
_ALONE = threading.Lock()
_STRIP_PIXELS = 2**20

#: What makes an image of each EXIF orientation upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_QUARTER_TURNS = [_TURNS[orientation] for orientation in (5, 6, 7, 8)]


def read_image(path: str | Path) -> Image.Image:
    """Reads an image file as upright RGB.

    Applies the EXIF orientation, scales 16-bit values to 8 bits, draws transparent pixels on white and converts palettes to RGB.
    If the EXIF data is damaged, the image is used as its pixels lie.

    Args:
        path: a regular file in one of :data:`~fiftyone_resclip.fields.raster.FORMATS`

    Returns:
        an RGB image, 8 bits per channel

    Raises:
        ImageError: if anything about the file fails; the message has the path and the reason
    """
    with opened(path) as image:
        return to_rgb(_upright(image))


def read_network_image(path: str | Path, config: ResCLIPConfig, least_px: int = 1) -> tuple[Tensor, tuple[int, int]]:
    """Reads an image file at network size; memory for a large one is little more than Pillow needs to decode it.

    Equals :func:`to_network` of :func:`read_image`, except that a JPEG file of more than :data:`HUGE_PIXELS` is decoded at half,
    a quarter or an eighth of its size, at least twice the network size.

    Args:
        path: as for :func:`read_image`
        config: the settings
        least_px (1): the minimum length of each side at network size

    Returns:
        ``(3, h, w)`` uint8, and height and width of the upright image

    Raises:
        ImageError: as for :func:`read_image`, and if the image is too thin
    """
    return read_with(lambda image: to_network(image, config), path, config, least_px)


def read_with(
    convert: Callable[[Image.Image], Tensor], path: str | Path, config: ResCLIPConfig, least_px: int = 1
) -> tuple[Tensor, tuple[int, int]]:
    """Reads an image file as :func:`read_network_image` does, and converts it in another way.

    Args:
        convert: turns an upright image of any mode that :func:`to_rgb` converts into a tensor
        path: as for :func:`read_image`
        config: the settings, which decide how thin an image may be and at what size a very large one is decoded
        least_px (1): the minimum length of each side at network size

    Returns:
        what ``convert`` returns, and height and width of the upright image

    Raises:
        ImageError: as for :func:`read_network_image`
    """
    with opened(path) as image:
        check_thickness((image.height, image.width), config, least_px)
        if image.width * image.height <= HUGE_PIXELS:
            upright = _upright(image)
            return convert(upright), (upright.height, upright.width)
        with _ALONE:
            return _read_huge(image, config, convert)


def _read_huge(
    image: Image.Image, config: ResCLIPConfig, convert: Callable[[Image.Image], Tensor]
) -> tuple[Tensor, tuple[int, int]]:
    whole, enough = image.size, 2 * max(network_hw((image.height, image.width), config))
    image.draft(None, (enough, enough))
    shrunk = image.size != whole
    upright = _upright(image)
    width, height = whole if shrunk else upright.size
    turned = shrunk and _turn(image) in _QUARTER_TURNS
    return convert(upright), (width, height) if turned else (height, width)


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    turn = _turn(image)
    return image if turn is None else image.transpose(turn)


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Returns what makes a decoded image upright; ``None`` if it is, or if its EXIF data can't be read."""
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged EXIF data raises many types, and says nothing about the pixels
        return None


def to_rgb(image: Image.Image) -> Image.Image:
    """Converts an image to 8-bit RGB.

    Args:
        image: any Pillow mode except floating point

    Returns:
        mode ``RGB``

    Raises:
        ImageError: if the pixels are floating point, which has no standard value range
    """
    if image.mode == "F":
        raise ImageError("a floating-point image has no standard value range; save it with 8 or 16 bits per channel")
    if image.mode.startswith("I"):
        scaled = np.clip(np.asarray(image).astype(np.int64) // 257, 0, 255).astype(np.uint8)
        return Image.fromarray(scaled).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        opaque = image.convert("RGBA")
        ground = Image.new("RGBA", opaque.size, "white")
        return Image.alpha_composite(ground, opaque).convert("RGB")
    return image.convert("RGB")


def check_thickness(image_hw: tuple[int, int], config: ResCLIPConfig, least_px: int) -> None:
    """Refuses an image of which no whole patch would reach the network.

    Args:
        image_hw: height and width in pixels
        config: the settings
        least_px: the minimum length of each side at network size

    Raises:
        ImageError: if it has no pixels or is too thin
    """
    small = min(network_hw(image_hw, config)) if min(image_hw) else 0
    if small < least_px:
        raise ImageError(
            f"it is {image_hw[1]}x{image_hw[0]} px, too thin: at network size its short side is {small} px, "
            f"less than the patch size of {least_px}"
        )


def network_hw(image_hw: tuple[int, int], config: ResCLIPConfig) -> tuple[int, int]:
    """Returns the network size of an image: its short side is as configured, unless the long side would become too long.

    Args:
        image_hw: height and width in pixels
        config: the settings

    Returns:
        height and width in pixels
    """
    scale = min(config.short_side_px / min(image_hw), config.max_long_side_px / max(image_hw))
    return int(image_hw[0] * scale + 0.5), int(image_hw[1] * scale + 0.5)


def to_network(image: Image.Image | NDArray[np.uint8], config: ResCLIPConfig) -> Tensor:
    """Resizes an image as for the published results: bilinear, without antialiasing, rounded to 8-bit values.

    Args:
        image: image of any mode that :func:`to_rgb` converts, or ``(H, W, 3)`` uint8 array
        config: the settings

    Returns:
        ``(3, h, w)`` uint8
    """
    height, width = (image.height, image.width) if isinstance(image, Image.Image) else image.shape[:2]
    out_hw = network_hw((height, width), config)
    if out_hw == (height, width):
        return torch.from_numpy(_rgb_rows(image, slice(0, height))).permute(2, 0, 1).contiguous()
    used = _rows_used(height, out_hw[0])
    strips = (rows for rows in slices(height, max(_STRIP_PIXELS // width, 1)) if used[rows].any())
    read = np.concatenate([_rgb_rows(image, rows)[used[rows]] for rows in strips])
    plane, resized = _zeros((height, width)), []
    for channel in range(3):
        plane[used] = read[..., channel]
        resized.append(upsample(torch.from_numpy(plane)[None, None], out_hw)[0].round().to(torch.uint8))
    return torch.cat(resized)


def _rgb_rows(image: Image.Image | NDArray[np.uint8], rows: slice) -> NDArray[np.uint8]:
    """Returns rows of an image, ``(rows, W, 3)``."""
    if isinstance(image, Image.Image):
        return np.array(to_rgb(image.crop((0, rows.start, image.width, rows.stop))))
    return image[rows].copy()


def _rows_used(height: int, out_height: int) -> NDArray[np.bool_]:
    """Returns which rows a bilinear resize may read: two for each row of the result, and one more on each side."""
    centres = (np.arange(out_height) + 0.5) * height / out_height
    used = np.zeros(height, bool)
    for offset in (-2, -1, 0, 1):
        used[np.clip(centres.astype(int) + offset, 0, height - 1)] = True
    return used


def _zeros(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Returns an array in which only the rows that are written take memory; a resize to a small size skips most rows."""
    memory = mmap.mmap(-1, int(np.prod(shape)) * 4)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):  # a huge page spans many rows, and would take memory for all of them
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(memory, np.float32).reshape(shape)
