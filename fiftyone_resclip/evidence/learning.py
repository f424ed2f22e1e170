"""Learns from images whose masks are known: ``resclip.learn``. The formulas are in :mod:`fiftyone_resclip.core.teaching`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import fiftyone as fo
import numpy as np
import torch
from fiftyone.core.media import IMAGE
from numpy.typing import NDArray
from torch import Tensor

from fiftyone_resclip.clip.identity import identity
from fiftyone_resclip.core.teaching import DEFAULT_STRENGTH, Example, Seen, Taught, Teacher, judged
from fiftyone_resclip.core.windows import Box
from fiftyone_resclip.errors import ConfigError, DatasetError, ImageError
from fiftyone_resclip.evaluation.matching import MaskField
from fiftyone_resclip.fields.arguments import checked_collection
from fiftyone_resclip.fields.images import read_network_image
from fiftyone_resclip.fields.masks import read_mask
from fiftyone_resclip.fields.private import dataset_of
from fiftyone_resclip.fields.schema import mask_fields, run_key
from fiftyone_resclip.fields.values import relabel, resize
from fiftyone_resclip.model import ResCLIPModel, checked_model
from fiftyone_resclip.segmenter import ResCLIP

logger = logging.getLogger(__name__)

Strength = float | Literal["auto"]

#: The fewest examples with which several strengths are tried: of fewer, those that remain show too few of the classes.
LEAST_TO_TRY = 5
#: With fewer images in all, and too few examples to try strengths, the words alone are safer.
LEAST_IMAGES = 10
#: Most examples that are left out in turn, and most patches of unlabelled images.
_MOST_JUDGED, _MOST_PATCHES = 10, 8192
#: Largest difference between the proportions of an image and its mask.
_TOLERANCE = 0.02


def learn(
    model: ResCLIPModel,
    samples: Any,
    label_field: str,
    *,
    unlabelled: Any = 200,
    strength: Strength = "auto",
    progress: bool | None = None,
) -> ResCLIPModel:
    """Corrects the words of a model by a few images whose masks are known. Nothing is trained, and no weights change.

    Args:
        model: from :func:`fiftyone_resclip.load_model`; what examples taught it before is replaced
        samples: the examples, a FiftyOne dataset or view of images, such as those whose masks were kept in a review
        label_field: their masks; classes are matched with those of the model by name, and all other pixels are left out
        unlabelled (200): how many more images of their dataset, drawn evenly, show what its images look like; or a collection of
            such images. Without any, the examples show it
        strength ("auto"): how much the examples count, at least 0. ``"auto"`` leaves out one example at a time to try several
            strengths, also 0, the words alone; it takes 0.5 unless another is better by more than a standard error. Fewer than
            five examples count with strength 0.5, or with 0 if there are fewer than ten images in all. Masks that a labelling
            run made, or copies of them, count with strength 0.5, too: nothing could agree with them better than the words that
            made them
        progress (None): whether to show a progress bar, by default FiftyOne's setting

    Returns:
        a new model; its ``taught`` says what it learned. Without examples, it is ``model`` with its words alone

    Raises:
        DatasetError: if the field has no masks or no class in common with the model, or none of the examples can be used
        ConfigError: if ``model``, ``strength`` or ``unlabelled`` is invalid
    """
    steps = iter_learn(model, samples, label_field, unlabelled=unlabelled, strength=strength)
    studying = next(steps)
    with fo.ProgressBar(total=studying.total, progress=progress) as bar:
        for studying in steps:
            if studying.model is None:
                bar.update()
    assert studying.model is not None
    return studying.model


@dataclass(frozen=True)
class Studying:
    """How far learning is.

    Attributes:
        done: images studied
        total: images to study
        model: what was learned, at the end
    """

    done: int
    total: int
    model: ResCLIPModel | None = None

    def __str__(self) -> str:
        return f"{self.done} of {self.total} images studied"


def iter_learn(
    model: ResCLIPModel, samples: Any, label_field: str, *, unlabelled: Any = 200, strength: Strength = "auto"
) -> Iterator[Studying]:
    """Learns as :func:`learn` does, one image at each step.

    Args:
        model: as for :func:`learn`, like all others
        samples: the examples
        label_field: their masks
        unlabelled (200): more images
        strength ("auto"): how much the examples count

    Yields:
        how far it is, also before the first image; the last has the new model
    """
    _check(samples, unlabelled, strength)
    lesson = _Lesson(checked_model(model).segmenter, MaskField.of(samples, label_field))
    examples = samples.exists(label_field).sort_by("id")
    lesson.of_a_run = strength == "auto" and len(examples) >= LEAST_TO_TRY and _made_by_words(examples, label_field)
    others = _others(samples, examples, unlabelled)
    if not len(examples):
        logger.warning("none of the samples has a mask in %r, so there is nothing to learn", label_field)
    tried, total = set(evenly(len(examples), _MOST_JUDGED)), len(examples) + len(others)
    yield Studying(0, total)
    for number, sample in enumerate(examples.select_fields(label_field)):
        lesson.study(sample, sample[label_field], is_tried=number in tried)
        yield Studying(number + 1, total)
    for done, path in enumerate(others, start=len(examples) + 1):
        lesson.watch(path, max(_MOST_PATCHES // len(others), 1))
        yield Studying(done, total)
    yield Studying(total, total, lesson.learned(strength))


class _Lesson:
    """Collects the features of examples and of other images; memory does not depend on the number of images."""

    def __init__(self, method: ResCLIP, field: MaskField) -> None:
        names = method.vocabulary.class_names
        if not set(names) & set(field.targets.values()):
            raise DatasetError(
                f"{field.name!r} must share class names with the model, but has {sorted(set(field.targets.values()))}, "
                f"and the model {list(names)}; rename classes or mask targets"
            )
        self.method, self.field = method, field
        self.class_of = {value: names.index(name) for value, name in field.targets.items() if name in names}
        self.seen = Seen.nothing(len(names), method.backbone.feature_width)
        self.sample_ids: list[str] = []
        self.tried: list[Example] = []
        self.patches_of_examples: list[Tensor] = []
        self.patches: list[Tensor] = []
        self.skipped: dict[str, str] = {}
        self.of_a_run = False  # whether the masks of enough examples to try strengths were made by words

    def study(self, sample: Any, label: fo.Segmentation, *, is_tried: bool) -> None:
        """Adds an example."""
        try:
            example = self._example(sample.filepath, label)
        except ImageError as error:
            self.skipped[sample.filepath] = str(error)
            return
        self.seen = self.seen.plus(Seen.of(example))
        self.sample_ids.append(sample.id)
        if len(self.patches_of_examples) < LEAST_IMAGES:  # enough to stand in for other images
            self.patches_of_examples.append(_thinned(example.features, _MOST_PATCHES // LEAST_IMAGES))
        if is_tried:
            self.tried.append(example)

    def watch(self, path: str, most: int) -> None:
        """Adds patches of an image without a mask."""
        try:
            _, parts = self._parts(path)
        except ImageError as error:
            self.skipped[path] = str(error)
        else:
            self.patches.append(_thinned(torch.cat([features.flatten(0, 1) for _, features in parts]), most))

    def learned(self, strength: Strength) -> ResCLIPModel:
        """Computes the correction."""
        method, vocabulary = self.method, self.method.vocabulary
        if not self.sample_ids and self.skipped:
            raise DatasetError(f"none of the examples can be used: {'; '.join([*self.skipped.values()][:3])}")
        teacher = Teacher(
            method.text_features.cpu(), torch.tensor(vocabulary.phrase_classes), method.config.logit_scale, self.seen,
            torch.cat(self.patches or self.patches_of_examples or [torch.zeros(1, method.backbone.feature_width)]),
        )  # fmt: skip
        chosen, scores = (strength, {}) if strength != "auto" else self._tried(teacher)
        taught = Taught(
            class_names=vocabulary.class_names,
            correction=teacher.correction(chosen),
            strength=chosen,
            scores=scores,
            examples=dict(zip(vocabulary.class_names, self.seen.examples.int().tolist(), strict=True)),
            sample_ids=tuple(self.sample_ids),
            unlabelled=len(self.patches),
            unknown=tuple(dict.fromkeys(n for n in self.field.targets.values() if n not in vocabulary.class_names)),
            skipped=self.skipped,
            weights=identity(method.backbone),
            settings=method.config.last_block,
        )
        return ResCLIPModel(ResCLIP(method.backbone, vocabulary, method.config, method.text_features, taught))

    def _tried(self, teacher: Teacher) -> tuple[float, dict[float, float]]:
        """Chooses a strength; returns it and what each strength scored, or nothing if none can be tried."""
        if len(self.sample_ids) < LEAST_TO_TRY or self.of_a_run:
            enough = len(self.sample_ids) + len(self.patches) >= LEAST_IMAGES
            return DEFAULT_STRENGTH * enough, {}
        return judged(teacher, self.tried)

    def _parts(self, path: str) -> tuple[tuple[int, int], list[tuple[Box, Tensor]]]:
        """Returns the size of an image, and features by window."""
        image, image_hw = read_network_image(path, self.method.config, self.method.backbone.patch_px)
        parts = self.method.features(image)
        if not all(bool(features.isfinite().all()) for _, features in parts):
            raise ImageError(f"the features of {path!r} must be finite numbers, but are not")
        return image_hw, parts

    def _example(self, path: str, label: fo.Segmentation) -> Example:
        mask = self.field.read(label)
        image_hw, parts = self._parts(path)
        if abs(mask.shape[0] * image_hw[1] / (mask.shape[1] * image_hw[0]) - 1) > _TOLERANCE:
            raise ImageError(f"the mask of {path!r} must have the proportions of its image {image_hw}, but is {mask.shape}")
        padded_hw = max(box.bottom for box, _ in parts), max(box.right for box, _ in parts)
        classes = resize(relabel(mask, self.class_of, len(self.seen.examples)), padded_hw)
        shares = [_shares(classes[box.rows, box.columns], features, len(self.seen.examples)) for box, features in parts]
        example = Example(torch.cat([features.flatten(0, 1) for _, features in parts]), torch.cat(shares))
        if not example.shares.any():
            raise ImageError(f"the mask of {path!r} must show a class of the model, but all is void or of other classes")
        return example


def _shares(classes: NDArray[np.integer], features: Tensor, n_classes: int) -> Tensor:
    """Returns the share of each class in each patch of a window, ``(P, C)``; zeros where most of a patch has no class."""
    rows, columns = features.shape[:2]
    height, width = classes.shape[0] // rows, classes.shape[1] // columns
    patches = classes[: rows * height, : columns * width].reshape(rows, height, columns, width)
    number = np.arange(rows)[:, None, None, None] * columns + np.arange(columns)[None, None, :, None]
    counts = np.bincount((number * (n_classes + 1) + patches).ravel(), minlength=rows * columns * (n_classes + 1))
    shares = torch.from_numpy(counts.reshape(-1, n_classes + 1) / (height * width)).float()
    return shares[:, :-1] * (shares[:, -1:] < 0.5)


def _thinned(features: Tensor, most: int) -> Tensor:
    return features[evenly(len(features), most)]


def evenly(count: int, most: int) -> list[int]:
    """Returns at most ``most`` positions below ``count``, evenly spaced."""
    if count <= most:
        return list(range(count))
    return [int((index + 0.5) * count / most) for index in range(most)]


def _others(samples: Any, examples: Any, unlabelled: Any) -> list[str]:
    """Returns the files of images that are not examples."""
    if not isinstance(unlabelled, int):
        return list(unlabelled.values("filepath"))
    dataset = dataset_of(samples)
    images = dataset if dataset.media_type == IMAGE else dataset.select_group_slices(media_type=IMAGE)
    paths = images.exclude(examples.values("id")).values("filepath")
    return [paths[place] for place in evenly(len(paths), unlabelled)]


def _made_by_words(examples: Any, label_field: str) -> bool:
    """Returns whether a labelling run made the masks, or those of most examples are copies of what a run made."""
    dataset = dataset_of(examples)
    if run_key(dataset, label_field) is not None:
        return True
    fields = [field for field in mask_fields(dataset) if run_key(dataset, field) is not None]
    if not fields:
        return False
    some = examples.limit(_MOST_JUDGED).select_fields([label_field, *fields])
    copies = [_is_copy(sample[label_field], [sample[field] for field in fields]) for sample in some]
    return 2 * sum(copies) > len(copies)


def _is_copy(label: fo.Segmentation, others: list[fo.Segmentation | None]) -> bool:
    try:
        mask = read_mask(label)
        return any(np.array_equal(mask, read_mask(other)) for other in others if other is not None)
    except ImageError:
        return False


def _check(samples: Any, unlabelled: Any, strength: Strength) -> None:
    for name, value in {"samples": samples, **({} if isinstance(unlabelled, int) else {"unlabelled": unlabelled})}.items():
        if checked_collection(value, name).media_type != IMAGE and len(value):
            raise DatasetError(
                f"{name} must be images, but are of type {value.media_type!r}; use select_group_slices() or to_frames()"
            )
    if isinstance(unlabelled, int) and (unlabelled < 0 or isinstance(unlabelled, bool)):
        raise ConfigError(f"unlabelled must be a number of images of at least 0, or a collection, but got {unlabelled!r}")
    number = isinstance(strength, (int, float)) and not isinstance(strength, bool)
    if strength != "auto" and not (number and 0 <= float(strength) < float("inf")):
        raise ConfigError(f"strength must be 'auto' or a number of at least 0, but got {strength!r}")
