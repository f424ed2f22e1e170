"""Compares phrases with ground truth: counts the pixels of each class that each phrase wins."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiftyone_resclip.errors import DatasetError, ImageError
from fiftyone_resclip.evaluation import metrics
from fiftyone_resclip.evaluation.matching import VOID, match_classes
from fiftyone_resclip.evaluation.void import AUTO, Ignored
from fiftyone_resclip.model import Picture, ResCLIPModel
from fiftyone_resclip.segmenter import ResCLIP


class Taken(NamedTuple):
    """The pixels of one class that a phrase won.

    Attributes:
        phrase: the phrase
        phrase_class: the class it stands for
        truth: the true class of the pixels
        pixels: number of pixels
        share: their share of all pixels of ``truth``, in [0, 1]
    """

    phrase: str
    phrase_class: str
    truth: str
    pixels: int
    share: float

    @property
    def right(self) -> bool:
        """Whether the phrase belongs to the true class of the pixels."""
        return self.phrase_class == self.truth


@dataclass(frozen=True)
class PhraseTable:
    """Numbers of pixels by true class and winning phrase.

    Attributes:
        truths: the ``C`` classes of the ground truth
        phrases: the ``Q`` phrases, each with its class
        pixels: number of pixels, ``(C, Q)``
        images: number of images
    """

    truths: tuple[str, ...]
    phrases: tuple[tuple[str, str], ...]
    pixels: NDArray[np.int64]
    images: int

    def taken(self) -> list[Taken]:
        """Lists how many pixels of each class each phrase won, most pixels first."""
        whole = self.pixels.sum(axis=1)
        rows = [
            Taken(phrase, phrase_class, truth, int(pixels), float(pixels / whole[row]))
            for row, truth in enumerate(self.truths)
            for (phrase, phrase_class), pixels in zip(self.phrases, self.pixels[row], strict=True)
            if pixels
        ]
        return sorted(rows, key=lambda taken: -taken.pixels)


def phrase_table(samples: Any, gt_field: str, model: ResCLIPModel, ignore_index: Ignored = AUTO) -> PhraseTable:
    """Segments images by phrase and counts how many pixels of each class each phrase wins.

    Args:
        samples: a FiftyOne dataset or view of images
        gt_field: the field with the true masks
        model: the model, with the phrases in its vocabulary; no threshold is applied, so that some phrase wins each pixel
        ignore_index ("auto"): void values of the ground truth, as in :func:`fiftyone_resclip.evaluate`

    Returns:
        the table; images are left out if they or their ground truth can't be read

    Raises:
        DatasetError: if the field can't be used, or no image can be read with its ground truth
    """
    match = match_classes(
        samples, gt_field, gt_field, ignore_index
    )  # matches the truth with itself to get its classes without the void values
    names, truth = match.class_names, match.truth_field
    method = model.segmenter
    vocabulary, every = method.vocabulary, replace(method.config, min_area=0.0)
    segmenter = ResCLIP(method.backbone, vocabulary, every, method.text_features)
    reader = model.build_get_item()
    pixels = np.zeros((len(names), len(vocabulary.flat_phrases)), dtype=np.int64)
    images = 0
    for sample in samples.select_fields(gt_field).iter_samples():
        picture, label = reader({"filepath": sample.filepath}), sample[gt_field]
        if not isinstance(picture, Picture) or label is None or not label.has_mask:
            continue
        try:
            mask = truth.read(label)
        except ImageError:
            continue
        won = segmenter.segment([picture.pixels], [(mask.shape[0], mask.shape[1])])[0].phrases.cpu().numpy()
        for value, phrase, count in zip(*(part.tolist() for part in metrics.value_pairs(mask, won)), strict=True):
            if (row := match.truth.get(value, VOID)) != VOID:
                pixels[row, phrase] += count
        images += 1
    if not images:
        raise DatasetError(f"no image with a readable mask in {gt_field!r}: there is nothing to compare the words with")
    classes = (vocabulary.class_names[index] for index in vocabulary.phrase_classes)
    return PhraseTable(names, tuple(zip(vocabulary.flat_phrases, classes, strict=True)), pixels, images)
