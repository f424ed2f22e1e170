"""Reads pairs of masks and counts their pixels; every mask that can't be read is reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from pymongo.errors import ConnectionFailure

from fiftyone_resclip.errors import DatabaseError, ImageError
from fiftyone_resclip.evaluation import metrics
from fiftyone_resclip.evaluation.boundaries import BoundaryCounts, boundary_counts
from fiftyone_resclip.evaluation.matching import ClassMatch, Count, MaskField
from fiftyone_resclip.fields.patience import patiently
from fiftyone_resclip.fields.values import Mask, resize

#: Number of samples whose fields are written in one batch.
SAVED_AT_ONCE = 256


@dataclass
class Outcome:
    """Result of counting one image.

    Attributes:
        name: its file, followed by the frame number for a frame
        count: the pixels; ``None`` if there is no ground truth
        frame: number of the frame; ``None`` for an image
        truth_id: id of the ground-truth label
        pred_id: id of the predicted label, if there is one
        no_truth: reason why the image could not be counted
        no_prediction: reason why all its pixels count as unlabelled
        resized: both sizes, if they differed
        boundary: pixels near borders, if requested
    """

    name: str
    count: Count | None = None
    frame: int | None = None
    truth_id: str | None = None
    pred_id: str | None = None
    no_truth: str | None = None
    no_prediction: str | None = None
    resized: str | None = None
    boundary: BoundaryCounts | None = None


@dataclass
class Total:
    """Totals over a collection.

    Attributes:
        match: the classes
        keep_pairs: whether to keep the confusions of each image too, which the App's panel needs
        confusion: ``(C, C + 1)``
        void: pixels that are left out
        unmatched: pixels by predicted class that has no match in the ground truth
        unnamed: pixels by ground-truth value that has no name
    """

    match: ClassMatch
    keep_pairs: bool = False
    images: int = 0
    without_truth: dict[str, str] = field(default_factory=dict)
    without_prediction: dict[str, str] = field(default_factory=dict)
    resized: dict[str, str] = field(default_factory=dict)
    pairs: list[tuple[str, str | None, int, str | None, str | None]] = field(default_factory=list)
    boundary: BoundaryCounts | None = None
    void: int = 0
    unmatched: Counter[str] = field(default_factory=Counter)
    unnamed: Counter[int] = field(default_factory=Counter)
    confusion: metrics.Confusion = field(init=False)

    def __post_init__(self) -> None:
        self.confusion = self.match.empty()

    def add(self, outcome: Outcome) -> metrics.Confusion | None:
        """Adds an image and returns its confusion matrix if ``keep_pairs`` is set, else ``None``."""
        if outcome.count is None:
            self.without_truth[outcome.name] = outcome.no_truth or ""
            return self.match.empty() if self.keep_pairs else None
        self.images += 1
        if outcome.no_prediction is not None:
            self.without_prediction[outcome.name] = outcome.no_prediction
        if outcome.resized is not None:
            self.resized[outcome.name] = outcome.resized
        outcome.count.add_to(self.confusion)
        self.void += outcome.count.void
        self.unmatched.update(outcome.count.unmatched)
        self.unnamed.update(outcome.count.unnamed)
        if outcome.boundary is not None:
            parts = (outcome.boundary,) if self.boundary is None else (self.boundary, outcome.boundary)
            self.boundary = BoundaryCounts(*(sum(part) for part in zip(*parts, strict=True)))
        if not self.keep_pairs:
            return None
        own, names = outcome.count.add_to(self.match.empty()), (*self.match.class_names, None)
        self.pairs += [
            (self.match.class_names[row], names[column], int(own[row, column]), outcome.truth_id, outcome.pred_id)
            for row, column in zip(*np.nonzero(own), strict=True)
        ]
        return own


class Image(NamedTuple):
    """One image of a sample: the sample itself, or a frame of its video.

    Attributes:
        frame: number of the frame, from 1; ``None`` for an image
        name: its file, followed by the frame number for a frame
        truth: a ``Segmentation``, ``None``, or the error that FiftyOne raised when it loaded the label
        prediction: the same for the prediction
    """

    frame: int | None
    name: str
    truth: Any
    prediction: Any


class Pixels(NamedTuple):
    """The two masks of an image, both of the same size.

    Attributes:
        truth: ``(H, W)`` values
        prediction: ``(H, W)`` values; -1 everywhere if there is no mask, because no field can have a class of that value
        no_prediction: reason why there is no mask
        resized: both sizes, if they differed
    """

    truth: Mask
    prediction: Mask
    no_prediction: str | None = None
    resized: str | None = None


def images_in(view: Any, match: ClassMatch, progress: Any) -> Iterator[tuple[str, Image]]:
    """Yields the images of a collection, or each frame of its videos. A sample that FiftyOne can't load costs only itself.

    Args:
        view: a FiftyOne view
        match: the classes
        progress: whether to show a progress bar

    Yields:
        sample ids and images
    """
    done, samples = 0, None

    def following() -> list[tuple[str, Image]] | None:
        nonlocal samples
        samples = samples or view.skip(done).iter_samples(progress=progress)
        try:
            sample = next(samples, None)
            return None if sample is None else [(sample.id, image) for image in _images_of(sample, match)]
        except Exception:
            samples = None
            raise

    while True:
        try:
            images = patiently(following)
        except DatabaseError:
            raise
        except Exception as error:  # a damaged mask in the database raises whatever its decoder raises
            images = patiently(partial(_unloadable, view.skip(done).limit(1), match, error))
        if images is None:
            return
        yield from images
        done += 1


def _unloadable(one: Any, match: ClassMatch, error: Exception) -> list[tuple[str, Image]]:
    """Returns the image of a sample that FiftyOne can't load, with those of its labels that it can load."""
    found = list(zip(*one.values(["id", "filepath"]), strict=True))
    if not found:
        raise error
    labels = [_load(one, field.name) for field in (match.truth_field, match.pred_field)]
    return [(found[0][0], Image(None, found[0][1], *labels))]


