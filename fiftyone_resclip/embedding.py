"""The half of the FiftyOne model that embeds whole images and prompts, so that FiftyOne can search with the same weights."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from fiftyone.core.models import EmbeddingsMixin, PromptMixin
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.clip.whole_images import Preprocessing, image_embeddings, preprocessing, prompt_embeddings
from fiftyone_resclip.errors import ImageError
from fiftyone_resclip.fields.private import arguments_of
from fiftyone_resclip.fields.readers import PictureReader, WholeImageReader, checked, logged

Embeddings = NDArray[np.float32]


class Embedder(EmbeddingsMixin, PromptMixin):  # type: ignore[misc]  # FiftyOne has no type information
    """CLIP's own embeddings. The classes play no part in them, and neither does ResCLIP.

    Args:
        backbone: the frozen CLIP

    Attributes:
        failures: file and reason of every image that could not be read since the model was made
    """

    def __init__(self, backbone: Backbone) -> None:
        self.failures: dict[str, str] = {}
        self._backbone = backbone
        self._embeddings: Embeddings = np.empty((0, backbone.feature_width), np.float32)

    @property
    def has_embeddings(self) -> bool:
        """True: see :meth:`embed_all`."""
        return True

    @property
    def can_embed_prompts(self) -> bool:
        """True: see :meth:`embed_prompts`."""
        return True

    @cached_property
    def transforms(self) -> Preprocessing:
        """CLIP's own preparation of images; FiftyOne itself calls it on the patches of ``compute_patch_embeddings``."""
        return preprocessing(self._backbone)

    def for_embeddings(self, reader: PictureReader) -> WholeImageReader:
        """Returns a reader that prepares images for :meth:`embed_all`, and refuses the same files as a reader for masks."""
        return WholeImageReader(reader.config, reader.patch_px, reader.field_mapping, preprocess=self.transforms)

    def embed(self, arg: Any) -> Embeddings:
        """Embeds one image; see :meth:`embed_all`."""
        embedded: Embeddings = self.embed_all([arg])[0]
        return embedded

    def embed_all(self, args: Sequence[Any]) -> Any:
        """Computes the feature of whole images: the class token of CLIP's image tower, at the size it was trained with.

        The images are prepared as by open_clip: see :func:`~fiftyone_resclip.clip.whole_images.preprocessing`.

        Args:
            args: ``(H, W, 3)`` uint8 arrays, or what FiftyOne's data loaders made of images

        Returns:
            ``(n, D)`` float32, L2-normalised. While ``compute_embeddings`` fills a field, a list with ``None`` for each image
            that could not be read

        Raises:
            ImageError: if an image could not be read and no field is filled; FiftyOne then leaves out the batch, which is one
                image unless a batch size is set
        """
        images = [self.transforms(Image.fromarray(checked(arg))) if isinstance(arg, np.ndarray) else arg for arg in args]
        failed, call = logged(images), arguments_of("compute_embeddings") or {}
        self.failures |= failed
        if failed and not (call.get("embeddings_field") and call["skip_failures"]):
            raise ImageError("; ".join(failed.values()))
        self._embeddings = image_embeddings(self._backbone, [image for image in images if isinstance(image, Tensor)]).numpy()
        if not failed:
            return self._embeddings
        rows = iter(self._embeddings)
        return [next(rows) if isinstance(image, Tensor) else None for image in images]

    def get_embeddings(self) -> Embeddings:
        """Returns what :meth:`embed` or :meth:`embed_all` computed last, ``(n, D)``."""
        return self._embeddings

    def embed_prompt(self, arg: str) -> Embeddings:
        """Embeds one prompt; see :meth:`embed_prompts`."""
        embedded: Embeddings = self.embed_prompts([arg])[0]
        return embedded

    def embed_prompts(self, args: Sequence[str]) -> Embeddings:
        """Computes text features to compare with :meth:`embed_all`.

        Each prompt becomes one sentence, "A photo of …", as with FiftyOne's own open_clip models. The words of classes are
        encoded in 80 sentences instead.

        Args:
            args: ``n`` prompts

        Returns:
            ``(n, D)`` float32, L2-normalised
        """
        embedded: Embeddings = prompt_embeddings(self._backbone, list(args)).numpy()
        return embedded
