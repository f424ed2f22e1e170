"""One step of PAMR on a GPU as a Triton kernel. Importing this module needs Triton, which comes with torch's GPU builds."""

# mypy: allow-untyped-decorators

from __future__ import annotations

from functools import lru_cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from fiftyone_resclip.core import pamr
from fiftyone_resclip.core.kernels.gathered_pamr import Gather

_BLOCK_PIXELS, _BLOCK_CHANNELS = 64, 32


def by_kernel(image_hw: tuple[int, int], dilations: tuple[int, ...]) -> Gather:
    """Returns the function that runs one step on a GPU.

    Args:
        image_hw: height and width in pixels
        dilations: neighbour distances in pixels

    Returns:
        the step function, for contiguous float32 tensors
    """
    offsets = tuple(pamr.offsets(dilations))

    def gather(pixels: Tensor, weights: Tensor, result: Tensor) -> None:
        images, places, channels = pixels.shape
        grid = (triton.cdiv(places, _BLOCK_PIXELS), images, triton.cdiv(channels, _BLOCK_CHANNELS))
        table = _offset_table(offsets, pixels.device)
        with torch.cuda.device_of(pixels):  # Triton launches on the current GPU, even if the tensors are on another
            _gather[grid](pixels, weights, table, result, *image_hw, channels, len(offsets), _BLOCK_PIXELS, _BLOCK_CHANNELS)

    return gather


@triton.jit
def _gather(  # type: ignore[no-untyped-def]  # Triton parses annotations itself and supports few
    pixels,
    weights,
    offsets,
    result,
    height,
    width,
    channels,
    neighbours: tl.constexpr,
    block_pixels: tl.constexpr,
    block_channels: tl.constexpr,
):
    places = height * width
    place = tl.program_id(0) * block_pixels + tl.arange(0, block_pixels)
    first = tl.program_id(1).to(tl.int64) * places
    channel = tl.program_id(2) * block_channels + tl.arange(0, block_channels)
    inside = place < places
    wanted = inside[:, None] & (channel < channels)[None, :]
    row, column = place // width, place % width
    total = tl.zeros((block_pixels, block_channels), dtype=tl.float32)
    for number in range(neighbours):
        other_row = tl.minimum(tl.maximum(row + tl.load(offsets + 2 * number), 0), height - 1)
        other_column = tl.minimum(tl.maximum(column + tl.load(offsets + 2 * number + 1), 0), width - 1)
        other = first + other_row * width + other_column
        weight = tl.load(weights + (first + place) * neighbours + number, mask=inside, other=0.0)
        total += weight[:, None] * tl.load(pixels + other[:, None] * channels + channel[None, :], mask=wanted, other=0.0)
    tl.store(result + (first + place)[:, None] * channels + channel[None, :], total, mask=wanted)


@lru_cache(maxsize=8)
def _offset_table(offsets: tuple[tuple[int, int], ...], device: torch.device) -> Tensor:
    return torch.tensor(offsets, dtype=torch.int32, device=device)
