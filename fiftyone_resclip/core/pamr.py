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

#: More would leave the processor's cache, fewer would leave its vector units idle.
CHANNELS_AT_ONCE = 32
#: Gathered pixels that are still in the cache when they are put in their place.
_PIXELS_AT_ONCE = 8192
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
    refinement = Refinement(image, steps, dilations)
    refined = torch.empty_like(probs, dtype=torch.float32)
    for start in range(0, probs.shape[1], CHANNELS_AT_ONCE):
        chunk = slice(start, start + CHANNELS_AT_ONCE)
        refined[:, chunk] = refinement(probs[:, chunk])
    return refined


class Refinement:
    """:func:`refine` for scores that come some channels at a time.

    Args:
        image: as for :func:`refine`
        steps: propagation steps, >= 0
        dilations: neighbour distances in pixels
    """

    def __init__(self, image: Tensor, steps: int, dilations: Sequence[int]) -> None:
        self.steps, self.dilations = steps, tuple(dilations)
        weights = affinity(image, dilations)
        self._table: Tensor | None = None
        if image.device.type == "cpu" and weights[0].numel() <= _TABLE_ENTRIES:
            self._table = _neighbour_table((image.shape[2], image.shape[3]), self.dilations)
            weights = weights.flatten(2).transpose(1, 2).contiguous()
        self._weights = weights

    def __call__(self, scores: Tensor) -> Tensor:
        """Refines channels, ``(B, c, H, W)`` -> the same float32; fastest for :data:`CHANNELS_AT_ONCE`, channels last."""
        if self._table is None or self.steps == 0:
            return self._shifted(scores.float())
        pixels = scores.float().permute(0, 2, 3, 1).flatten(1, 2).contiguous()
        refined = torch.empty_like(pixels)
        for parts in zip(pixels, self._weights, refined, strict=True):
            self._gather(self._table, *parts)
        channels_first: Tensor = refined.unflatten(1, scores.shape[2:]).permute(0, 3, 1, 2)
        return channels_first

    def _gather(self, table: Tensor, pixels: Tensor, weights: Tensor, result: Tensor) -> None:
        """Refines one image, each pixel a row of channels ``(H * W, c)``, between two buffers, so that memory does not grow."""
        spare = torch.empty_like(result)
        for steps_left in range(self.steps, 0, -1):
            target = result if steps_left % 2 else spare
            parts = (whole.split(_PIXELS_AT_ONCE) for whole in (target, table, weights))
            for part, neighbours, shares in zip(*parts, strict=True):
                part.copy_(functional.embedding_bag(neighbours, pixels, per_sample_weights=shares, mode="sum"))
            pixels = target

    def _shifted(self, scores: Tensor) -> Tensor:
        for _ in range(self.steps):
            moved = torch.zeros_like(scores)
            for index, other in enumerate(_neighbours(scores, self.dilations)):
                moved.addcmul_(other, self._weights[:, index : index + 1])
            scores = moved
        return scores


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


@lru_cache(maxsize=2)
def _neighbour_table(image_hw: tuple[int, int], dilations: tuple[int, ...]) -> Tensor:
    """The flat index of each pixel's neighbours, edges repeated, ``(H * W, 8 * len(dilations))`` int32."""
    # padding takes no integers, and float32 has none beyond 2**24, which _TABLE_ENTRIES keeps out
    pixels = torch.arange(image_hw[0] * image_hw[1], dtype=torch.float32).view(1, 1, *image_hw)
    return torch.stack([other.flatten().to(torch.int32) for other in _neighbours(pixels, dilations)], dim=1)


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