def _load(one: Any, field: str) -> Any:
    try:
        if field.startswith("frames."):
            raise ImageError(f"a frame of this video has a label in the database that can't be decoded; repair {field!r}")
        return one.select_fields(field).first()[field]
    except ConnectionFailure:  # says nothing about the label
        raise
    except Exception as error:
        why = error if isinstance(error, ImageError) else f"its label in {field!r} can't be decoded: {error.__cause__ or error}"
        return ImageError(str(why))


def _images_of(sample: Any, match: ClassMatch) -> Iterator[Image]:
    truth, prediction = match.truth_field.name, match.pred_field.name
    if not match.of_frames:
        yield Image(None, sample.filepath, sample[truth], sample[prediction])
        return
    truth, prediction = (name.removeprefix("frames.") for name in (truth, prediction))
    for number, frame in sample.frames.items():
        yield Image(number, f"{sample.filepath}#{number}", frame[truth], frame[prediction])


def write_fields(samples: Any, values: Mapping[str, Mapping[int | None, Mapping[str, Any]]]) -> None:
    """Writes fields of samples and frames without loading their masks, which FiftyOne would otherwise compress again.

    Args:
        samples: a FiftyOne dataset or view
        values: value by sample id, frame number (``None`` for the sample itself) and field
    """
    ids = list(values)
    for start in range(0, len(ids), SAVED_AT_ONCE):
        for sample in samples.select(ids[start : start + SAVED_AT_ONCE]).select_fields().iter_samples(autosave=True):
            for frame, fields in values[sample.id].items():
                document = sample if frame is None else sample.frames[frame]
                for name, value in fields.items():
                    document[name] = value


def read_pixels(image: Image, match: ClassMatch) -> Pixels:
    """Reads the masks of an image; a missing or broken prediction becomes a mask without any class.

    Args:
        image: from :func:`images_in`
        match: the classes

    Returns:
        the masks; the prediction is resized to the ground truth's size

    Raises:
        ImageError: if the ground truth is missing or broken
    """
    truth = _read(match.truth_field, image.truth)
    try:
        prediction = _read(match.pred_field, image.prediction)
    except ImageError as error:
        return Pixels(truth, np.full_like(truth, -1, dtype=np.int64), no_prediction=str(error))
    if prediction.shape == truth.shape:
        return Pixels(truth, prediction)
    resized = f"{prediction.shape[1]}x{prediction.shape[0]} -> {truth.shape[1]}x{truth.shape[0]}"
    return Pixels(truth, resize(prediction, truth.shape), resized=resized)


def count_image(image: Image, match: ClassMatch, boundary: float | None) -> Outcome:
    """Counts the pixels of one image.

    Args:
        image: from :func:`images_in`
        match: the classes
        boundary: band of boundary IoU; ``None`` to skip it

    Returns:
        the outcome; a missing or broken mask is recorded there and raises no error
    """
    ids = [getattr(label, "id", None) for label in (image.truth, image.prediction)]
    outcome = Outcome(image.name, None, image.frame, *ids)
    try:
        pixels = read_pixels(image, match)
    except ImageError as error:
        outcome.no_truth = str(error)
        return outcome
    outcome.no_prediction, outcome.resized = pixels.no_prediction, pixels.resized
    outcome.count = match.count(metrics.value_pairs(pixels.truth, pixels.prediction))
    if boundary is not None:
        truth, prediction = match.truth_indices(pixels.truth), match.predicted_indices(pixels.prediction)
        outcome.boundary = boundary_counts(truth, prediction, len(match.class_names), boundary)
    return outcome


def _read(field: MaskField, label: Any) -> Mask:
    if isinstance(label, ImageError):
        raise label
    if label is None or not label.has_mask:
        raise ImageError(f"no mask in {field.name!r}")
    return field.read(label)
