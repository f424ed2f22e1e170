"""Pictures of images with their wrong pixels painted: small ones of those that are worst on a class, and files of any."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fiftyone_resclip.drawing.pictures import overlay, with_legend
from fiftyone_resclip.errors import ImageError, StorageError
from fiftyone_resclip.evaluation.counting import images_in, read_pixels
from fiftyone_resclip.evaluation.error_masks import COLOURS, TARGETS, VALUES, kinds_of
from fiftyone_resclip.evaluation.matching import ClassMatch, match_classes
from fiftyone_resclip.evaluation.results import SemanticEvaluationResults
from fiftyone_resclip.fields.images import read_image
from fiftyone_resclip.fields.mask_files import refuse_unwritable, storing
from fiftyone_resclip.fields.values import resize

_SIDE_PX, _LARGE_PX = 220, 1600
_FADED = 0.45
_TOLD = {"wrong": "wrong class", "missed": "missed", "false": "not there", "void": "void"}


class Thumbnail(NamedTuple):
    """A picture of an image that is wrong on a class.

    Attributes:
        sample_id: id of its sample
        pixels: number of wrong pixels
        picture: RGB; the wrong pixels have the colour of errors, and the others are faded
    """

    sample_id: str
    pixels: int
    picture: Image.Image


def worst_on(results: SemanticEvaluationResults, name: str, most: int = 6) -> list[Thumbnail]:
    """Draws the images with the most pixels where a class was missed or wrongly predicted, most first.

    Args:
        results: the results of a stored run
        name: a class of the ground truth
        most (6): how many images

    Returns:
        the pictures; images that can't be read are left out, and so are frames of videos

    Raises:
        DatasetError: if the class is unknown, or the run was not stored
    """
    config = results.config
    if config.gt_field.startswith("frames."):
        return []
    pixels = dict(results.images_wrong_on(name)[:most])
    worst = results.samples.select(list(pixels), ordered=True)
    match = _match_of(results)
    index, drawn = match.class_names.index(name), []
    for sample_id, photo, truth, prediction in _readable(results, worst, match):
        wrong = ((truth == index) != (prediction == index)) & (truth >= 0)
        drawn.append(Thumbnail(sample_id, pixels[sample_id], _painted(photo, wrong)))
    return drawn


def write_error_pictures(results: SemanticEvaluationResults, samples: Any, folder: str | Path) -> int:
    """Writes a picture of each image to ``<number>-<name>.jpg``, with wrong, missed and false pixels painted over the faded
    photograph.

    Args:
        results: the results of an evaluation
        samples: a view of images among those that were evaluated; the files are numbered in its order
        folder: where to write: a new or empty folder

    Returns:
        the number of pictures; images that can't be read are left out, and so are frames of videos

    Raises:
        StorageError: if the folder has files, or can't be written
    """
    config, folder = results.config, Path(folder).expanduser()
    check_empty(folder)
    if config.gt_field.startswith("frames."):
        return 0
    match, count = _match_of(results), 0
    places = zip(*samples.values(["id", "filepath"]), strict=True)
    names = {sample: f"{number:03d}-{Path(path).stem}.jpg" for number, (sample, path) in enumerate(places, start=1)}
    refuse_unwritable(folder, "pictures")
    legend = [(_TOLD[kind], colour) for kind, colour in COLOURS.items() if kind in _TOLD]
    for sample_id, photo, truth, prediction in _readable(results, samples, match):
        photo.thumbnail((_LARGE_PX, _LARGE_PX))
        kinds = kinds_of(truth, prediction, match)
        small = resize(kinds.astype(np.uint8), (photo.height, photo.width))
        small[small == VALUES["right"]] = 0
        painted = with_legend(overlay(_faded(photo), small, [COLOURS[TARGETS[value]] for value in sorted(TARGETS)]), legend)
        with storing(folder, "pictures"):
            painted.save(folder / names[sample_id], quality=88)
        count += 1
    return count


def check_empty(folder: Path) -> None:
    """Refuses a folder with files, which new pictures would be mixed with.

    Raises:
        StorageError: if it has any, or is a file
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StorageError(f"{str(folder)!r} must be a new or empty folder, but is not; choose another one")


def _match_of(results: SemanticEvaluationResults) -> ClassMatch:
    config = results.config
    return match_classes(results.samples, config.pred_field, config.gt_field, config.ignore_index, config.mapping)


def _readable(
    results: SemanticEvaluationResults, samples: Any, match: ClassMatch
) -> Iterator[tuple[str, Image.Image, NDArray[np.int64], NDArray[np.int64]]]:
    """Yields the id, the photograph, and the true and predicted class indices of each image of a view that can be read."""
    config, paths = results.config, dict(zip(*samples.values(["id", "filepath"]), strict=True))
    for sample_id, image in images_in(samples.select_fields([config.pred_field, config.gt_field]), match, progress=False):
        try:
            read = read_pixels(image, match)
            photo = read_image(paths[sample_id])
        except ImageError:
            continue
        yield sample_id, photo, match.truth_indices(read.truth), match.predicted_indices(read.prediction)


def _painted(photo: Image.Image, wrong: NDArray[np.bool_]) -> Image.Image:
    photo.thumbnail((_SIDE_PX, _SIDE_PX))
    mask = Image.fromarray(255 * resize(wrong.astype(np.uint8), (photo.height, photo.width)))
    return Image.composite(Image.new("RGB", photo.size, COLOURS["wrong"]), _faded(photo), mask)


def _faded(photo: Image.Image) -> Image.Image:
    return Image.blend(photo, photo.convert("L").convert("RGB"), 1 - _FADED)
