"""Tests image decoding with real files of every kind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fiftyone_resclip.errors import ImageError
from fiftyone_resclip.fields.images import network_hw, read_image, to_network
from fiftyone_resclip.presets import PRESETS

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def saved(tmp_path: Path, image: Image.Image, name: str = "image.png", **options: object) -> np.ndarray:
    path = tmp_path / name
    image.save(path, **options)
    result = read_image(path)
    assert result.mode == "RGB"
    return np.asarray(result)


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the picture must be rotated by 90 degrees
    read = saved(tmp_path, Image.fromarray(RGB), exif=exif)
    np.testing.assert_array_equal(read, np.rot90(RGB, k=-1))


def test_grey_fills_three_channels(tmp_path: Path) -> None:
    np.testing.assert_array_equal(saved(tmp_path, Image.fromarray(RGB[..., 0])), np.repeat(RGB[..., :1], 3, axis=2))


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    deep = RGB[..., 0].astype(np.uint16) * 257
    np.testing.assert_array_equal(saved(tmp_path, Image.fromarray(deep))[..., 0], RGB[..., 0])


def test_transparent_pixels_are_white_and_half_ones_are_mixed(tmp_path: Path) -> None:
    rgba = np.dstack([np.full((1, 3, 3), 100, np.uint8), np.array([[0, 255, 128]], np.uint8)])
    assert saved(tmp_path, Image.fromarray(rgba))[0, :, 0].tolist() == [255, 100, 177]


@pytest.mark.parametrize("transparency", [None, 0])
def test_palettes_are_resolved(tmp_path: Path, transparency: int | None) -> None:
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "L").convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60])
    options = {} if transparency is None else {"transparency": transparency}
    first = [10, 20, 30] if transparency is None else [255, 255, 255]
    assert saved(tmp_path, image, **options).tolist() == [[first, [40, 50, 60]]]


def test_black_and_white_and_cmyk_are_read(tmp_path: Path) -> None:
    assert saved(tmp_path, Image.new("1", (4, 4), 1), "bits.png").min() == 255
    assert saved(tmp_path, Image.new("CMYK", (4, 4)), "print.jpg").min() >= 250


@pytest.mark.parametrize("content", ["truncated", "text", "empty", "missing", "float"])
def test_what_is_no_image_is_named_with_the_reason(tmp_path: Path, content: str) -> None:
    path = tmp_path / ("image.tiff" if content == "float" else "image.jpg")
    big = Image.fromarray(np.random.default_rng(1).integers(0, 255, (80, 80, 3), dtype=np.uint8))
    if content == "float":
        Image.fromarray(np.ones((4, 4), np.float32)).save(path)
    elif content != "missing":
        big.save(path)
        whole = path.read_bytes()
        path.write_bytes({"truncated": whole[: len(whole) // 2], "text": b"no image", "empty": b""}[content])
    with pytest.raises(
        ImageError,
        match=r"image\.tiff' can't be used: .*standard value range"
        if content == "float"
        else r"image\.jpg' must be a readable image, but:",
    ):
        read_image(path)


@pytest.mark.parametrize(
    ("preset", "image_hw", "expected"),
    [
        ("voc21", (375, 500), (336, 448)),
        ("ade20k", (500, 334), (503, 336)),
        ("cityscapes", (1024, 2048), (560, 1120)),
        ("ade20k", (100, 2000), (102, 2048)),
    ],
)
def test_network_sizes_are_the_published_ones(preset: str, image_hw: tuple[int, int], expected: tuple[int, int]) -> None:
    assert network_hw(image_hw, PRESETS[preset]) == expected


def test_the_resize_is_bilinear_without_antialiasing() -> None:
    config = replace(PRESETS["voc21"], short_side_px=2, max_long_side_px=4)
    grey = torch.tensor([[0, 100, 200, 40], [0, 100, 200, 40], [0, 100, 200, 40], [0, 100, 200, 40]], dtype=torch.uint8)
    resized = to_network(grey[..., None].repeat(1, 1, 3).numpy(), config)
    assert resized.shape == (3, 2, 2)
    assert resized[0].tolist() == [[50, 120], [50, 120]]  # means of the two pixels beside each sample


def test_an_image_of_the_right_size_is_left_alone() -> None:
    image = RGB[:6, :6]
    config = replace(PRESETS["voc21"], short_side_px=6)
    np.testing.assert_array_equal(to_network(Image.fromarray(image), config).permute(1, 2, 0).numpy(), image)
