"""Compares phrases with ground truth: counts the pixels of each class that each phrase wins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiftyone_resclip.errors import DatasetError, ImageError
from fiftyone_resclip.evaluation import metrics
from fiftyone_resclip.evaluation.matching import VOID, background_of, match_classes
from fiftyone_resclip.evaluation.void import AUTO, Ignored
from fiftyone_resclip.fields.readers import Picture
from fiftyone_resclip.model import ResCLIPModel
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

    def taken_by_background(self) -> dict[str, list[Taken]]:
        """Lists for each other class what the words of the background took from it, the class that lost the most first."""
        background = background_of(name for _, name in self.phrases)
        lost: dict[str, list[Taken]] = {}
        for taken in self.taken():
            if taken.phrase_class == background and not taken.right:
                lost.setdefault(taken.truth, []).append(taken)
        return dict(sorted(lost.items(), key=lambda item: -sum(taken.share for taken in item[1])))


def iter_phrase_table(samples: Any, gt_field: str, model: ResCLIPModel, ignore_index: Ignored = AUTO) -> Iterator[PhraseTable]:
    """Segments images by phrase and counts how many pixels of each class each phrase wins.

    Args:
        samples: a FiftyOne dataset or view of images
        gt_field: the field with the true masks
        model: the model, with the phrases in its vocabulary and what examples taught it; no threshold is applied, so that some
            phrase wins each pixel
        ignore_index ("auto"): void values of the ground truth, as in :func:`fiftyone_resclip.evaluate`

    Yields:
        the table so far, after each image; images are left out if they or their ground truth can't be read

    Raises:
        DatasetError: if the field can't be used, or no image can be read with its ground truth
    """
    match = match_classes(
        samples, gt_field, gt_field, ignore_index
    )  # matches the truth with itself to get its classes without the void values
    names, truth = match.class_names, match.truth_field
    method = model.segmenter
    vocabulary, every = method.vocabulary, replace(method.config, min_area=0.0)
    segmenter = ResCLIP(method.backbone, vocabulary, every, method.text_features, method.taught)
    reader = model.build_get_item()
    pixels = np.zeros((len(names), len(vocabulary.flat_phrases)), dtype=np.int64)
    classes = (vocabulary.class_names[index] for index in vocabulary.phrase_classes)
    table = PhraseTable(names, tuple(zip(vocabulary.flat_phrases, classes, strict=True)), pixels, 0)
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
        table = replace(table, images=table.images + 1)
        yield table
    if not table.images:
        raise DatasetError(f"no image with a readable mask in {gt_field!r}: there is nothing to compare the words with")
