"""ResCLIP itself: combines the settings, the frozen CLIP and the formulas. It works on tensors and does not use FiftyOne."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from fiftyone_resclip.clip.backbone import Backbone, Trunk
from fiftyone_resclip.clip.batching import Batches
from fiftyone_resclip.config import STRATEGIES, ResCLIPConfig
from fiftyone_resclip.core.attention import attention_map, locality_bias
from fiftyone_resclip.core.feedback import feedback_map
from fiftyone_resclip.core.kernels import attend, refined_scores, stitch
from fiftyone_resclip.core.labels import LabelMap, label_map
from fiftyone_resclip.core.residual import residual_map
from fiftyone_resclip.core.text import cosines
from fiftyone_resclip.core.windows import Box, ResizableScores, Scores, window_boxes
from fiftyone_resclip.errors import ConfigError, ShapeError
from fiftyone_resclip.vocabulary import Vocabulary


class _Crop(NamedTuple):
    image: int
    box: Box


class ResCLIP:
    """Segments images into the classes of a vocabulary, without training.

    Args:
        backbone: the frozen CLIP
        vocabulary: the classes
        config: the settings
        text_features (None): features of the vocabulary's phrases, ``(Q, D)``, L2-normalised; by default they are encoded here.
            ``load_model`` takes them from :mod:`fiftyone_resclip.clip.text_cache`

    Raises:
        ConfigError: if the backbone has too few blocks for the config, or a window is smaller than a patch
        ShapeError: if ``text_features`` does not have one row per phrase with the width of the backbone's features

    Source:
        Yang, Deng, Li, Duan: ResCLIP, CVPR 2025
    """

    def __init__(
        self, backbone: Backbone, vocabulary: Vocabulary, config: ResCLIPConfig, text_features: Tensor | None = None
    ) -> None:
        if config.rcs is not None:
            backbone.check_blocks(config.rcs.blocks)
        if config.window is not None and config.window.crop_px < backbone.patch_px:
            raise ConfigError(
                f"window.crop_px must be at least the patch size {backbone.patch_px}, but got {config.window.crop_px}"
            )
        features = backbone.encode_text(vocabulary.flat_phrases) if text_features is None else text_features
        expected = (len(vocabulary.flat_phrases), backbone.feature_width)
        if tuple(features.shape) != expected:
            raise ShapeError(f"text_features must be {expected}, but got {tuple(features.shape)}")
        self.backbone, self.vocabulary, self.config = backbone, vocabulary, config
        self.text_features = features.to(backbone.device)
        self._batches = Batches.on(backbone.device)

    @torch.inference_mode()
    def logits(self, pixels: Tensor, text_features: Tensor) -> Tensor:
        """Scores every patch against every phrase. This is the whole method.

        Args:
            pixels: normalised images of one size, ``(B, 3, H, W)``, finite
            text_features: L2-normalised, ``(Q, D)``

        Returns:
            cosines, ``(B, Q, h, w)`` float32

        Raises:
            ShapeError: if sizes do not fit the backbone
        """
        trunk = self.trunk(pixels)  # blocks 1 ... L - 1
        residual = residual_map(trunk.mean_attention, self.config.rcs)  # RCS
        draft = self.last_block(trunk, text_features, residual=residual)
        if self.config.sfr is None:
            return draft
        feedback = feedback_map(draft, pixels, self.backbone.patch_px, self.config.sfr, self.config.logit_scale)  # SFR
        return self.last_block(trunk, text_features, residual=residual, feedback=feedback)

    @torch.inference_mode()
    def trunk(self, pixels: Tensor) -> Trunk:
        """Runs the blocks before the last one, and keeps the attention that RCS needs.

        Args:
            pixels: normalised images of one size, ``(B, 3, H, W)``

        Returns:
            the input of :meth:`last_block`
        """
        with self._autocast():
            return self.backbone.trunk(pixels, self.config.rcs.blocks if self.config.rcs else ())

    @torch.inference_mode()
    def last_block(
        self, trunk: Trunk, text_features: Tensor, *, residual: Tensor | None = None, feedback: Tensor | None = None
    ) -> Tensor:
        """Runs the last block and compares its patches with the text.

        Args:
            trunk: from :meth:`trunk`
            text_features: L2-normalised, ``(Q, D)``
            residual (None): what RCS mixes into the attention, ``(B, heads, N, N)``
            feedback (None): what SFR mixes into the scores, ``(B, N, N)``

        Returns:
            cosines, ``(B, Q, h, w)`` float32
        """
        with self._autocast():
            gathered = attend(trunk.q, trunk.k, trunk.v, **self._attention_settings(trunk, residual, feedback))
            tokens = self.backbone.finish(trunk, gathered, residual_arch=self.config.residual_arch).float()
        return cosines(tokens, text_features, trunk.grid_hw)

    @torch.inference_mode()
    def attention(self, trunk: Trunk, *, residual: Tensor | None = None, feedback: Tensor | None = None) -> Tensor:
        """Returns the attention with which :meth:`last_block` gathers values.

        Args:
            trunk: from :meth:`trunk`
            residual (None): as for :meth:`last_block`
            feedback (None): as for :meth:`last_block`

        Returns:
            ``(B, heads, N, N)``
        """
        with self._autocast():
            return attention_map(trunk.q, trunk.k, **self._attention_settings(trunk, residual, feedback))

    def _attention_settings(self, trunk: Trunk, residual: Tensor | None, feedback: Tensor | None) -> dict[str, Any]:
        config, strategy = self.config, STRATEGIES[self.config.strategy]
        bias = locality_bias(trunk.grid_hw, config.locality_sigma, trunk.q.dtype, trunk.q.device) if strategy.locality else None
        rcs = None if residual is None else (config.rcs, residual)
        sfr = None if feedback is None else (config.sfr, feedback)
        return {"strategy": strategy, "bias": bias, "rcs": rcs, "sfr": sfr}

    def _autocast(self) -> torch.autocast:
        precision = self.config.precision
        return torch.autocast(self.backbone.device.type, getattr(torch, precision), enabled=precision != "float32")

    @torch.inference_mode()
    def segment(
        self, images: Sequence[Tensor], out_sizes: Sequence[tuple[int, int]] | None = None, *, whole_px: float = math.inf
    ) -> list[LabelMap]:
        """Segments images of any sizes; the results do not depend on how images are batched.

        Args:
            images: each ``(3, H, W)`` uint8, already at network size
            out_sizes (None): height and width of each result; by default the size of the image
            whole_px (inf): a result with more pixels than this is a summary: no phrases, and only the mean confidence

        Returns:
            one :class:`LabelMap` per image; labels index the vocabulary's classes

        Raises:
            ShapeError: if an image is not RGB uint8, or smaller than a patch
        """
        sizes = out_sizes or [(image.shape[1], image.shape[2]) for image in images]
        every = zip(self.image_scores(images), images, sizes, strict=True)
        return [
            self.label(self.resized(scores, image, out_hw), summary=math.prod(out_hw) > whole_px)
            for scores, image, out_hw in every
        ]

    @torch.inference_mode()
    def image_scores(self, images: Sequence[Tensor]) -> list[ResizableScores]:
        """Scores whole images. Windows of equal size share batches, even if they come from different images.

        Args:
            images: each ``(3, H, W)`` uint8

        Returns:
            cosines per image, at the image's size

        Raises:
            ShapeError: if an image is not RGB uint8, or smaller than a patch
        """
        for image in images:
            if image.ndim != 3 or image.shape[0] != 3 or image.dtype != torch.uint8:
                raise ShapeError(f"each image must be (3, H, W) uint8, but got {tuple(image.shape)} {image.dtype}")
        padded = [self._whole_patches(image) for image in images]
        crops = [
            _Crop(index, box)
            for index, image in enumerate(padded)
            for box in window_boxes((image.shape[1], image.shape[2]), self.config.window)
        ]
        logits = self._crop_logits(padded, crops)
        result: list[ResizableScores] = []
        for index, (image, whole) in enumerate(zip(images, padded, strict=True)):
            own = [number for number, crop in enumerate(crops) if crop.image == index]
            stitched = stitch([logits[n] for n in own], [crops[n].box for n in own], (whole.shape[1], whole.shape[2]))
            result.append(stitched.part(slice(None), slice(image.shape[1]), slice(image.shape[2])))
        return result

    def image_logits(self, images: Sequence[Tensor]) -> list[Tensor]:
        """Scores whole images as :meth:`image_scores` does; returns cosines per image, ``(Q, H, W)`` float32."""
        return [scores.whole() for scores in self.image_scores(images)]

    def _whole_patches(self, image: Tensor) -> Tensor:
        """Returns the image; with ``remainder="pad"`` its right and bottom edges are repeated up to a whole patch."""
        if self.config.remainder == "stretch":
            return image
        bottom, right = (-side % self.backbone.patch_px for side in image.shape[1:])
        return functional.pad(image[None].float(), (0, right, 0, bottom), mode="replicate")[0].to(image.dtype)

    def _crop_logits(self, images: Sequence[Tensor], crops: Sequence[_Crop]) -> dict[int, Tensor]:
        """Runs the method on all crops, in batches of crops of equal size; returns ``(Q, h, w)`` by crop number."""
        by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
        for number, (_, box) in enumerate(crops):
            by_size[(box.bottom - box.top, box.right - box.left)].append(number)
        scores: dict[int, Tensor] = {}

        def run(batch: Sequence[int]) -> Tensor:
            pixels = torch.stack([images[crops[n].image][:, crops[n].box.rows, crops[n].box.columns] for n in batch])
            return self.logits(self.backbone.normalise(pixels), self.text_features)

        for crop_hw, numbers in by_size.items():
            for batch, logits in self._batches.results(numbers, crop_hw, run):
                scores.update(zip(batch, logits, strict=True))
        return scores

    @torch.inference_mode()
    def resized(self, scores: ResizableScores, image: Tensor, out_hw: tuple[int, int]) -> Scores:
        """Resizes scores to the output size, and then applies the final PAMR if the config has one.

        Args:
            scores: cosines of one image
            image: that image, ``(3, H, W)`` uint8
            out_hw: height and width of the result

        Returns:
            cosines at ``out_hw``
        """
        setting = self.config.pamr
        if setting is None:
            return scores.resized(out_hw)
        return refined_scores(scores, self.backbone.normalise(image[None])[0], out_hw, setting)

    def label(self, scores: Scores, *, summary: bool = False) -> LabelMap:
        """Computes the label, confidence and winning phrase of each pixel.

        Args:
            scores: cosines at the size of the result
            summary (False): whether to compute only the labels and the mean confidence

        Returns:
            the label map
        """
        return label_map(
            scores,
            self.vocabulary.phrase_classes,
            logit_scale=self.config.logit_scale,
            threshold=self.config.prob_threshold,
            fallback=self.vocabulary.fallback,
            min_area=self.config.min_area,
            summary=summary,
        )
