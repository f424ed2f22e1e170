"""Pixel-adaptive mask refinement: class borders pulled towards the edges of the image.

The refinement is linear in the scores and acts on each channel alone, so channels are worked on in chunks that stay in the
processor's cache; the result does not depend on the chunk. On a CPU a step is an embedding bag: each pixel sums its neighbours'
rows of channels, which torch does in one fused kernel. Elsewhere, and where the table of neighbours would be large, it is shifted
views.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from fiftyone_resclip.errors import ConfigError, ShapeError

_CHANNELS_IN_A_ROW = 32
_CHANNELS_AT_ONCE = 8
_TABLE_ENTRIES = 2**25
_NEIGHBOURS = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0))


def refine(probs: Tensor, image: Tensor, *, steps: int = 10, dilations: Sequence[int] = (8, 16)) -> Tensor:
    """Pulls class borders towards image edges (pixel-adaptive mask refinement).

    Args:
        probs: class scores, ``(B, C, H, W)`` float
        image: RGB, any per-channel scale and offset, ``(B, 3, H, W)``, same device as ``probs``
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
            f"probs and image must have the same batch, height and width, but got {_sizes(probs)} and {_sizes(image)}"
        )
    if steps < 0:
        raise ConfigError(f"steps must be at least 0, but got {steps}")
    if steps == 0:
        return probs
    if probs.device.type == "cpu" and 8 * len(dilations) * image[0, 0].numel() <= _TABLE_ENTRIES:
        return torch.stack([_gathered(p, i, steps, dilations) for p, i in zip(probs, image, strict=True)])
    weights = affinity(image, dilations)
    refined = torch.empty_like(probs, dtype=torch.float32)
    for start in range(0, probs.shape[1], _CHANNELS_AT_ONCE):
        chunk = slice(start, start + _CHANNELS_AT_ONCE)
        refined[:, chunk] = _shifted(probs[:, chunk].float(), weights, steps, dilations)
    return refined


def affinity(image: Tensor, dilations: Sequence[int]) -> Tensor:
    """Says how alike each pixel is to its neighbours at all dilations.

    Args:
        image: ``(B, 3, H, W)``
        dilations: neighbour distances in pixels

    Returns:
        ``(B, 8 * len(dilations), H, W)`` float32; sums to 1 over the neighbours
    """
    image = image.float()
    spread = _spread(image, dilations)
    scores = [-((image - other).abs() / (1e-8 + 0.1 * spread)).mean(dim=1) for other in _neighbours(image, dilations)]
    return torch.stack(scores, dim=1).softmax(dim=1)


def _spread(image: Tensor, dilations: Sequence[int]) -> Tensor:
    """Unbiased standard deviation over the centre (once per dilation) and all neighbours, ``(B, 3, H, W)``."""
    count = 9 * len(dilations)
    total = image * len(dilations)
    for other in _neighbours(image, dilations):
        total = total + other
    mean = total / count
    squares = (image - mean) ** 2 * len(dilations)
    for other in _neighbours(image, dilations):
        squares = squares + (other - mean) ** 2
    return (squares / (count - 1)).sqrt()


def _gathered(probs: Tensor, image: Tensor, steps: int, dilations: Sequence[int]) -> Tensor:
    """Refines one image, ``(C, H, W)``; pixels are rows of channels, and so they lie in the result's memory."""
    image_hw = (image.shape[1], image.shape[2])
    table = _neighbour_table(image_hw, tuple(dilations))
    weights = affinity(image[None], dilations)[0].flatten(1).T.contiguous()
    pixels = probs.float().flatten(1).T
    refined = torch.empty(pixels.shape)
    for start in range(0, pixels.shape[1], _CHANNELS_IN_A_ROW):
        chunk = slice(start, start + _CHANNELS_IN_A_ROW)
        rows = pixels[:, chunk].contiguous()
        for _ in range(steps):
            rows = functional.embedding_bag(table, rows, per_sample_weights=weights, mode="sum")
        refined[:, chunk] = rows
    channels_first: Tensor = refined.T.unflatten(1, image_hw)
    return channels_first


@lru_cache(maxsize=2)
def _neighbour_table(image_hw: tuple[int, int], dilations: tuple[int, ...]) -> Tensor:
    """The flat index of each pixel's neighbours, edges repeated, ``(H * W, 8 * len(dilations))`` int32."""
    # padding takes no integers, and float32 has none beyond 2**24, which _TABLE_ENTRIES keeps out
    pixels = torch.arange(image_hw[0] * image_hw[1], dtype=torch.float32).view(1, 1, *image_hw)
    return torch.stack([other.flatten().to(torch.int32) for other in _neighbours(pixels, dilations)], dim=1)


def _shifted(scores: Tensor, weights: Tensor, steps: int, dilations: Sequence[int]) -> Tensor:
    """Refines some channels of a batch, ``(B, c, H, W)``."""
    for _ in range(steps):
        moved = torch.zeros_like(scores)
        for index, other in enumerate(_neighbours(scores, dilations)):
            moved.addcmul_(other, weights[:, index : index + 1])
        scores = moved
    return scores


def _neighbours(values: Tensor, dilations: Sequence[int]) -> Iterator[Tensor]:
    """Yields ``values`` shifted to each neighbour, edges repeated: views of one padded copy, dilation by dilation."""
    height, width = values.shape[-2:]
    margin = max(dilations)
    padded = functional.pad(values, (margin,) * 4, mode="replicate")
    for dilation in dilations:
        for dy, dx in _NEIGHBOURS:
            top, left = margin + dy * dilation, margin + dx * dilation
            yield padded[..., top : top + height, left : left + width]


def _sizes(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)
