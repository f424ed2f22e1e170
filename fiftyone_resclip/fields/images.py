"""Decodes images of any kind to upright 8-bit RGB, and resizes them to network size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from fiftyone_resclip.config import ResCLIPConfig
from fiftyone_resclip.core.windows import upsample
from fiftyone_resclip.errors import ImageError


def read_image(path: str | Path) -> Image.Image:
    """Reads an image file as upright RGB.

    Applies the EXIF orientation, scales 16-bit values to 8 bits, draws transparent pixels on white and converts palettes to RGB.

    Args:
        path: file that Pillow can decode

    Returns:
        an RGB image, 8 bits per channel

    Raises:
        ImageError: if the file is missing, truncated or not an image; the message has the path and the reason
    """
    try:
        with Image.open(path) as image:
            image.load()
            return to_rgb(ImageOps.exif_transpose(image))
    except ImageError as error:
        raise ImageError(f"{str(path)!r} can't be used: {error}") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageError(f"{str(path)!r} must be a readable image, but: {error}") from error


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
        image: RGB image or ``(H, W, 3)`` uint8 array
        config: the settings

    Returns:
        ``(3, h, w)`` uint8
    """
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    out_hw = network_hw((pixels.shape[1], pixels.shape[2]), config)
    if out_hw == tuple(pixels.shape[1:]):
        return pixels.contiguous()
    # channel by channel, because a photograph in floating point needs a lot of memory
    return torch.cat([upsample(channel[None, None], out_hw)[0].round().to(torch.uint8) for channel in pixels])
