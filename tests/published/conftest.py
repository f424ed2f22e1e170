"""Draws small versions of all benchmarks in their real folder structure: two generated images each, with known mask values."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from fiftyone_resclip.published.folders import FOLDERS

SIZE = (64, 48)
NAMES = ("one", "two")


def draw_image(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize(SIZE, Image.Resampling.NEAREST).save(path)


def draw_mask(path: Path, values: tuple[int, ...], palette: bool = False) -> None:
    """Draws the values as vertical stripes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = np.array(values, np.uint8)[np.arange(SIZE[0]) * len(values) // SIZE[0]]
    image = Image.fromarray(np.tile(columns, (SIZE[1], 1)))
    if palette:
        image.putpalette([component for value in range(256) for component in (value, 255 - value, 7)])
    image.save(path)


def draw_voc(root: Path, year: str, list_folder: str, mask_folder: str, values: tuple[int, ...], palette: bool) -> None:
    home = root / "VOCdevkit" / year
    (home / "ImageSets" / list_folder).mkdir(parents=True, exist_ok=True)
    (home / "ImageSets" / list_folder / "val.txt").write_text("\n".join(NAMES) + "\n", encoding="utf-8")
    for seed, name in enumerate(NAMES):
        draw_image(home / "JPEGImages" / f"{name}.jpg", seed)
        draw_mask(home / mask_folder / f"{name}.png", values, palette)


def draw_all(root: Path) -> Path:
    """Draws every benchmark's folder below ``root``."""
    draw_voc(root, "VOC2012", "Segmentation", "SegmentationClass", (0, 1, 20, 255), palette=True)
    draw_voc(root, "VOC2010", "SegmentationContext", "SegmentationClassContext", (0, 1, 59), palette=False)
    for seed, name in enumerate(NAMES):
        draw_image(root / "coco_stuff164k/images/val2017" / f"{name}.jpg", seed)
        draw_mask(root / "coco_stuff164k/annotations/val2017" / f"{name}.png", (0, 12, 89, 91, 181, 255))
        draw_image(root / "ADEChallengeData2016/images/validation" / f"{name}.jpg", seed)
        draw_mask(root / "ADEChallengeData2016/annotations/validation" / f"{name}.png", (0, 1, 150))
        town = Path("val") / f"town-{name}"
        draw_image(root / "cityscapes/leftImg8bit" / town / f"{name}_leftImg8bit.png", seed)
        draw_mask(root / "cityscapes/gtFine" / town / f"{name}_gtFine_labelIds.png", (0, 7, 11, 33, 4))
    return root


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_all(tmp_path_factory.mktemp("benchmarks"))


@pytest.fixture
def root(drawn: Path, tmp_path: Path) -> Iterator[Path]:
    """Yields a copy that tests may change; deletes the FiftyOne datasets made from it when the test ends."""
    yield Path(shutil.copytree(drawn, tmp_path / "data"))
    for name in FOLDERS:
        if fo.dataset_exists(f"resclip-{name}"):
            fo.delete_dataset(f"resclip-{name}")
