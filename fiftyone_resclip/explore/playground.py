"""Tries words on one image: labels, confidence and winning phrase of each pixel as labelling finds them, and attention.

The image goes through the trunk only once, even if the words, thresholds or mixes change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from cachetools import LRUCache
from numpy.typing import NDArray
from torch import Tensor

from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.clip.text_cache import text_features
from fiftyone_resclip.clip.trunk_cache import CachedBackbone
from fiftyone_resclip.config import ResCLIPConfig
from fiftyone_resclip.core.teaching import Taught
from fiftyone_resclip.errors import ImageError
from fiftyone_resclip.explore.patch_attention import AttentionRows, attention_rows
from fiftyone_resclip.fields.images import read_network_image
from fiftyone_resclip.segmenter import ResCLIP
from fiftyone_resclip.vocabulary import Vocabulary

#: An image file at one network size: its path, modification time, and the sizes from the config.
_ImageKey: TypeAlias = tuple[str, float, tuple[int, int]]

_IMAGES_KEPT = 16


class ClassShare(NamedTuple):
    """The share of an image that a class won.

    Attributes:
        name: name of the class
        share: share of the image's pixels, in [0, 1]
        confidence: mean probability over those pixels, in [0, 1]; 0 if there are none
        phrases: share of the image's pixels by phrase
    """

    name: str
    share: float
    confidence: float
    phrases: dict[str, float]


@dataclass(frozen=True)
class Reading:
    """The result of trying words on an image, at the image's own size.

    Attributes:
        segmenter: the method with the words
        image: RGB at network size, ``(3, h, w)`` uint8
        labels: class index per pixel, -1 where there is no class, ``(H, W)``
        confidence: probability of the most likely class, ``(H, W)`` in [0, 1]
        phrases: index of the most likely phrase, ``(H, W)``
    """

    segmenter: ResCLIP
    image: Tensor
    labels: NDArray[np.int16]
    confidence: NDArray[np.float32]
    phrases: NDArray[np.int16]

    @property
    def image_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return (self.labels.shape[0], self.labels.shape[1])

    @cached_property
    def shares(self) -> list[ClassShare]:
        """The share of each class, largest first; classes without pixels are included."""
        vocabulary, total = self.segmenter.vocabulary, self.labels.size
        owners, labels = np.array(vocabulary.phrase_classes), self.labels.ravel()
        pixels = np.bincount(labels + 1, minlength=len(vocabulary.class_names) + 1)[1:]
        certainty = np.bincount(labels + 1, self.confidence.ravel(), minlength=len(vocabulary.class_names) + 1)[1:]
        phrases = self.phrases.ravel()
        won = np.bincount(phrases[owners[phrases] == labels], minlength=len(owners)) / total
        result = [
            ClassShare(
                name,
                float(pixels[index] / total),
                float(certainty[index] / max(pixels[index], 1)),
                {vocabulary.flat_phrases[q]: float(won[q]) for q in np.flatnonzero(owners == index)},
            )
            for index, name in enumerate(vocabulary.class_names)
        ]
        return sorted(result, key=lambda row: -row.share)

    def attention_rows(self, point: tuple[float, float]) -> AttentionRows:
        """Returns what the patch at a point attends to.

        Args:
            point: row and column as shares of height and width, in [0, 1]

        Returns:
            as :func:`fiftyone_resclip.explore.patch_attention.attention_rows`, in pixels of :attr:`image`
        """
        return attention_rows(self.segmenter, self.image, (point[0] * self.image.shape[1], point[1] * self.image.shape[2]))


class Playground:
    """Segments images with words, and caches the output of the trunk for each image.

    Args:
        backbone: the frozen CLIP
        config: the default settings
    """

    def __init__(self, backbone: Backbone, config: ResCLIPConfig) -> None:
        self.backbone, self.config = backbone, config
        self.trunks = CachedBackbone(backbone)
        self._images: LRUCache[_ImageKey, tuple[Tensor, tuple[int, int]]] = LRUCache(_IMAGES_KEPT)
        self._readings: LRUCache[tuple[_ImageKey, Vocabulary, ResCLIPConfig, str | None], Reading] = LRUCache(1)

    @torch.inference_mode()
    def read(
        self, path: str, vocabulary: Vocabulary, settings: Mapping[str, Any] | None = None, taught: Taught | None = None
    ) -> Reading:
        """Segments an image.

        Args:
            path: the image file
            vocabulary: the classes
            settings (None): the settings that differ from the defaults, by their names in ``ResCLIPConfig``
            taught (None): what examples taught

        Returns:
            the reading; :func:`fiftyone_resclip.label` makes the same mask

        Raises:
            ImageError: if the file can't be read or is too thin
            ConfigError: if a setting is unknown or out of range, or examples taught another model
        """
        config = self.config.varied(settings or {})
        image_key = _image_key(path, config)
        if image_key not in self._images:
            self._images[image_key] = read_network_image(path, config, self.backbone.patch_px)
        key = (image_key, vocabulary, config, None if taught is None else taught.digest)
        if key not in self._readings:
            features = text_features(self.backbone, vocabulary.flat_phrases)
            segmenter = ResCLIP(self.trunks, vocabulary, config, features, taught)
            self._readings[key] = self._read(*self._images[image_key], segmenter)
        return self._readings[key]

    def _read(self, image: Tensor, image_hw: tuple[int, int], segmenter: ResCLIP) -> Reading:
        labels, confidence, phrases = (part.cpu().numpy() for part in segmenter.segment([image], [image_hw])[0])
        return Reading(segmenter, image, labels, confidence, phrases)


def _image_key(path: str, config: ResCLIPConfig) -> _ImageKey:
    try:
        return path, Path(path).stat().st_mtime, (config.short_side_px, config.max_long_side_px)
    except OSError as error:
        raise ImageError(f"{path!r} must be a readable image, but: {error}") from error
