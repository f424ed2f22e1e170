"""ResCLIP itself: combines the settings, the frozen CLIP and the formulas. It works on tensors and does not use FiftyOne."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from fiftyone_resclip.clip.backbone import Backbone, Trunk
from fiftyone_resclip.clip.batching import Batches
from fiftyone_resclip.clip.identity import identity
from fiftyone_resclip.config import STRATEGIES, ResCLIPConfig
from fiftyone_resclip.core.attention import attention_map, locality_bias
from fiftyone_resclip.core.feedback import feedback_map
from fiftyone_resclip.core.kernels import attend, refined_scores, stitch, winners
from fiftyone_resclip.core.labels import LabelMap, label_map
from fiftyone_resclip.core.residual import residual_map
from fiftyone_resclip.core.teaching import Taught
from fiftyone_resclip.core.text import NEVER, Words, cosines, normalised_patches
from fiftyone_resclip.core.voting import Regions, painted, vote
from fiftyone_resclip.core.windows import Box, ResizableScores, Scores, window_boxes
from fiftyone_resclip.errors import ConfigError, ShapeError
from fiftyone_resclip.vocabulary import Vocabulary


class ImageEvidence(NamedTuple):
    """What is known about one image, apart from the words.

    Attributes:
        present: whether each class may be in the image, ``(C,)`` bool; ``None`` if nothing is known
        regions: outlines of unknown class, at the size of the result; ``None`` if there are none
    """

    present: Tensor | None = None
    regions: Regions | None = None


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
        taught (None): what examples add to the scores of each class; see :func:`fiftyone_resclip.learn`

    Raises:
        ConfigError: if the backbone has too few blocks for the config, a window is smaller than a patch, or ``taught`` comes from
            other weights or other settings of the last block
        ShapeError: if ``text_features`` does not have one row per phrase with the width of the backbone's features

    Source:
        Yang, Deng, Li, Duan: ResCLIP, CVPR 2025
    """

    def __init__(
        self,
        backbone: Backbone,
        vocabulary: Vocabulary,
        config: ResCLIPConfig,
        text_features: Tensor | None = None,
        taught: Taught | None = None,
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
        self.taught = taught
        self.words = self.text_features if taught is None else self._corrected(taught)
        self._batches = Batches.on(backbone.device)

    def _corrected(self, taught: Taught) -> Words:
        """Adds what examples taught to the words."""
        taught.check(self.config.last_block, identity(self.backbone))
        if not set(taught.class_names) & set(self.vocabulary.class_names):
            raise ConfigError(
                f"examples taught {', '.join(taught.class_names)}, but none of these is a class here; leave out the lesson"
            )
        rows = list(self.vocabulary.phrase_classes)
        weights, bias = (part[rows].to(self.backbone.device) for part in taught.for_classes(self.vocabulary.class_names))
        return Words(self.text_features + weights, bias)

    @torch.inference_mode()
    def logits(self, pixels: Tensor, text_features: Tensor | Words) -> Tensor:
        """Scores every patch against every phrase. This is the whole method.

        Args:
            pixels: normalised images of one size, ``(B, 3, H, W)``, finite
            text_features: L2-normalised, ``(Q, D)``, or :class:`~fiftyone_resclip.core.text.Words`

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
        self, trunk: Trunk, text_features: Tensor | Words, *, residual: Tensor | None = None, feedback: Tensor | None = None
    ) -> Tensor:
        """Runs the last block and compares its patches with the text.

        Args:
            trunk: from :meth:`trunk`
            text_features: as for :meth:`logits`
            residual (None): what RCS mixes into the attention, ``(B, heads, N, N)``
            feedback (None): what SFR mixes into the scores, ``(B, N, N)``

        Returns:
            cosines, ``(B, Q, h, w)`` float32
        """
        return cosines(self.tokens(trunk, residual=residual, feedback=feedback), text_features, trunk.grid_hw)

    @torch.inference_mode()
    def tokens(self, trunk: Trunk, *, residual: Tensor | None = None, feedback: Tensor | None = None) -> Tensor:
        """Runs the last block.

        Args:
            trunk: from :meth:`trunk`
            residual (None): as for :meth:`last_block`
            feedback (None): as for :meth:`last_block`

        Returns:
            projected tokens, ``(B, N, D)`` float32, class token first, not normalised
        """
        with self._autocast():
            gathered = attend(trunk.q, trunk.k, trunk.v, **self._attention_settings(trunk, residual, feedback))
            return self.backbone.finish(trunk, gathered, residual_arch=self.config.residual_arch).float()

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
        self,
        images: Sequence[Tensor],
        out_sizes: Sequence[tuple[int, int]] | None = None,
        *,
        mean_only: bool = False,
        evidence: Sequence[ImageEvidence] | None = None,
    ) -> list[LabelMap]:
        """Segments images of any sizes; the results do not depend on how images are batched.

        Args:
            images: each ``(3, H, W)`` uint8, already at network size
            out_sizes (None): height and width of each result; by default the size of the image
            mean_only (False): whether to compute only what a mask needs, the labels and their mean confidence, which is faster
                and takes a quarter of the memory; a result with regions is always whole
            evidence (None): what is known about each image

        Returns:
            one :class:`LabelMap` per image; labels index the vocabulary's classes

        Raises:
            ShapeError: if an image is not RGB uint8, or smaller than a patch
        """
        sizes = out_sizes or [(image.shape[1], image.shape[2]) for image in images]
        known = evidence or [ImageEvidence()] * len(images)
        every = zip(self.image_scores(images, [each.present for each in known]), images, sizes, known, strict=True)
        return [
            self.label(self.resized(scores, image, out_hw), mean_only=mean_only, regions=regions)
            for scores, image, out_hw, (_, regions) in every
        ]

    @torch.inference_mode()
    def image_scores(self, images: Sequence[Tensor], present: Sequence[Tensor | None] | None = None) -> list[ResizableScores]:
        """Scores whole images. Windows of equal size share batches, even if they come from different images.

        Args:
            images: each ``(3, H, W)`` uint8
            present (None): for each image whether each class may be in it, ``(C,)`` bool, or ``None``

        Returns:
            cosines per image, at the image's size

        Raises:
            ShapeError: if an image is not RGB uint8, or smaller than a patch
        """
        padded, crops = self._crops(images)
        words = [self._words_of(classes) for classes in present or [None] * len(images)]

        def run(pixels: Tensor, batch: Sequence[_Crop]) -> Tensor:
            return self.logits(pixels, _together([words[crop.image] for crop in batch]))

        logits = self._of_crops(padded, crops, run)
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

    @torch.inference_mode()
    def features(self, image: Tensor) -> list[tuple[Box, Tensor]]:
        """Computes the patches of the draft, which do not depend on the words.

        Args:
            image: ``(3, H, W)`` uint8, at network size

        Returns:
            each window in pixels, and the L2-normalised features of its patches, ``(h, w, D)`` float32 on the CPU

        Raises:
            ShapeError: as for :meth:`image_scores`
        """

        def run(pixels: Tensor, _: Sequence[_Crop]) -> Tensor:
            trunk = self.trunk(pixels)
            tokens = self.tokens(trunk, residual=residual_map(trunk.mean_attention, self.config.rcs))
            patches: Tensor = normalised_patches(tokens).unflatten(1, trunk.grid_hw)
            return patches

        padded, crops = self._crops([image])
        found = self._of_crops(padded, crops, run)
        return [(crop.box, found[number].cpu()) for number, crop in enumerate(crops)]

    def _crops(self, images: Sequence[Tensor]) -> tuple[list[Tensor], list[_Crop]]:
        """Returns the images in whole patches, and all their windows."""
        for image in images:
            if image.ndim != 3 or image.shape[0] != 3 or image.dtype != torch.uint8:
                raise ShapeError(f"each image must be (3, H, W) uint8, but got {tuple(image.shape)} {image.dtype}")
        padded = [self._whole_patches(image) for image in images]
        return padded, [
            _Crop(index, box)
            for index, image in enumerate(padded)
            for box in window_boxes((image.shape[1], image.shape[2]), self.config.window)
        ]

    def _of_crops(
        self, images: Sequence[Tensor], crops: Sequence[_Crop], run: Callable[[Tensor, Sequence[_Crop]], Tensor]
    ) -> dict[int, Tensor]:
        """Runs something on all crops, in batches of crops of equal size; returns its results by crop number."""
        by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
        for number, (_, box) in enumerate(crops):
            by_size[(box.bottom - box.top, box.right - box.left)].append(number)
        results: dict[int, Tensor] = {}

        def run_batch(numbers: Sequence[int]) -> Tensor:
            batch = [crops[number] for number in numbers]
            pixels = torch.stack([images[image][:, box.rows, box.columns] for image, box in batch])
            return run(self.backbone.normalise(pixels), batch)

        for crop_hw, numbers in by_size.items():
            for batch, outcomes in self._batches.results(numbers, crop_hw, run_batch):
                results.update(zip(batch, outcomes, strict=True))
        return results

    def _words_of(self, present: Tensor | None) -> Tensor | Words:
        """Returns the words for an image in which only some classes may be."""
        if present is None:
            return self.words
        features, bias = self.words if isinstance(self.words, Words) else (self.words, self.words.new_zeros(len(self.words)))
        absent = ~present.to(bias.device)[list(self.vocabulary.phrase_classes)]
        return Words(features, bias.masked_fill(absent, NEVER))

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

    def label(self, scores: Scores, *, mean_only: bool = False, regions: Regions | None = None) -> LabelMap:
        """Computes the label, confidence and winning phrase of each pixel.

        Args:
            scores: cosines at the size of the result
            mean_only (False): whether to compute only the labels and the mean confidence; not with regions
            regions (None): regions that vote, at the size of the result

        Returns:
            the label map
        """
        classes, config = self.vocabulary.phrase_classes, self.config
        deciding: dict[str, Any] = {
            "logit_scale": config.logit_scale, "threshold": config.prob_threshold, "fallback": self.vocabulary.fallback
        }  # fmt: skip
        mean_only = mean_only and regions is None
        found = label_map(scores, classes, min_area=config.min_area, mean_only=mean_only, find=winners, **deciding)
        return found if regions is None else painted(found, vote(scores, classes, regions, **deciding), regions)


def _together(words: Sequence[Tensor | Words]) -> Tensor | Words:
    """Joins the words of the images of a batch, which differ at most in their bias."""
    if len({id(each) for each in words}) == 1:
        return words[0]
    features = next(each.features for each in words if isinstance(each, Words))
    none = features.new_zeros(len(features))
    return Words(features, torch.stack([each.bias if isinstance(each, Words) else none for each in words]))
