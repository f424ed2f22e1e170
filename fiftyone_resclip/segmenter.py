"""ResCLIP itself: config, backbone and core put together. Tensors in, predictions out; no files, no FiftyOne."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from fiftyone_resclip.clip.backbone import Backbone, Trunk
from fiftyone_resclip.clip.batching import Batches
from fiftyone_resclip.clip.text_cache import text_features as cached_text_features
from fiftyone_resclip.config import STRATEGIES, ResCLIPConfig
from fiftyone_resclip.core import pamr
from fiftyone_resclip.core.attention import attend, locality_bias
from fiftyone_resclip.core.feedback import feedback_map
from fiftyone_resclip.core.labels import LabelMap, label_map
from fiftyone_resclip.core.text import cosines
from fiftyone_resclip.core.windows import Box, Mosaic, stitch, upsample, window_boxes
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
        text_features (None): the vocabulary's phrases as L2-normalised ``(Q, D)``; by default encoded
            once, and kept on disk
        trunk (None): what runs the trunk, such as a a ``TrunkMemory``; by default ``backbone.trunk``

    Raises:
        ConfigError: if the config asks for blocks or windows that the backbone does not have
        ShapeError: if ``text_features`` does not hold one row per phrase, as wide as the backbone's features

    Source:
        Yang, Deng, Li, Duan: ResCLIP, CVPR 2025
    """

    def __init__(
        self,
        backbone: Backbone,
        vocabulary: Vocabulary,
        config: ResCLIPConfig,
        text_features: Tensor | None = None,
        trunk: Callable[[Tensor, Sequence[int]], Trunk] | None = None,
    ) -> None:
        if config.rcs is not None:
            backbone.check_blocks(config.rcs.blocks)
        if config.window is not None and config.window.crop_px < backbone.patch_px:
            raise ConfigError(
                f"window.crop_px must be at least the patch size {backbone.patch_px}, but got {config.window.crop_px}"
            )
        self.backbone = backbone
        self.vocabulary = vocabulary
        self.config = config
        self._trunk = trunk
        self._batches = Batches.on(backbone.device)
        phrases = vocabulary.flat_phrases
        features = cached_text_features(backbone, phrases) if text_features is None else text_features
        self.text_features = features.to(backbone.device)
        if tuple(self.text_features.shape) != (len(phrases), backbone.feature_width):
            raise ShapeError(
                f"text_features must be ({len(phrases)}, {backbone.feature_width}), but got {tuple(self.text_features.shape)}"
            )

    @torch.inference_mode()
    def logits(self, pixels: Tensor, text_features: Tensor) -> Tensor:
        """Scores every patch against every phrase.

        Args:
            pixels: normalised images of one size, ``(B, 3, H, W)``
            text_features: L2-normalised, ``(Q, D)``

        Returns:
            cosines, ``(B, Q, h, w)`` float32

        Raises:
            ShapeError: if sizes do not fit the backbone, or pixels are not finite
        """
        if text_features.ndim != 2 or text_features.shape[1] != self.backbone.feature_width:
            raise ShapeError(f"text_features must be (Q, {self.backbone.feature_width}), but got {tuple(text_features.shape)}")
        if not bool(pixels.isfinite().all()):
            raise ShapeError("pixels must be finite numbers, but some are NaN or infinite")
        return self._logits(pixels, text_features)

    def _logits(self, pixels: Tensor, text_features: Tensor) -> Tensor:
        """:meth:`logits` for input that is known to be right: no look at its values, so a GPU need not be waited for."""
        trunk, sfr = self.trunk(pixels), self.config.sfr
        draft = cosines(self.last_block(trunk), text_features, trunk.grid_hw)
        if sfr is None:
            return draft
        feedback = feedback_map(draft, pixels, self.backbone.patch_px, sfr, self.config.logit_scale)
        return cosines(self.last_block(trunk, feedback), text_features, trunk.grid_hw)

    @torch.inference_mode()
    def trunk(self, pixels: Tensor) -> Trunk:
        """Runs the blocks before the last one, as the settings ask for them.

        Args:
            pixels: normalised images of one size, ``(B, 3, H, W)``

        Returns:
            what :meth:`last_block` needs
        """
        with self._autocast():
            run = self._trunk or self.backbone.trunk
            return run(pixels, self.config.rcs.blocks if self.config.rcs else ())

    @torch.inference_mode()
    def last_block(self, trunk: Trunk, feedback: Tensor | None = None) -> Tensor:
        """Runs the last block: base strategy, RCS, and SFR where there is feedback.

        Args:
            trunk: from the backbone
            feedback (None): SFR's matrix, ``(B, N, N)``

        Returns:
            projected tokens, ``(B, N, D)``, class token first, not normalised
        """
        with self._autocast():
            gathered = self._attend(trunk, trunk.v, feedback)
            return self.backbone.finish(trunk, gathered, residual_arch=self.config.residual_arch).float()

    @torch.inference_mode()
    def attention(self, trunk: Trunk, feedback: Tensor | None = None) -> Tensor:
        """Gives the attention of the last block: base strategy, RCS, and SFR where there is feedback.

        Args:
            trunk: from the backbone
            feedback (None): SFR's matrix, ``(B, N, N)``

        Returns:
            ``(B, heads, N, N)``
        """
        tokens = trunk.q.shape[2]
        identity = torch.eye(tokens, dtype=trunk.v.dtype, device=trunk.v.device)
        return self._attend(trunk, identity.expand(*trunk.v.shape[:2], tokens, tokens), feedback)

    def _attend(self, trunk: Trunk, v: Tensor, feedback: Tensor | None) -> Tensor:
        """Values ``v`` gathered by the attention of the last block, ``(B, heads, N, d)``."""
        config, strategy = self.config, STRATEGIES[self.config.strategy]
        bias = locality_bias(trunk.grid_hw, config.locality_sigma, trunk.q.dtype, trunk.q.device) if strategy.locality else None
        rcs = (config.rcs, trunk.attention_map) if config.rcs and trunk.attention_map is not None else None
        sfr = (config.sfr, feedback) if config.sfr and feedback is not None else None
        with self._autocast():
            return attend(trunk.q, trunk.k, v, strategy, bias=bias, rcs=rcs, sfr=sfr)

    def _autocast(self) -> torch.autocast:
        precision = self.config.precision
        return torch.autocast(self.backbone.device.type, getattr(torch, precision), enabled=precision != "float32")

    @torch.inference_mode()
    def segment(self, images: Sequence[Tensor], out_sizes: Sequence[tuple[int, int]] | None = None) -> list[LabelMap]:
        """Segments images of any sizes; a batch gives what single images give.

        Args:
            images: each ``(3, H, W)`` uint8, already at network size
            out_sizes (None): height and width of each result; by default that of its image

        Returns:
            one :class:`LabelMap` per image; labels index the vocabulary's classes

        Raises:
            ShapeError: if an image is not RGB uint8, or smaller than a patch
        """
        for image in images:
            if image.ndim != 3 or image.shape[0] != 3 or image.dtype != torch.uint8:
                raise ShapeError(f"each image must be (3, H, W) uint8, but got {tuple(image.shape)} {image.dtype}")
        sizes = out_sizes or [(image.shape[1], image.shape[2]) for image in images]
        return [
            self._label(scores, image, size) for scores, image, size in zip(self._mosaics(images), images, sizes, strict=True)
        ]

    @torch.inference_mode()
    def image_logits(self, images: Sequence[Tensor]) -> list[Tensor]:
        """Scores whole images.

        Args:
            images: each ``(3, H, W)`` uint8

        Returns:
            cosines per image, ``(Q, H, W)`` float32
        """
        return [scores.whole() for scores in self._mosaics(images)]

    def _mosaics(self, images: Sequence[Tensor]) -> list[Mosaic]:
        """Scores whole images: windows of equal size share batches, whichever image they come from."""
        padded = [self._whole_patches(image) for image in images]
        crops = [
            _Crop(index, box)
            for index, image in enumerate(padded)
            for box in window_boxes((image.shape[1], image.shape[2]), self.config.window)
        ]
        scores = self._crop_logits(padded, crops)
        result = []
        for index, (image, whole) in enumerate(zip(images, padded, strict=True)):
            own = [number for number, crop in enumerate(crops) if crop.image == index]
            stitched = stitch([scores[n] for n in own], [crops[n].box for n in own], (whole.shape[1], whole.shape[2]))
            result.append(stitched.cropped((image.shape[1], image.shape[2])))
        return result

    def _whole_patches(self, image: Tensor) -> Tensor:
        """The image as it is or, if so configured, with its right and bottom edge repeated up to a whole patch."""
        if self.config.remainder == "stretch":
            return image
        bottom, right = (-side % self.backbone.patch_px for side in image.shape[1:])
        return functional.pad(image[None].float(), (0, right, 0, bottom), mode="replicate")[0].to(image.dtype)

    def _crop_logits(self, images: Sequence[Tensor], crops: Sequence[_Crop]) -> dict[int, Tensor]:
        """Runs the network over all crops in batches of equal size; ``(Q, h, w)`` by the crop's number."""
        by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
        for number, (_, box) in enumerate(crops):
            by_size[(box.bottom - box.top, box.right - box.left)].append(number)
        scores: dict[int, Tensor] = {}

        def run(batch: Sequence[int]) -> Tensor:
            pixels = torch.stack([images[crops[n].image][:, crops[n].box.rows, crops[n].box.columns] for n in batch])
            return self._logits(self.backbone.normalise(pixels), self.text_features)

        for crop_hw, numbers in by_size.items():
            for batch, logits in self._batches.results(numbers, crop_hw, run):
                scores.update(zip(batch, logits, strict=True))
        return scores

    @torch.inference_mode()
    def refined(self, scores: Tensor, image: Tensor, out_hw: tuple[int, int]) -> Tensor:
        """Applies the final PAMR, if the config has one, at the result's size.

        Args:
            scores: cosines of one image, ``(Q, H, W)``
            image: that image, ``(3, H, W)`` uint8
            out_hw: height and width of the result

        Returns:
            ``(Q, *out_hw)`` with PAMR; ``scores`` without
        """
        setting = self.config.pamr
        if setting is None:
            return scores
        guide = upsample(self.backbone.normalise(image[None]), out_hw)
        return pamr.refine(upsample(scores[None], out_hw), guide, steps=setting.steps, dilations=setting.dilations)[0]

    def _label(self, scores: Mosaic, image: Tensor, out_hw: tuple[int, int]) -> LabelMap:
        return label_map(
            Mosaic.of(self.refined(scores.whole(), image, out_hw)) if self.config.pamr else scores.resized(out_hw),
            self.vocabulary.phrase_classes,
            logit_scale=self.config.logit_scale,
            threshold=self.config.prob_threshold,
            fallback=self.vocabulary.fallback,
            min_area=self.config.min_area,
        )
