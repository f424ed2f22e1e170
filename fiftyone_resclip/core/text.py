"""Text features, and their cosines with patches."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from fiftyone_resclip.errors import ShapeError


def ensemble(embeddings: Tensor) -> Tensor:
    """Averages the embeddings of each phrase over all templates.

    Args:
        embeddings: ``(Q, templates, D)``, of any norm

    Returns:
        text features, ``(Q, D)``, L2-normalised

    Source:
        Radford et al., ICML 2021 (CLIP, MIT): zero-shot classifier weights
    """
    return functional.normalize(functional.normalize(embeddings, dim=-1).mean(dim=1), dim=-1)


def cosines(tokens: Tensor, text_features: Tensor, grid_hw: tuple[int, int]) -> Tensor:
    """Compares every patch with every phrase.

    Args:
        tokens: projected tokens, ``(B, N, D)``, class token first, of any norm
        text_features: L2-normalised, ``(Q, D)``
        grid_hw: patches down and across

    Returns:
        cosines, ``(B, Q, h, w)``

    Raises:
        ShapeError: if the two widths differ
    """
    if text_features.ndim != 2 or text_features.shape[1] != tokens.shape[2]:
        raise ShapeError(f"text_features must be (Q, {tokens.shape[2]}), but got {tuple(text_features.shape)}")
    patch_tokens = functional.normalize(tokens[:, 1:], dim=-1)
    scores: Tensor = (patch_tokens @ text_features.T).transpose(1, 2).unflatten(2, grid_hw)
    return scores
