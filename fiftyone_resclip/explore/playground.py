"""Tries words on one image: shows labels, confidence, the winning phrase of each pixel, and what a patch attends to.

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
from fiftyone_resclip.errors import ImageError
from fiftyone_resclip.explore.patch_attention import AttentionRows, attention_rows
from fiftyone_resclip.model import PictureReader, Unreadable
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
    """The result of trying words on an image, at network size.

    Attributes:
        segmenter: the method with the words
        image: RGB, ``(3, H, W)`` uint8
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
        return (self.image.shape[1], self.image.shape[2])

    @cached_property
    def shares(self) -> list[ClassShare]:
        """The share of each class, largest first; classes without pixels are included."""
        vocabulary = self.segmenter.vocabulary
        flat = vocabulary.flat_phrases
        result = []
        for index, name in enumerate(vocabulary.class_names):
            inside = self.labels == index
            counts = np.bincount(self.phrases[inside], minlength=len(flat)) / inside.size
            confidence = float(self.confidence[inside].mean()) if inside.any() else 0.0
            phrases = {flat[q]: float(counts[q]) for q, owner in enumerate(vocabulary.phrase_classes) if owner == index}
            result.append(ClassShare(name, float(inside.mean()), confidence, phrases))
        return sorted(result, key=lambda row: -row.share)

    def attention_rows(self, point: tuple[float, float]) -> AttentionRows:
        """Returns what the patch at a point attends to; see :func:`fiftyone_resclip.explore.patch_attention.attention_rows`."""
        return attention_rows(self.segmenter, self.image, point)


class Playground:
    """Segments images with words, and caches the output of the trunk for each image.

    Args:
        backbone: the frozen CLIP
        config: the default settings
    """

    def __init__(self, backbone: Backbone, config: ResCLIPConfig) -> None:
        self.backbone, self.config = backbone, config
        self.trunks = CachedBackbone(backbone)
        self._images: LRUCache[_ImageKey, Tensor] = LRUCache(_IMAGES_KEPT)
        self._readings: LRUCache[tuple[_ImageKey, Vocabulary, ResCLIPConfig], Reading] = LRUCache(1)

    @torch.inference_mode()
    def read(self, path: str, vocabulary: Vocabulary, settings: Mapping[str, Any] | None = None) -> Reading:
        """Segments an image.

        Args:
            path: the image file
            vocabulary: the classes
            settings (None): the settings that differ from the defaults, by their names in ``ResCLIPConfig``

        Returns:
            the reading; :func:`fiftyone_resclip.label` computes the same labels

        Raises:
            ImageError: if the file can't be read or is too thin
            ConfigError: if a setting is unknown or out of range
        """
        config = self.config.varied(settings or {})
        image_key = _image_key(path, config)
        if image_key not in self._images:
            self._images[image_key] = self._pixels(path, config)
        key = (image_key, vocabulary, config)
        if key not in self._readings:
            self._readings[key] = self._read(self._images[image_key], vocabulary, config)
        return self._readings[key]

    def _read(self, image: Tensor, vocabulary: Vocabulary, config: ResCLIPConfig) -> Reading:
        features = text_features(self.backbone, vocabulary.flat_phrases)
        segmenter = ResCLIP(self.trunks, vocabulary, config, features)
        labels, confidence, phrases = (part.cpu().numpy() for part in segmenter.segment([image])[0])
        return Reading(segmenter, image, labels, confidence, phrases)

    def _pixels(self, path: str, config: ResCLIPConfig) -> Tensor:
        picture = PictureReader(config, self.backbone.patch_px)({"filepath": path})
        if isinstance(picture, Unreadable):
            raise ImageError(picture.reason)
        return picture.pixels


def _image_key(path: str, config: ResCLIPConfig) -> _ImageKey:
    try:
        return path, Path(path).stat().st_mtime, (config.short_side_px, config.max_long_side_px)
    except OSError as error:
        raise ImageError(f"{path!r} must be a readable image, but: {error}") from error
