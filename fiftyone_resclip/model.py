"""The FiftyOne model: what ``foz.load_zoo_model("resclip-...")`` returns and ``dataset.apply_model`` runs."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import fiftyone as fo
import numpy as np
from fiftyone.core.media import VIDEO
from fiftyone.core.models import Model, SamplesMixin, SupportsGetItem, TorchModelMixin
from fiftyone.utils.torch import GetItem
from numpy.typing import NDArray
from torch import Tensor

from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.clip.background_words import AUTO, with_chosen_background
from fiftyone_resclip.clip.identity import identity
from fiftyone_resclip.clip.text_cache import text_features
from fiftyone_resclip.config import ResCLIPConfig
from fiftyone_resclip.core.labels import LabelMap
from fiftyone_resclip.core.teaching import Taught
from fiftyone_resclip.errors import ConfigError, DatasetError, ImageError, VocabularyError
from fiftyone_resclip.fields import masks, schema
from fiftyone_resclip.fields.exclusive import exclusive
from fiftyone_resclip.fields.images import read_network_image, to_network
from fiftyone_resclip.fields.private import arguments_of_apply_model, count_labels, dataset_of
from fiftyone_resclip.presets import default_config, preset
from fiftyone_resclip.segmenter import ImageEvidence, ResCLIP
from fiftyone_resclip.vocabulary import Classes, Vocabulary

logger = logging.getLogger(__name__)

#: Pixels of the largest image whose confidence is kept for each pixel: 8 bytes per pixel, against 2 for a summary.
_WHOLE_PX = 2**25


class Picture(NamedTuple):
    """An image at network size, the output mask size, and what is known about the image."""

    pixels: Tensor
    image_hw: tuple[int, int]
    evidence: ImageEvidence = ImageEvidence()


class Unreadable(NamedTuple):
    """The file of an image that could not be decoded, and the reason; it takes the place of a :class:`Picture`."""

    filepath: str
    reason: str


class PictureReader(GetItem):  # type: ignore[misc]  # FiftyOne has no type information
    """Reads the image of a sample in a data loader's worker; an image that can't be read does not break its batch.

    Args:
        config: determines the network size
        patch_px: side of a patch in pixels, the minimum length of each side
        field_mapping (None): FiftyOne's mapping, to read another field than ``filepath``
    """

    def __init__(self, config: ResCLIPConfig, patch_px: int, field_mapping: Mapping[str, str] | None = None) -> None:
        super().__init__(field_mapping=field_mapping)
        self.config, self.patch_px = config, patch_px

    @property
    def required_keys(self) -> list[str]:
        """The sample fields that are read."""
        return ["filepath"]

    def __call__(self, sample_dict: Mapping[str, Any]) -> Picture | Unreadable:
        """Reads one image."""
        path = sample_dict["filepath"]
        try:
            return Picture(*read_network_image(path, self.config, self.patch_px))
        except ImageError as error:
            return Unreadable(path, str(error))


@dataclass
class ApplySettings:
    """What ``apply_model`` sets on a model for the time of a call.

    Attributes:
        confidence_thresh: pixels below this confidence, in [0, 1], stay unlabelled; ``None`` keeps all
    """

    confidence_thresh: float | None = None


class ResCLIPModel(SupportsGetItem, SamplesMixin, TorchModelMixin, Model):  # type: ignore[misc]
    """ResCLIP as a FiftyOne model.

    Args:
        segmenter: ResCLIP with its weights and classes

    Attributes:
        config: what ``apply_model`` sets
        failures: file and reason of every image that ``apply_model`` could not read since the model was made; those of a
            :func:`fiftyone_resclip.label` run are in its report
    """

    preprocess = True  # FiftyOne switches it off during a run: :class:`PictureReader` has preprocessed the images by then

    def __init__(self, segmenter: ResCLIP) -> None:
        SamplesMixin.__init__(self)
        self.segmenter = segmenter
        self.config = ApplySettings()
        self.failures: dict[str, str] = {}
        self._skip_failures = True

    @property
    def mask_targets(self) -> dict[int, str]:
        """Class name by mask value, 1 for the first class."""
        return schema.mask_targets(self.segmenter.vocabulary)

    @property
    def taught(self) -> Taught | None:
        """What examples taught this model; ``None`` if it knows the words alone. See :func:`fiftyone_resclip.learn`."""
        return self.segmenter.taught

    @property
    def media_type(self) -> str:
        """FiftyOne's name for the input type; frames of videos count as images."""
        return "image"

    @property
    def ragged_batches(self) -> bool:
        """False: this model handles images of different sizes itself, see :meth:`collate_fn`."""
        return False

    @property
    def transforms(self) -> None:
        """None: :class:`PictureReader` does all the preprocessing."""
        return None

    @property
    def has_collate_fn(self) -> bool:
        """True: a batch stays a list, so images may differ in size."""
        return True

    @property
    def images_at_once(self) -> int:
        """The batch size that keeps the device busy."""
        return 16 if self._using_gpu else 4

    @property
    def _using_gpu(self) -> bool:
        return self.segmenter.backbone.device.type == "cuda"

    @staticmethod
    def collate_fn(batch: list[Any]) -> list[Any]:
        """Returns the batch unchanged."""
        return batch

    def build_get_item(self, field_mapping: Mapping[str, str] | None = None) -> PictureReader:
        """Returns the image reader for FiftyOne's data loader."""
        return PictureReader(self.segmenter.config, self.segmenter.backbone.patch_px, field_mapping=field_mapping)

    def predict(self, arg: Any, sample: Any = None) -> fo.Segmentation | None:
        """Segments one image; see :meth:`predict_all`."""
        return self.predict_all([arg], samples=None if sample is None else [sample])[0]

    def predict_all(self, args: Sequence[Any], samples: Sequence[Any] | None = None) -> list[fo.Segmentation | None]:
        """Segments images of any sizes.

        Args:
            args: :class:`Picture` or :class:`Unreadable` from :class:`PictureReader`, or ``(H, W, 3)`` uint8 arrays
            samples (None): the samples or frames the images belong to

        Returns:
            a label per image; ``None`` for one that could not be read, which is also logged and added to ``failures``
        """
        n_classes = len(self.segmenter.vocabulary.class_names)
        outcomes = self.label_maps(args)
        unreadable = {outcome.filepath: outcome.reason for outcome in outcomes if isinstance(outcome, Unreadable)}
        self.failures |= unreadable
        if unreadable and not self._skip_failures:
            raise ImageError("; ".join(unreadable.values()))
        return [
            None if isinstance(outcome, Unreadable) else masks.to_segmentation(self._certain(outcome), n_classes)
            for outcome in outcomes
        ]

    def label_maps(self, args: Sequence[Any]) -> list[LabelMap | Unreadable]:
        """Segments images of any sizes, without converting the results to FiftyOne labels.

        Args:
            args: as for :meth:`predict_all`

        Returns:
            a :class:`LabelMap` per image, on the model's device, that of a very large image a summary; an :class:`Unreadable` is
            logged and returned unchanged
        """
        pictures = [_to_picture(arg, self.segmenter.config) for arg in args]
        readable = [picture for picture in pictures if isinstance(picture, Picture)]
        sizes = [picture.image_hw for picture in readable]
        whole_px = _WHOLE_PX if self.config.confidence_thresh is None else math.inf  # a threshold needs every pixel's confidence
        pixels, evidence = ([getattr(picture, part) for picture in readable] for part in ("pixels", "evidence"))
        label_maps = iter(self.segmenter.segment(pixels, sizes, whole_px=whole_px, evidence=evidence))
        for picture in pictures:
            if isinstance(picture, Unreadable):
                logger.warning("Not labelled: %s", picture.reason)
        return [picture if isinstance(picture, Unreadable) else next(label_maps) for picture in pictures]

    def _certain(self, label_map: LabelMap) -> LabelMap:
        """Removes the labels of pixels below the confidence threshold of ``apply_model``."""
        threshold = self.config.confidence_thresh
        if threshold is None:
            return label_map
        return label_map._replace(labels=label_map.labels.where(label_map.confidence >= threshold, -1))

    def __enter__(self) -> ResCLIPModel:
        """Declares the field of an ``apply_model`` call before the first mask is written.

        Raises:
            DatasetError: if the field holds masks of other classes that would get wrong names, or a labelling run fills it
        """
        call = arguments_of_apply_model()
        if call is not None:
            self._skip_failures = call["skip_failures"]
            prefix = "frames." if call["samples"].media_type == VIDEO else ""
            self._claim(call["samples"], prefix + call["label_field"].removeprefix("frames."))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Ends an ``apply_model`` call."""
        self._skip_failures = True

    def _claim(self, samples: Any, field: str) -> None:
        dataset = dataset_of(samples)
        with exclusive(dataset):
            if schema.has_masks(dataset, field):
                run = schema.run_key(dataset, field)
                if run is not None:
                    raise DatasetError(f"field {field!r} belongs to labelling run {run!r}; use label() for it, or another field")
                before = dataset.mask_targets.get(field) or dataset.default_mask_targets
                if before != self.mask_targets and count_labels(dataset, field):
                    names = ", ".join(map(str, before.values())) or "without names"
                    raise DatasetError(f"field {field!r} holds masks of other classes ({names}); use another field, or clear it")
            schema.declare_field(dataset, field, self.mask_targets)


def load_model(
    name: str = "resclip-vit-b-16",
    classes: Classes | None = None,
    *,
    background: str | None = None,
    preset_name: str | None = None,
    pretrained: str | Path | None = None,
    device: str | None = None,
    taught: Taught | None = None,
    **settings: Any,
) -> ResCLIPModel:
    """Loads ResCLIP for a user's classes.

    Args:
        name ("resclip-vit-b-16"): a named model, an open_clip architecture, a JSON config or a folder; see :meth:`Backbone.load`
        classes (None): required: names, ``{"class": ["phrase", ...]}``, or a text file; see :meth:`Vocabulary.parse`
        background (None): the class that uncertain pixels get; by default they stay unlabelled. ``"auto"`` (unless it is a
            class) adds a class ``"background"`` with words for the rest of the picture; it helps if the classes do not cover it
        preset_name (None): published settings to start from; by default those of ``ade20k``
        pretrained (None): a tag of open_clip or a checkpoint file
        device (None): where to run; by default a GPU if there is one
        taught (None): what examples taught, from :func:`fiftyone_resclip.load_lesson`; classes are matched by name
        **settings: settings to change, by their names in :class:`ResCLIPConfig`, such as ``prob_threshold=0.5`` or
            ``sfr={"threshold": 0.3}``; ``sfr=None`` is the fast mode

    Returns:
        a FiftyOne model

    Raises:
        VocabularyError: if the classes are missing, blank or repeated
        ConfigError: if a preset or setting is unknown or out of range, or ``taught`` was learned with other weights or settings
        BackboneError: if the model or its weights can't be loaded
    """
    if classes is None:
        raise VocabularyError(
            "classes must name what to look for, but got none; pass for example classes=['road', 'sky', 'everything else']"
        )
    vocabulary = Vocabulary.parse(classes)
    chooses = background == AUTO and AUTO not in vocabulary.class_names
    if not chooses:
        vocabulary = Vocabulary.parse(vocabulary, background)
    config = (preset(preset_name) if preset_name else default_config(name)).varied(settings)
    backbone = Backbone.load(name, pretrained, device)
    return make_model(backbone, with_chosen_background(backbone, vocabulary) if chooses else vocabulary, config, taught)


def make_model(backbone: Backbone, vocabulary: Vocabulary, config: ResCLIPConfig, taught: Taught | None = None) -> ResCLIPModel:
    """Makes a model from a loaded CLIP; phrases that were encoded before come from the text cache.

    Args:
        backbone: the frozen CLIP
        vocabulary: the classes
        config: the settings
        taught (None): what examples taught

    Returns:
        a FiftyOne model

    Raises:
        ConfigError: if examples taught another model, or with other settings of the last block
    """
    if taught is not None and taught.weights != identity(backbone):
        raise ConfigError(f"examples taught a model with other weights than {backbone.name!r}; learn again with this model")
    features = text_features(backbone, vocabulary.flat_phrases)
    return ResCLIPModel(ResCLIP(backbone, vocabulary, config, features, taught))


def _to_picture(arg: Any, config: ResCLIPConfig) -> Picture | Unreadable:
    if isinstance(arg, (Picture, Unreadable)):
        return arg
    image: NDArray[np.uint8] = np.asarray(arg)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ImageError(f"an image must be (H, W, 3) uint8, but got {image.shape} {image.dtype}")
    return Picture(to_network(image, config), (image.shape[0], image.shape[1]))
