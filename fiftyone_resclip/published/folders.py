"""Describes where each benchmark keeps its images and masks, and the class of each mask value. Uses only the standard library.

Class indices match :meth:`fiftyone_resclip.Vocabulary.preset` of the same name. If a folder has masks in more than one form, the
form that needs no conversion is used.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from fiftyone_resclip.checks import check_known, checked_path
from fiftyone_resclip.errors import DatasetError

#: Class index of values that are not counted.
VOID = -1


class Pair(NamedTuple):
    """An image and its ground truth.

    Attributes:
        name: unique name within the benchmark
        image: path of the image
        mask: path of its ground truth
        classes: class index by mask value, :data:`VOID` for void
    """

    name: str
    image: Path
    mask: Path
    classes: Mapping[int, int]


@dataclass(frozen=True)
class Folders:
    """A benchmark on disk.

    Attributes:
        title: the name that its publishers use
        n_images: number of images behind the published results
        homes: folders below the data root that may hold it; the first one that has ``marker`` is used
        marker: file or folder that must be in it
        pairs: lists the images of such a folder, in order
    """

    title: str
    n_images: int
    homes: tuple[str, ...]
    marker: str
    pairs: Callable[[Path], Iterable[Pair]]


def find_pairs(name: str, data_root: str | Path, limit: int | None = None) -> list[Pair]:
    """Lists the images of a benchmark.

    Args:
        name: a key of :data:`FOLDERS`
        data_root: the folder of the dataset, or a folder that holds several datasets
        limit (None): maximum number of images, from the start

    Returns:
        the images with their masks; all files exist

    Raises:
        ConfigError: if there is no such benchmark
        DatasetError: if the dataset or one of its files is missing; the message names what is missing
    """
    folders = benchmark(name)
    root = checked_root(data_root)
    homes = [root / home for home in folders.homes]
    home = next((home for home in homes if (home / folders.marker).exists()), None)
    if home is None:
        raise DatasetError(
            f"{name} needs {folders.title}: {folders.marker} must be in {root} or its folder {folders.homes[0]}, but is in "
            "neither; download it from its publishers and unpack it there (this command downloads nothing)"
        )
    pairs = list(folders.pairs(home))[:limit]
    if not pairs:
        raise DatasetError(f"{name} needs {folders.title}, but {home} has no validation images")
    missing = [str(path) for pair in pairs for path in (pair.image, pair.mask) if not path.is_file()]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise DatasetError(f"{name} needs all files of {folders.title}, but these are missing: {', '.join(missing[:3])}{more}")
    return pairs


def checked_root(data_root: str | Path) -> Path:
    """Returns the folder of datasets, in the form that FiftyOne stores.

    Raises:
        DatasetError: if there is no such folder
    """
    root = absolute(checked_path("data root", data_root, DatasetError))
    if not root.is_dir():
        raise DatasetError(f"data root must be the folder that contains the benchmarks' folders, but {str(root)!r} is no folder")
    return root


def absolute(path: str | Path) -> Path:
    """Returns a path in the form that FiftyOne stores: absolute, without ``..``."""
    return Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100  # resolve() follows links, FiftyOne does not


def benchmark(name: str) -> Folders:
    """Returns a benchmark by name.

    Args:
        name: a key of :data:`FOLDERS`

    Raises:
        ConfigError: if there is none; the message suggests the closest name
    """
    check_known("benchmark", name, FOLDERS)
    return FOLDERS[name]


def _numbers(n_classes: int, first: int, void: Iterable[int]) -> dict[int, int]:
    """Returns class indices for ``n_classes`` consecutive mask values from ``first`` on, and :data:`VOID` for ``void``."""
    return {**{first + index: index for index in range(n_classes)}, **dict.fromkeys(void, VOID)}


def _listed(list_file: str, masks: str, classes: Mapping[int, int]) -> Callable[[Path], Iterable[Pair]]:
    """Returns a function that lists the images of a VOC devkit, whose names are in a text file."""

    def pairs(home: Path) -> Iterable[Pair]:
        for name in (home / list_file).read_text(encoding="utf-8").split():
            if Path(name).name != name:  # the rewritten ground truth gets the same name
                raise DatasetError(f"{home / list_file} must list names of files, but lists the path {name!r}; correct the file")
            yield Pair(name, home / "JPEGImages" / f"{name}.jpg", home / masks / f"{name}.png", classes)

    return pairs


def _in_folder(
    images: str, image_suffix: str, masks: str, forms: Mapping[str, Mapping[int, int]]
) -> Callable[[Path], Iterable[Pair]]:
    """Returns a function that lists all images below a folder; ``forms`` maps endings of mask names to classes."""

    def pairs(home: Path) -> Iterable[Pair]:
        for image in sorted((home / images).rglob(f"*{image_suffix}")):
            name = image.name.removesuffix(image_suffix)
            folder = home / masks / image.parent.relative_to(home / images)
            candidates = [(folder / f"{name}{ending}", classes) for ending, classes in forms.items()]
            mask, classes = next((found for found in candidates if found[0].is_file()), candidates[-1])
            yield Pair(name, image, mask, classes)

    return pairs


# Raw values of COCO-Stuff are category ids minus one; eleven ids were never used.
_COCO_UNUSED = (11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90)
_COCO_RAW = [value for value in range(182) if value not in _COCO_UNUSED]
_COCO_STUFF_RAW = {**{value: index for index, value in enumerate(_COCO_RAW)}, 255: VOID}
_COCO_OBJECT_RAW = {**{value: index + 1 if index < 80 else 0 for index, value in enumerate(_COCO_RAW)}, 255: VOID}

_CITYSCAPES_TRAINED = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
_CITYSCAPES_RAW = {**dict.fromkeys((*range(34), 255), VOID), **{value: index for index, value in enumerate(_CITYSCAPES_TRAINED)}}

_VOC = ("PASCAL VOC 2012 (development kit)", 1449, ("VOCdevkit/VOC2012", "VOC2012", "."), "ImageSets/Segmentation/val.txt")
_CONTEXT = (
    "PASCAL-Context (VOC 2010 development kit with SegmentationClassContext)", 5104, ("VOCdevkit/VOC2010", "VOC2010", "."),
    "ImageSets/SegmentationContext/val.txt",
)  # fmt: skip
_COCO = ("COCO-Stuff 164k (COCO 2017 images)", 5000, ("coco_stuff164k", "coco", "."), "annotations/val2017")
_ADE = ("ADE20K (scene parsing challenge 2016)", 2000, ("ADEChallengeData2016", "."), "annotations/validation")
_CITYSCAPES = ("Cityscapes (leftImg8bit and gtFine)", 500, ("cityscapes", "."), "gtFine/val")
_ADE_FILES = ("images/validation", ".jpg", "annotations/validation")
_CITYSCAPES_FILES = ("leftImg8bit/val", "_leftImg8bit.png", "gtFine/val")
_CITYSCAPES_FORMS = {"_gtFine_labelTrainIds.png": _numbers(19, 0, [255]), "_gtFine_labelIds.png": _CITYSCAPES_RAW}
_COCO_FILES = ("images/val2017", ".jpg", "annotations/val2017")
_VOC_FILES = ("ImageSets/Segmentation/val.txt", "SegmentationClass")
_CONTEXT_FILES = ("ImageSets/SegmentationContext/val.txt", "SegmentationClassContext")

FOLDERS: Mapping[str, Folders] = {
    "voc21": Folders(*_VOC, _listed(*_VOC_FILES, _numbers(21, 0, [255]))),
    "voc20": Folders(*_VOC, _listed(*_VOC_FILES, _numbers(20, 1, [0, 255]))),
    "context60": Folders(*_CONTEXT, _listed(*_CONTEXT_FILES, _numbers(60, 0, [255]))),
    "context59": Folders(*_CONTEXT, _listed(*_CONTEXT_FILES, _numbers(59, 1, [0, 255]))),
    "coco_object": Folders(
        *_COCO, _in_folder(*_COCO_FILES, {"_instanceTrainIds.png": _numbers(81, 0, [255]), ".png": _COCO_OBJECT_RAW})
    ),
    "coco_stuff": Folders(
        *_COCO, _in_folder(*_COCO_FILES, {"_labelTrainIds.png": _numbers(171, 0, [255]), ".png": _COCO_STUFF_RAW})
    ),
    "ade20k": Folders(*_ADE, _in_folder(*_ADE_FILES, {".png": _numbers(150, 1, [0])})),
    "cityscapes": Folders(*_CITYSCAPES, _in_folder(*_CITYSCAPES_FILES, _CITYSCAPES_FORMS)),
}
