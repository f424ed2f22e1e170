"""PAMR in which each pixel gathers the channels of its neighbours; on a CPU with torch's fused embedding-bag kernel."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache, lru_cache
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from fiftyone_resclip.core import pamr

logger = logging.getLogger(__name__)

#: Writes the weighted sum of each pixel's neighbours; takes pixels ``(B, H * W, c)``, weights ``(B, H * W, n)`` and the result.
Gather: TypeAlias = Callable[[Tensor, Tensor, Tensor], None]

_TABLE_ENTRIES = 2**25


class Refinement:
    """Refines the channels of one batch of images, a few at a time.

    Args:
        image: as for :func:`fiftyone_resclip.core.pamr.refine`
        steps: propagation steps, > 0
        dilations: neighbour distances in pixels
        gather: runs one step
    """

    def __init__(self, image: Tensor, steps: int, dilations: tuple[int, ...], gather: Gather) -> None:
        self._steps, self._gather = steps, gather
        self._weights = pamr.affinity(image, dilations).flatten(2).transpose(1, 2).contiguous()

    def __call__(self, scores: Tensor) -> Tensor:
        """Refines channels, ``(B, c, H, W)`` float32; returns the same shape. Channels-last memory is fastest."""
        pixels = scores.permute(0, 2, 3, 1).flatten(1, 2).contiguous()
        refined, spare = torch.empty_like(pixels), torch.empty_like(pixels)
        for steps_left in range(self._steps, 0, -1):  # alternates between two buffers, so that memory does not grow
            target = refined if steps_left % 2 else spare
            self._gather(pixels, self._weights, target)
            pixels = target
        channels_first: Tensor = refined.unflatten(1, scores.shape[2:]).permute(0, 3, 1, 2)
        return channels_first


def table_fits(image_hw: tuple[int, int], dilations: tuple[int, ...]) -> bool:
    """Returns whether the table of :func:`by_embedding_bag` is small enough for an image."""
    return image_hw[0] * image_hw[1] * 8 * len(dilations) <= _TABLE_ENTRIES


def by_embedding_bag(image_hw: tuple[int, int], dilations: tuple[int, ...], pixels_at_once: int = 8192) -> Gather:
    """Returns the function that runs one step on a CPU.

    Args:
        image_hw: height and width in pixels
        dilations: neighbour distances in pixels
        pixels_at_once (8192): pixels per call, few enough that results are still in the cache when they are copied

    Returns:
        the step function
    """
    table = _neighbour_table(image_hw, dilations)

    def gather(pixels: Tensor, weights: Tensor, result: Tensor) -> None:
        for image, *wholes in zip(pixels, result, weights, strict=True):
            parts = (whole.split(pixels_at_once) for whole in (*wholes, table))
            for part, shares, neighbours in zip(*parts, strict=True):
                part.copy_(functional.embedding_bag(neighbours, image, per_sample_weights=shares, mode="sum"))

    return gather


@lru_cache(maxsize=2)
def _neighbour_table(image_hw: tuple[int, int], dilations: tuple[int, ...]) -> Tensor:
    """Computes the flat indices of each pixel's neighbours, with repeated edges, ``(H * W, 8 * len(dilations))`` int32."""
    # padding does not support integers; float32 is exact up to 2**24, and _TABLE_ENTRIES keeps the indices below that
    pixels = torch.arange(image_hw[0] * image_hw[1], dtype=torch.float32).view(1, 1, *image_hw)
    return torch.stack([other.flatten().to(torch.int32) for other in pamr.neighbours(pixels, dilations)], dim=1)


@cache
def triton_works(device: torch.device) -> bool:
    """Returns whether :mod:`.triton_pamr` runs on a device and agrees with the formula; logs the reason if not.

    Raises:
        torch.cuda.OutOfMemoryError: if the device is full; that tells nothing about the kernel
    """
    try:
        works, reason = _triton_agrees(device), "its results are wrong"
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception as error:  # Triton and its compiler raise many error types; the formula always works
        works, reason = False, str(error)
    if not works:
        logger.warning("PAMR runs without its GPU kernel: %s", reason)
    return works


def _triton_agrees(device: torch.device) -> bool:
    from fiftyone_resclip.core.kernels import triton_pamr

    image = torch.linspace(-2, 2, 3 * 9 * 11, device=device).view(1, 3, 9, 11).sin()
    refinement = Refinement(image, 1, (1, 4), triton_pamr.by_kernel((9, 11), (1, 4)))
    expected = pamr.propagate(image.cos(), pamr.affinity(image, (1, 4)), (1, 4))
    return torch.allclose(refinement(image.cos()), expected, atol=1e-5)
