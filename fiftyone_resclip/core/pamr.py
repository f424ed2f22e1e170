"""PAMR, pixel-adaptive mask refinement: moves class borders to the edges of the image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from fiftyone_resclip.errors import ConfigError, ShapeError

_NEIGHBOURS = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0))


def refine(probs: Tensor, image: Tensor, *, steps: int = 10, dilations: Sequence[int] = (8, 16)) -> Tensor:
    """Moves class borders to image edges (pixel-adaptive mask refinement).

    It is linear in ``probs`` and processes each channel separately.

    Args:
        probs: class scores, ``(B, C, H, W)`` float
        image: RGB with any scale and offset per channel, ``(B, 3, H, W)``, on the same device as ``probs``
        steps (10): propagation steps, >= 0; 0 returns ``probs`` unchanged
        dilations ((8, 16)): neighbour distances in pixels

    Returns:
        refined scores, ``(B, C, H, W)`` float32, within the range of ``probs``

    Raises:
        ShapeError: if the two sizes differ
        ConfigError: if ``steps`` is negative

    Source:
        Araslanov and Roth, CVPR 2020 (Apache-2.0)
    """
    if probs.shape[0] != image.shape[0] or probs.shape[-2:] != image.shape[-2:]:
        raise ShapeError(
            f"probs and image must have the same batch, height and width, but got {tuple(probs.shape)} and {tuple(image.shape)}"
        )
    if steps < 0:
        raise ConfigError(f"steps must be at least 0, but got {steps}")
    if steps == 0:
        return probs
    weights, scores = affinity(image, dilations), probs.float()
    for _ in range(steps):
        scores = propagate(scores, weights, dilations)
    return scores


def affinity(image: Tensor, dilations: Sequence[int]) -> Tensor:
    """Computes how similar each pixel is to its neighbours at all dilations.

    Args:
        image: ``(B, 3, H, W)``
        dilations: neighbour distances in pixels

    Returns:
        ``(B, 8 * len(dilations), H, W)`` float32; sums to 1 over the neighbours
    """
    image = image.float()
    spread = _spread(image, dilations)
    scores = [-((image - other).abs() / (1e-8 + 0.1 * spread)).mean(dim=1) for other in neighbours(image, dilations)]
    return torch.stack(scores, dim=1).softmax(dim=1)


def propagate(scores: Tensor, weights: Tensor, dilations: Sequence[int]) -> Tensor:
    """Runs one step: replaces each pixel by the weighted mean of its neighbours.

    Args:
        scores: ``(B, C, H, W)`` float32
        weights: from :func:`affinity`
        dilations: neighbour distances in pixels

    Returns:
        ``(B, C, H, W)``
    """
    moved = torch.zeros_like(scores)
    for index, other in enumerate(neighbours(scores, dilations)):
        moved.addcmul_(other, weights[:, index : index + 1])
    return moved


def neighbours(values: Tensor, dilations: Sequence[int]) -> Iterator[Tensor]:
    """Yields ``values`` shifted to each neighbour, with repeated edges, dilation by dilation, as views of one padded copy."""
    height, width = values.shape[-2:]
    margin = max(dilations)
    padded = functional.pad(values, (margin,) * 4, mode="replicate")
    for dy, dx in offsets(dilations):
        yield padded[..., margin + dy : margin + dy + height, margin + dx : margin + dx + width]


def offsets(dilations: Sequence[int]) -> list[tuple[int, int]]:
    """Lists the row and column offsets of all neighbours, dilation by dilation."""
    return [(dy * dilation, dx * dilation) for dilation in dilations for dy, dx in _NEIGHBOURS]


def _spread(image: Tensor, dilations: Sequence[int]) -> Tensor:
    """Computes the unbiased standard deviation of the centre (counted once per dilation) and all neighbours, ``(B, 3, H, W)``."""
    count = 9 * len(dilations)
    total = image * len(dilations)
    for other in neighbours(image, dilations):
        total = total + other
    mean = total / count
    squares = (image - mean) ** 2 * len(dilations)
    for other in neighbours(image, dilations):
        squares = squares + (other - mean) ** 2
    return (squares / (count - 1)).sqrt()
