"""The FiftyOne model: what ``foz.load_zoo_model("resclip-...")`` returns and ``dataset.apply_model`` runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import fiftyone as fo
import numpy as np
from fiftyone.core.frame import Frame, FrameView
from fiftyone.core.models import Model, SamplesMixin, SupportsGetItem, TorchModelMixin
from fiftyone.utils.torch import GetItem
from numpy.typing import NDArray
from torch import Tensor

from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.clip.text_cache import text_features
from fiftyone_resclip.config import ResCLIPConfig
from fiftyone_resclip.core.labels import LabelMap
from fiftyone_resclip.errors import ImageError, VocabularyError
from fiftyone_resclip.fields import masks, schema
from fiftyone_resclip.fields.images import network_hw, read_image, to_network
from fiftyone_resclip.presets import default_config, preset
from fiftyone_resclip.segmenter import ResCLIP
from fiftyone_resclip.vocabulary import Classes, Vocabulary

logger = logging.getLogger(__name__)


class Picture(NamedTuple):
    """An image as the network wants it, and the size its mask shall have."""

    pixels: Tensor
    image_hw: tuple[int, int]


class Unreadable(NamedTuple):
    """In the place of an image that could not be decoded: its file, and why."""

    filepath: str
    reason: str


class PictureReader(GetItem):  # type: ignore[misc]  # FiftyOne has no type information
    """Reads the image of a sample, in a data loader's worker; a broken one does not break its batch.

    Args:
        config: decides the network size
        patch_px: side of a patch, below which no side may fall
        field_mapping (None): FiftyOne's, to read another field than ``filepath``
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
            image = read_image(path)
            image_hw = (image.height, image.width)
            small = min(network_hw(image_hw, self.config))
            if small < self.patch_px:
                raise ImageError(
                    f"{path!r} is {image.width}x{image.height} px, too thin: at network size its short side has {small} px, "
                    f"less than a patch of {self.patch_px}"
                )
        except ImageError as error:
            return Unreadable(path, str(error))
        return Picture(to_network(image, self.config), image_hw)


class ResCLIPModel(SupportsGetItem, SamplesMixin, TorchModelMixin, Model):  # type: ignore[misc]
    """ResCLIP as a FiftyOne model.

    Args:
        segmenter: the method with its weights and words

    Attributes:
        failures: file and reason of every image that could not be read since the model was made
    """

    config = None
    preprocess = True  # FiftyOne switches it off for the length of a run; :class:`PictureReader` has done the work by then

    def __init__(self, segmenter: ResCLIP) -> None:
        SamplesMixin.__init__(self)
        self.segmenter = segmenter
        self.failures: dict[str, str] = {}
        self._written: tuple[Any, fo.Segmentation] | None = None

    @property
    def mask_targets(self) -> dict[int, str]:
        """Class name by mask value, 1 for the first class."""
        return schema.mask_targets(self.segmenter.vocabulary)

    @property
    def media_type(self) -> str:
        """FiftyOne's word for what the model takes; frames of videos count as images."""
        return "image"

    @property
    def ragged_batches(self) -> bool:
        """False: batches of mixed sizes are this model's own business, see :meth:`collate_fn`."""
        return False

    @property
    def transforms(self) -> None:
        """None: :class:`PictureReader` does all that is done to an image."""
        return None

    @property
    def has_collate_fn(self) -> bool:
        """True: images of any sizes stay a list."""
        return True

    @property
    def images_at_once(self) -> int:
        """How many images keep the device busy."""
        return 16 if self._using_gpu else 4

    @property
    def _using_gpu(self) -> bool:
        return self.segmenter.backbone.device.type == "cuda"

    @staticmethod
    def collate_fn(batch: list[Any]) -> list[Any]:
        """Leaves a batch as it is."""
        return batch

    def build_get_item(self, field_mapping: Mapping[str, str] | None = None) -> PictureReader:
        """Gives FiftyOne's data loader what reads an image."""
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
            a label per image; ``None`` for one that could not be read, which is logged and kept in ``failures``
        """
        self._declare_fields()
        n_classes = len(self.segmenter.vocabulary.class_names)
        labels = [
            None if isinstance(outcome, Unreadable) else masks.to_segmentation(outcome, n_classes)
            for outcome in self.label_maps(args)
        ]
        self._written = next((pair for pair in zip(samples or (), labels, strict=False) if pair[1] is not None), None)
        return labels

    def label_maps(self, args: Sequence[Any]) -> list[LabelMap | Unreadable]:
        """Segments images of any sizes, without making labels of the results.

        Args:
            args: as for :meth:`predict_all`

        Returns:
            a :class:`LabelMap` per image, on the model's device; what could not be read as it came, and kept in ``failures``
        """
        pictures = [_to_picture(arg, self.segmenter.config) for arg in args]
        readable = [picture for picture in pictures if isinstance(picture, Picture)]
        label_maps = iter(self.segmenter.segment([p.pixels for p in readable], [p.image_hw for p in readable]))
        for picture in pictures:
            if isinstance(picture, Unreadable):
                self.failures[picture.filepath] = picture.reason
                logger.warning("Left without a label: %s", picture.reason)
        return [picture if isinstance(picture, Unreadable) else next(label_maps) for picture in pictures]

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Ends a run of ``apply_model``: the field gets its class names if it has none yet."""
        self._declare_fields()

    def _declare_fields(self) -> None:
        """Gives the field of the last batch its mask targets and colours.

        ``apply_model`` does not tell a model which field it fills, and sets no targets itself. After a batch, the label that was
        returned is found on its sample, and with it the field.
        """
        if self._written is None:
            return
        (sample, label), self._written = self._written, None
        prefix = "frames." if isinstance(sample, (Frame, FrameView)) else ""
        for field in sample.field_names:
            value = sample[field]
            if isinstance(value, fo.Segmentation) and value.id == label.id:
                self._declare(sample.dataset, prefix + field)

    def _declare(self, dataset: fo.Dataset, field: str) -> None:
        before = dataset.mask_targets.get(field)
        if before == self.mask_targets:
            return
        if before:
            logger.warning("Field %r had other classes (%s); masks left from then now show wrong names", field, before)
        schema.declare_field(dataset, field, self.mask_targets)


