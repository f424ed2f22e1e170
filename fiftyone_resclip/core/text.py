"""Text features, what the user's dataset adds to them, and their cosines with patches."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from fiftyone_resclip.errors import ShapeError


class Words(NamedTuple):
    """What patches are compared with.

    Attributes:
        features: a direction for each phrase, ``(Q, D)``: its text feature, and what examples have added to it
        bias: is added to the cosines, ``(Q,)``, or ``(B, Q)`` if it differs between images; :data:`NEVER` keeps a phrase from
            winning
    """

    features: Tensor
    bias: Tensor


class Correction(NamedTuple):
    """What examples add to the cosines of each class with a patch ``f``: ``weights @ f + bias``.

    Attributes:
        weights: ``(C, D)``
        bias: ``(C,)``
    """

    weights: Tensor
    bias: Tensor


#: The bias of a phrase that can't win. It is finite, since a weight of zero times infinity is not a number.
NEVER = -1e3


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


def cosines(tokens: Tensor, words: Tensor | Words, grid_hw: tuple[int, int]) -> Tensor:
    """Compares every patch with every phrase.

    Args:
        tokens: projected tokens, ``(B, N, D)``, class token first, of any norm
        words: L2-normalised text features, ``(Q, D)``, or :class:`Words`
        grid_hw: patches down and across

    Returns:
        cosines, ``(B, Q, h, w)``

    Raises:
        ShapeError: if the two widths differ
    """
    features = words.features if isinstance(words, Words) else words
    if features.ndim != 2 or features.shape[1] != tokens.shape[2]:
        raise ShapeError(f"text_features must be (Q, {tokens.shape[2]}), but got {tuple(features.shape)}")
    scores: Tensor = (normalised_patches(tokens) @ features.T).transpose(1, 2).unflatten(2, grid_hw)
    return scores + words.bias[..., None, None] if isinstance(words, Words) else scores


def best_of_classes(values: Tensor, phrase_classes: Tensor, n_classes: int) -> Tensor:
    """Returns the highest value among the phrases of each class: a class counts as its likeliest phrase.

    Args:
        values: ``(n, Q)``
        phrase_classes: class of each phrase, ascending, ``(Q,)`` int64
        n_classes: number of classes, each with at least one phrase

    Returns:
        ``(n, C)``
    """
    if n_classes == len(phrase_classes):
        return values
    lowest = values.new_full((len(values), n_classes), -torch.inf)
    return lowest.scatter_reduce_(1, phrase_classes.expand_as(values), values, "amax")


def normalised_patches(tokens: Tensor) -> Tensor:
    """Returns the patches that are compared with words: tokens without the class token, L2-normalised, ``(B, N - 1, D)``."""
    return functional.normalize(tokens[:, 1:], dim=-1)
