"""Pixel-adaptive mask refinement: class borders pulled towards the edges of the image.

The refinement is linear in the scores and acts on each channel alone, so channels are worked on in chunks that stay in the
processor's cache; the result does not depend on the chunk. In a step each pixel sums its neighbours' rows of channels: on a CPU
as an embedding bag, which torch does in one fused kernel, on a GPU in a kernel of our own. Where neither can be had, or the table
of neighbours would be large, a step is shifted views.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from fiftyone_resclip.errors import ConfigError, ShapeError

logger = logging.getLogger(__name__)

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
        self._image_hw = (image.shape[2], image.shape[3])
        self._weights = affinity(image, dilations)
        self._table: Tensor | None = None
        if image.device.type == "cpu" and self._weights[0].numel() <= _TABLE_ENTRIES:
            self._table = _neighbour_table(self._image_hw, self.dilations)
        self._by_rows = self._table is not None or _kernel_works(image.device)
        if self._by_rows:
            self._weights = self._weights.flatten(2).transpose(1, 2).contiguous()

    def __call__(self, scores: Tensor) -> Tensor:
        """Refines channels, ``(B, c, H, W)`` -> the same float32; fastest for :data:`CHANNELS_AT_ONCE`, channels last."""
        if not self._by_rows or self.steps == 0:
            return self._shifted(scores.float())
        pixels = scores.float().permute(0, 2, 3, 1).flatten(1, 2).contiguous()
        refined, spare = torch.empty_like(pixels), torch.empty_like(pixels)
        for steps_left in range(self.steps, 0, -1):  # between two buffers, so that memory does not grow
            target = refined if steps_left % 2 else spare
            self._gather(pixels, target)
            pixels = target
        channels_first: Tensor = refined.unflatten(1, self._image_hw).permute(0, 3, 1, 2)
        return channels_first

    def _gather(self, pixels: Tensor, target: Tensor) -> None:
        """Does a step: every pixel is a row of channels, ``(B, H * W, c)``."""
        if self._table is None:
            from fiftyone_resclip.core.kernels import triton_pamr

            triton_pamr.gather(pixels, self._weights, self._image_hw, _offsets(self.dilations), target)
            return
        for image, *wholes in zip(pixels, target, self._weights, strict=True):
            parts = (whole.split(_PIXELS_AT_ONCE) for whole in (*wholes, self._table))
            for part, weights, neighbours in zip(*parts, strict=True):
                part.copy_(functional.embedding_bag(neighbours, image, per_sample_weights=weights, mode="sum"))

    def _shifted(self, scores: Tensor) -> Tensor:
        for _ in range(self.steps):
            scores = _shifted_step(scores, self._weights, self.dilations)
        return scores


def _shifted_step(scores: Tensor, weights: Tensor, dilations: Sequence[int]) -> Tensor:
    """A step as shifted views: ``scores`` ``(B, c, H, W)``, ``weights`` from :func:`affinity`."""
    moved = torch.zeros_like(scores)
    for index, other in enumerate(_neighbours(scores, dilations)):
        moved.addcmul_(other, weights[:, index : index + 1])
    return moved


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
    for dy, dx in _offsets(dilations):
        yield padded[..., margin + dy : margin + dy + height, margin + dx : margin + dx + width]


def _offsets(dilations: Sequence[int]) -> list[tuple[int, int]]:
    """Rows and columns to each neighbour, dilation by dilation."""
    return [(dy * dilation, dx * dilation) for dilation in dilations for dy, dx in _NEIGHBOURS]


@cache
def _kernel_works(device: torch.device) -> bool:
    """Whether a device has the kernel, and it computes what shifted views do."""
    if device.type != "cuda":
        return False
    try:
        works, reason = _kernel_agrees(device), "it computes something else"
    except torch.cuda.OutOfMemoryError:  # says nothing of the kernel
        raise
    except Exception as error:  # Triton and the compiler behind it fail in ways of their own; shifted views always work
        works, reason = False, str(error)
    if not works:
        logger.warning("PAMR goes without its GPU kernel: %s", reason)
    return works


def _kernel_agrees(device: torch.device) -> bool:
    """Whether a step of the kernel is one of shifted views."""
    from fiftyone_resclip.core.kernels import triton_pamr

    image = torch.linspace(-2, 2, 3 * 9 * 11, device=device).view(1, 3, 9, 11).sin()
    weights, scores = affinity(image, (1, 4)), image.cos()
    rows, shares = (values.flatten(2).transpose(1, 2).contiguous() for values in (scores, weights))
    gathered = torch.empty_like(rows)
    triton_pamr.gather(rows, shares, (9, 11), _offsets((1, 4)), gathered)
    return torch.allclose(gathered.transpose(1, 2).view_as(scores), _shifted_step(scores, weights, (1, 4)), atol=1e-5)


def _sizes(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)
