"""Held-out scenes with everything that may be known about them: masks, the classes in them, and regions of three qualities."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import fiftyone as fo
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates

from fiftyone_resclip.fields import schema
from fiftyone_resclip.tiny.scenes import COLOUR_CLASSES, COLOURS_AND_GROUNDS, Scene, class_map, dense_scene
from fiftyone_resclip.vocabulary import Vocabulary

#: The classes of each field of ground truth. In ``cloths``, all ground is background.
TRUTHS: Mapping[str, tuple[str, ...]] = {"truth": COLOURS_AND_GROUNDS, "cloths": (*COLOUR_CLASSES, "background")}

#: The same masks as ``truth``, in which three of the nine classes have no name; each class is without one in one of the fields.
PARTIAL_TRUTHS: Mapping[str, frozenset[str]] = {
    f"six_of_nine_{part}": frozenset(COLOURS_AND_GROUNDS[part::3]) for part in range(3)
}

_JITTER_PX, _SMOOTH_PX = 4.0, 8.0
_PIXELS_OF_PIECE = 24**2


def make_dataset(folder: Path, first: int, count: int) -> fo.Dataset:
    """Draws scenes to disk and makes a dataset of them.

    Args:
        folder: where the images go
        first: number of the first scene
        count: number of scenes

    Returns:
        the dataset, with the fields of :data:`TRUTHS`, of :data:`PARTIAL_TRUTHS` and of :data:`REGIONS`, and ``names``, the
        classes in each image
    """
    dataset = fo.Dataset()
    for field, classes in TRUTHS.items():
        schema.declare_field(dataset, field, schema.mask_targets(Vocabulary.parse(list(classes))))
    for field, nameless in PARTIAL_TRUTHS.items():
        targets = schema.mask_targets(Vocabulary.parse(list(COLOURS_AND_GROUNDS)))
        schema.declare_field(dataset, field, {value: name for value, name in targets.items() if name not in nameless})
    dataset.add_samples([_sample(folder, first + index) for index in range(count)], progress=False)
    return dataset


def _sample(folder: Path, index: int) -> fo.Sample:
    scene, path = dense_scene(index), folder / f"{index}.png"
    Image.fromarray(scene.image).save(path)
    truth, cloths = class_map(scene, COLOURS_AND_GROUNDS), class_map(scene, COLOUR_CLASSES)
    masks: dict[str, NDArray[np.integer]] = {
        "truth": truth,
        "cloths": np.where(cloths == 255, len(TRUTHS["cloths"]), cloths).astype(np.uint8),
    }
    masks |= dict.fromkeys(PARTIAL_TRUTHS, truth)
    masks |= {field: regions(scene, np.random.default_rng(index)) for field, regions in REGIONS.items()}
    names = [COLOURS_AND_GROUNDS[value - 1] for value in np.unique(truth)]
    return fo.Sample(str(path), names=names, **{field: fo.Segmentation(mask=mask) for field, mask in masks.items()})


def true_regions(scene: Scene, _: np.random.Generator) -> NDArray[np.uint8]:
    """Returns a number above 0 for each piece of cloth and each ground, ``(H, W)``."""
    return scene.truth + 1


def jittered_regions(scene: Scene, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Moves each point of the true outlines: neighbours move alike, and the distance has a root mean square of 4 pixels."""
    image_hw = scene.truth.shape
    shifts = [gaussian_filter(rng.normal(size=image_hw), _SMOOTH_PX, mode="wrap") for _ in image_hw]
    moved = [
        place + shift * (_JITTER_PX / np.sqrt(2) / shift.std()) for place, shift in zip(np.indices(image_hw), shifts, strict=True)
    ]
    regions: NDArray[np.uint8] = map_coordinates(true_regions(scene, rng), moved, order=0, mode="nearest")
    return regions


def small_regions(scene: Scene, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Cuts the true regions into pieces of about 24 x 24 pixels, each nearest to a random point."""
    height, width = scene.truth.shape
    count = height * width // _PIXELS_OF_PIECE
    rows, columns = (rng.uniform(0, side, count)[:, None, None] for side in (height, width))
    y, x = np.indices((height, width))
    nearest = np.hypot(y - rows, x - columns).argmin(axis=0)
    pieces: NDArray[np.uint16] = (nearest * len(scene.regions) + scene.truth + 1).astype(np.uint16)
    return pieces


#: How regions are made, by the name of their field.
REGIONS: Mapping[str, Callable[[Scene, np.random.Generator], NDArray[np.uint8 | np.uint16]]] = {
    "true_outlines": true_regions,
    "jittered_outlines": jittered_regions,
    "small_pieces": small_regions,
}
