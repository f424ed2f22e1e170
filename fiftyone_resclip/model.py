"""The FiftyOne model: what ``foz.load_zoo_model("resclip-...")`` returns and ``dataset.apply_model`` runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import fiftyone as fo
import numpy as np
from fiftyone.core.media import VIDEO
from fiftyone.core.models import Model, SamplesMixin, SupportsGetItem, TorchModelMixin
from numpy.typing import NDArray

from fiftyone_resclip.checks import check_known
from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.clip.background_words import AUTO, with_chosen_background
from fiftyone_resclip.clip.text_cache import text_features
from fiftyone_resclip.config import ResCLIPConfig
from fiftyone_resclip.core.labels import LabelMap
from fiftyone_resclip.core.teaching import Taught
from fiftyone_resclip.embedding import Embedder
from fiftyone_resclip.errors import ConfigError, DatasetError, ImageError, VocabularyError, counted
from fiftyone_resclip.fields import masks, schema
from fiftyone_resclip.fields.exclusive import exclusive
from fiftyone_resclip.fields.images import check_thickness, read_network_image, to_network
from fiftyone_resclip.fields.private import arguments_of, count_labels, dataset_of
from fiftyone_resclip.fields.readers import Picture, PictureReader, Unreadable, checked, logged, unreadable
from fiftyone_resclip.fields.segmented import Segmented
from fiftyone_resclip.presets import mode_of, start_config
from fiftyone_resclip.segmenter import ResCLIP
from fiftyone_resclip.vocabulary import Classes, Vocabulary

logger = logging.getLogger(__name__)

_CLASSES_SHOWN = 5


@dataclass
class ApplySettings:
    """What ``apply_model`` sets on a model for the time of a call.

    Attributes:
        confidence_thresh: pixels below this confidence, in [0, 1], stay unlabelled; ``None`` keeps all
    """

    confidence_thresh: float | None = None


class ResCLIPModel(SupportsGetItem, SamplesMixin, TorchModelMixin, Embedder, Model):  # type: ignore[misc]
    """ResCLIP as a FiftyOne model: masks, and CLIP's own embeddings of whole images and prompts, with the same weights.

    It has no ``logits`` to store, as no semantic model of FiftyOne has: a label has one vector of them, and a mask would need one
    for each pixel. :meth:`segment` returns the probabilities of one image.

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
        Embedder.__init__(self, segmenter.backbone)
        self.segmenter = segmenter
        self.config = ApplySettings()
        self._skip_failures = True

    def __repr__(self) -> str:
        names = self.segmenter.vocabulary.class_names
        shown = ", ".join(names[:_CLASSES_SHOWN]) + ", …" * (len(names) > _CLASSES_SHOWN)
        backbone, mode = self.segmenter.backbone, mode_of(self.segmenter.config)
        parts = [repr(backbone.name), f"mode {mode!r}", backbone.device.type, f"{len(names)} classes: {shown}"]
        if self.taught is not None:
            parts.append(f"taught by {counted(len(self.taught.sample_ids), 'example')}")
        return f"ResCLIPModel({', '.join(parts)})"

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
        """Returns the image reader for FiftyOne's data loader, within ``compute_embeddings`` the one for embeddings."""
        reader = PictureReader(self.segmenter.config, self.segmenter.backbone.patch_px, field_mapping)
        return reader if arguments_of("compute_embeddings") is None else self.for_embeddings(reader)

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
        failed = unreadable(outcomes)
        self.failures |= failed
        if failed and not self._skip_failures:
            raise ImageError("; ".join(failed.values()))
        return [
            None if isinstance(outcome, Unreadable) else masks.to_segmentation(self._certain(outcome), n_classes)
            for outcome in outcomes
        ]

    def label_maps(self, args: Sequence[Any], *, whole: bool = False) -> list[LabelMap | Unreadable]:
        """Segments images of any sizes, without converting the results to FiftyOne labels.

        Args:
            args: as for :meth:`predict_all`
            whole (False): whether the confidence of each pixel is needed

        Returns:
            a :class:`LabelMap` per image, on the model's device, with the mean confidence only unless ``whole`` or
            ``confidence_thresh`` is set; an :class:`Unreadable` is logged and returned unchanged
        """
        read = (Picture, Unreadable)
        pictures = [arg if isinstance(arg, read) else _from_array(arg, self.segmenter) for arg in args]
        readable = [picture for picture in pictures if isinstance(picture, Picture)]
        sizes = [picture.image_hw for picture in readable]
        mean_only = not whole and self.config.confidence_thresh is None  # a threshold needs every pixel's confidence
        pixels, evidence = ([getattr(picture, part) for picture in readable] for part in ("pixels", "evidence"))
        logged(pictures)
        label_maps = iter(self.segmenter.segment(pixels, sizes, mean_only=mean_only, evidence=evidence))
        return [picture if isinstance(picture, Unreadable) else next(label_maps) for picture in pictures]

    def segment(self, image: str | Path | NDArray[np.uint8]) -> Segmented:
        """Segments one image, without a dataset.

        Args:
            image: an image file, or an ``(H, W, 3)`` uint8 RGB array

        Returns:
            the mask, the confidence, and on request the probabilities of classes

        Raises:
            ImageError: if the file can't be read, or the array is no RGB image
        """
        config, patch_px = self.segmenter.config, self.segmenter.backbone.patch_px
        if isinstance(image, (str, Path)):
            picture = Picture(*read_network_image(image, config, patch_px))
        else:
            picture = _from_array(image, self.segmenter)
        scores = self.segmenter.image_scores([picture.pixels])[0]
        return Segmented.of(self.segmenter, self.segmenter.resized(scores, picture.pixels, picture.image_hw))

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
        call = arguments_of("apply_model")
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
    name: str | Path = "resclip-vit-b-16",
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
        preset_name (None): a mode such as ``"fast"``, which varies the model's own settings, or the published settings of a
            benchmark, such as ``"voc21"``; by default the model's own, which are those of ``ade20k`` except for ``resclip-tiny``
        pretrained (None): a tag of open_clip or a checkpoint file
        device (None): where to run; by default a GPU if there is one
        taught (None): what examples taught, from :func:`fiftyone_resclip.load_lesson`; classes are matched by name
        **settings: settings to change, by their names in :class:`ResCLIPConfig`, such as ``prob_threshold=0.5`` or
            ``sfr={"threshold": 0.3}``; ``sfr=None`` is the fast mode

    Returns:
        a FiftyOne model

    Raises:
        VocabularyError: if the classes are missing, blank or repeated
        ConfigError: if a preset, setting or device is unknown or out of range, or ``taught`` is nothing that was learned, or was
            learned with other weights or settings
        BackboneError: if the model or its weights can't be loaded
    """
    if classes is None:
        raise VocabularyError(
            "classes must name what to look for, but got none; pass for example classes=['road', 'sky', 'everything else']"
        )
    known = {*ResCLIPConfig().to_dict(), "background", "preset_name", "pretrained", "device", "taught"}
    for setting in settings:
        check_known("setting", setting, known)
    vocabulary = Vocabulary.parse(classes)
    chooses = background == AUTO and AUTO not in vocabulary.class_names
    if not chooses:
        vocabulary = Vocabulary.parse(vocabulary, background)
    config = start_config(str(name), preset_name).varied(settings)
    if not isinstance(taught, Taught | None):
        raise ConfigError(f"taught must come from load_lesson() or be the `taught` of a model, but got {taught!r}")
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
    if len(vocabulary.class_names) == 1:
        logger.warning(
            "%r is the only class, so every pixel gets it; name what else is in the pictures, such as 'everything else', or let "
            "background='auto' (--background auto) choose words for it",
            vocabulary.class_names[0],
        )
    features = text_features(backbone, vocabulary.flat_phrases)
    return ResCLIPModel(ResCLIP(backbone, vocabulary, config, features, taught))


def checked_model(model: object) -> ResCLIPModel:
    """Refuses what is not a model of ours, such as its name, before anything happens.

    Raises:
        ConfigError: if it is something else
    """
    if not isinstance(model, ResCLIPModel):
        raise ConfigError(f"model must come from load_model(name, classes), but got {model!r}")
    return model


def _from_array(array: Any, segmenter: ResCLIP) -> Picture:
    image = checked(array)
    image_hw = image.shape[0], image.shape[1]
    try:
        check_thickness(image_hw, segmenter.config, segmenter.backbone.patch_px)
    except ImageError as error:
        raise ImageError(f"an image can't be used: {error}") from error
    return Picture(to_network(image, segmenter.config), image_hw)