def load_model(
    name: str = "resclip-vit-b-16",
    classes: Classes | None = None,
    *,
    background: str | None = None,
    preset_name: str | None = None,
    pretrained: str | Path | None = None,
    device: str | None = None,
    **settings: Any,
) -> ResCLIPModel:
    """Loads ResCLIP for a user's classes.

    Args:
        name ("resclip-vit-b-16"): a named model, an open_clip architecture, a JSON config or a folder; see :meth:`Backbone.load`
        classes (None): required: names, ``{"class": ["phrase", ...]}``, or a text file; see :meth:`Vocabulary.parse`
        background (None): the class that uncertain pixels get; by default they stay unlabelled
        preset_name (None): published settings to start from; by default those of ``ade20k``
        pretrained (None): a tag of open_clip or a checkpoint file
        device (None): where to run; by default a GPU if there is one
        **settings: single settings that differ, by the names of :class:`ResCLIPConfig`, as ``prob_threshold=0.5`` or
            ``sfr={"threshold": 0.3}``; ``sfr=None`` is the fast mode

    Returns:
        a FiftyOne model

    Raises:
        VocabularyError: if the classes are missing, blank or repeated
        ConfigError: if a preset or setting is unknown or out of range
        BackboneError: if the model or its weights can't be had
    """
    if classes is None:
        raise VocabularyError(
            "classes must name what to look for, but got none; pass for example classes=['road', 'sky', 'everything else']"
        )
    vocabulary = Vocabulary.parse(classes, background)
    config = (preset(preset_name) if preset_name else default_config(name)).varied(settings)
    return make_model(Backbone.load(name, pretrained, device), vocabulary, config)


def make_model(backbone: Backbone, vocabulary: Vocabulary, config: ResCLIPConfig) -> ResCLIPModel:
    """Makes a model over a CLIP that is loaded already; phrases that were ever encoded come from the text cache.

    Args:
        backbone: the frozen CLIP
        vocabulary: the classes
        config: the settings

    Returns:
        a FiftyOne model
    """
    features = text_features(backbone, vocabulary.flat_phrases)
    return ResCLIPModel(ResCLIP(backbone, vocabulary, config, features))


def _to_picture(arg: Any, config: ResCLIPConfig) -> Picture | Unreadable:
    if isinstance(arg, (Picture, Unreadable)):
        return arg
    image: NDArray[np.uint8] = np.asarray(arg)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ImageError(f"an image must be (H, W, 3) uint8, but got {image.shape} {image.dtype}")
    return Picture(to_network(image, config), (image.shape[0], image.shape[1]))
