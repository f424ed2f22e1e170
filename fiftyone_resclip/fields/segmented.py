"""The result of segmenting one image without a dataset, as arrays."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from fiftyone_resclip.core.probabilities import class_probabilities
from fiftyone_resclip.core.windows import Scores
from fiftyone_resclip.errors import VocabularyError, unknown
from fiftyone_resclip.fields import masks
from fiftyone_resclip.segmenter import ResCLIP


@dataclass(frozen=True)
class Segmented:
    """What ``model.segment`` found in one image.

    Attributes:
        mask: 0 for unlabelled, ``i`` for ``class_names[i - 1]``, ``(H, W)`` uint8; uint16 with more than 255 classes
        confidence: probability of the likeliest class, ``(H, W)`` float32 in [0, 1]
        class_names: the classes, in order
    """

    mask: NDArray[np.integer]
    confidence: NDArray[np.float32]
    class_names: tuple[str, ...]
    _segmenter: ResCLIP = field(repr=False, compare=False)
    _scores: Scores = field(repr=False, compare=False)

    @classmethod
    def of(cls, segmenter: ResCLIP, scores: Scores) -> Segmented:
        """Makes the result from the scores of an image.

        Args:
            segmenter: ResCLIP with its classes
            scores: cosines at the size of the result
        """
        found, names = segmenter.label(scores), segmenter.vocabulary.class_names
        return cls(masks.to_mask(found.labels, len(names)), found.confidence.cpu().numpy(), names, segmenter, scores)

    def __repr__(self) -> str:
        height, width = self.mask.shape
        return f"Segmented({height}x{width}, mean confidence {self.confidence.mean():.3f}, {self._shares()})"

    @torch.inference_mode()
    def probabilities(self, *class_names: str) -> NDArray[np.float32]:
        """Computes how likely classes are in each pixel.

        Args:
            *class_names: ``n`` of the classes; by default all. The result takes 4 bytes for each of them and each pixel, such as
                480 MB for 60 classes at two megapixels

        Returns:
            ``(n, H, W)`` float32 in [0, 1], before any threshold or minimum area. A class is as likely as its likeliest phrase,
            so with synonyms a pixel's probabilities add up to less than 1

        Raises:
            VocabularyError: if the model has no such class
        """
        for name in class_names:
            if name not in self.class_names:
                raise VocabularyError(unknown("class", name, self.class_names))
        wanted = [self.class_names.index(name) for name in class_names or self.class_names]
        classes, scale = self._segmenter.vocabulary.phrase_classes, self._segmenter.config.logit_scale
        found: NDArray[np.float32] = class_probabilities(self._scores, classes, wanted, logit_scale=scale).numpy()
        return found

    def _shares(self) -> str:
        """Lists the classes in the mask with their share of it, the largest first."""
        counts = np.bincount(self.mask.ravel(), minlength=len(self.class_names) + 1)
        names = ("unlabelled", *self.class_names)
        return ", ".join(f"{names[value]} {counts[value] / self.mask.size:.1%}" for value in np.argsort(-counts) if counts[value])
