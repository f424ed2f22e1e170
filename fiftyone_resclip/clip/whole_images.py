"""CLIP as it was trained, on whole images: the features that similarity search compares with sentences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch import Tensor
from torch.nn import functional

from fiftyone_resclip.clip.backbone import Backbone

#: What FiftyOne's own open_clip models put before a prompt.
_PROMPT = "A photo of {}"

Preprocessing = Callable[[Image.Image], Tensor]


def preprocessing(backbone: Backbone) -> Preprocessing:
    """Returns CLIP's own preparation of images, that of ``open_clip.create_model_and_transforms``.

    For OpenAI's weights the short side becomes 224 px (bicubic, antialiased), the middle square is cut out, and its colours are
    normalised. So the ends of a long image don't count. Other weights may have been trained with another preparation, which
    open_clip knows.

    Args:
        backbone: the CLIP

    Returns:
        a function of an RGB image that returns ``(3, S, S)`` float32
    """
    visual: Any = backbone.model.visual
    known = {"size": visual.image_size, **getattr(visual, "preprocess_cfg", {})}
    prepare: Preprocessing = image_transform_v2(PreprocessCfg(**known), is_train=False)
    return prepare


@torch.inference_mode()
def image_embeddings(backbone: Backbone, images: Sequence[Tensor]) -> Tensor:
    """Computes CLIP's own feature of each image: the class token of the whole image tower, without any part of ResCLIP.

    Args:
        backbone: the CLIP
        images: each prepared by :func:`preprocessing`

    Returns:
        ``(n, D)`` float32 on the CPU, L2-normalised
    """
    if not images:
        return torch.empty(0, backbone.feature_width)
    features = backbone.model.encode_image(torch.stack(list(images)).to(backbone.device))
    return functional.normalize(features.float(), dim=-1).cpu()


def prompt_embeddings(backbone: Backbone, prompts: Sequence[str]) -> Tensor:
    """Computes the text feature of each prompt, in the one sentence that FiftyOne's own open_clip models use: "A photo of …".

    Args:
        backbone: the CLIP
        prompts: what to search for

    Returns:
        ``(n, D)`` float32 on the CPU, L2-normalised; its cosines with :func:`image_embeddings` rank images
    """
    return backbone.encode_sentences([_PROMPT.format(prompt) for prompt in prompts])
