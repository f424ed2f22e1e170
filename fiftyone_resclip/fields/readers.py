"""What FiftyOne's data loaders hand to the model: images at network size, or as CLIP's own image tower takes them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from fiftyone.utils.torch import GetItem
from numpy.typing import NDArray
from torch import Tensor

from fiftyone_resclip.clip.whole_images import Preprocessing
from fiftyone_resclip.config import ResCLIPConfig
from fiftyone_resclip.errors import ImageError
from fiftyone_resclip.fields.images import read_network_image, read_with, to_rgb
from fiftyone_resclip.segmenter import ImageEvidence

logger = logging.getLogger(__name__)


class Picture(NamedTuple):
    """An image at network size, the output mask size, and what is known about the image."""

    pixels: Tensor
    image_hw: tuple[int, int]
    evidence: ImageEvidence = ImageEvidence()


class Unreadable(NamedTuple):
    """The file of an image that could not be decoded, and the reason; it takes the place of the image."""

    filepath: str
    reason: str


def unreadable(outcomes: Iterable[Any]) -> dict[str, str]:
    """Returns the reason by file for each :class:`Unreadable` among what was read, or among what became of it."""
    return {each.filepath: each.reason for each in outcomes if isinstance(each, Unreadable)}


def logged(pictures: Iterable[Any]) -> dict[str, str]:
    """Logs images that could not be read; returns the reason by file."""
    reasons = unreadable(pictures)
    for reason in reasons.values():
        logger.warning("Left out: %s", reason)
    return reasons


def checked(array: Any) -> NDArray[np.uint8]:
    """Refuses what is not an RGB image as an array.

    Raises:
        ImageError: if it is not ``(H, W, 3)`` uint8
    """
    image: NDArray[np.uint8] = np.asarray(array)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        got = f"an array {image.shape} {image.dtype}" if image.dtype.kind in "biuf" else repr(array)[:80]
        raise ImageError(f"an image must be an (H, W, 3) uint8 RGB array, or the path of a file, but got {got}")
    return image


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

    def __call__(self, sample_dict: Mapping[str, Any]) -> Any:
        """Reads one image; returns an :class:`Unreadable` if that fails."""
        path = sample_dict["filepath"]
        try:
            return self._read(path)
        except ImageError as error:
            return Unreadable(str(path), str(error))

    def _read(self, path: str) -> Any:
        return Picture(*read_network_image(path, self.config, self.patch_px))


class WholeImageReader(PictureReader):
    """Reads images for CLIP's own image tower, as ``(3, S, S)`` float32; it refuses the same files.

    Args:
        *needs: as for :class:`PictureReader`
        preprocess: from :func:`fiftyone_resclip.clip.whole_images.preprocessing`
    """

    def __init__(self, *needs: Any, preprocess: Preprocessing) -> None:
        super().__init__(*needs)
        self.preprocess = preprocess

    def _read(self, path: str) -> Tensor:
        return read_with(lambda image: self.preprocess(to_rgb(image)), path, self.config, self.patch_px)[0]
