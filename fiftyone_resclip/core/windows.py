"""Sliding windows: places them over an image, and combines their scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from fiftyone_resclip.config import Window

#: Values per tile: small enough that work on a tile stays in the CPU's cache.
_TILE_VALUES = 2**18


class Box(NamedTuple):
    """A window in pixels; bottom and right are exclusive."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def rows(self) -> slice:
        """The rows inside."""
        return slice(self.top, self.bottom)

    @property
    def columns(self) -> slice:
        """The columns inside."""
        return slice(self.left, self.right)


def window_boxes(image_hw: tuple[int, int], window: Window | None) -> list[Box]:
    """Places windows over an image, row by row; the last window of a row or column is shifted back inside the image.

    Args:
        image_hw: height and width in pixels
        window: size and stride; ``None`` for one window over the whole image

    Returns:
        boxes that together cover every pixel; where the image is smaller than the window, the box is smaller too

    Source:
        the sliding inference of mmsegmentation, as the published numbers use it
    """
    if window is None:
        return [Box(0, 0, *image_hw)]
    spans = [_spans(side, window) for side in image_hw]
    return [Box(top, left, bottom, right) for top, bottom in spans[0] for left, right in spans[1]]


def upsample(logits: Tensor, out_hw: tuple[int, int]) -> Tensor:
    """Resizes scores bilinearly (``align_corners=False``).

    Args:
        logits: ``(B, Q, h, w)``
        out_hw: height and width of the result

    Returns:
        ``(B, Q, H, W)`` float32
    """
    return functional.interpolate(logits.float(), size=out_hw, mode="bilinear", align_corners=False)


class Scores(Protocol):
    """The scores of an image. They are read one tile at a time, so that a large result never has to be whole in memory."""

    @property
    def image_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""

    @property
    def device(self) -> torch.device:
        """Where the scores are."""

    def scaled(self, factor: float) -> Scores:
        """Multiplies all scores."""

    def tiles(self) -> Iterator[tuple[slice, slice, Tensor]]:
        """Yields each tile's rows, its columns, and its scores ``(rows, Q, columns)``."""

    def whole(self) -> Tensor:
        """Returns all scores, ``(Q, H, W)`` float32."""


class ResizableScores(Scores, Protocol):
    """Scores that can be resized, and of which parts can be taken."""

    @property
    def phrases(self) -> int:
        """Number of phrases."""

    def scaled(self, factor: float) -> ResizableScores:
        """Multiplies all scores."""

    def part(self, phrases: slice, rows: slice, columns: slice) -> ResizableScores:
        """Returns the scores of some phrases in a part of the image."""

    def resized(self, image_hw: tuple[int, int]) -> ResizableScores:
        """Resizes bilinearly (``align_corners=False``)."""


class WholeScores(NamedTuple):
    """Scores that are whole in memory: the plain form of :class:`ResizableScores`.

    Attributes:
        values: ``(Q, H, W)`` float32
    """

    values: Tensor

    @property
    def phrases(self) -> int:
        """Number of phrases."""
        return len(self.values)

    @property
    def image_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.values.shape[1], self.values.shape[2]

    @property
    def device(self) -> torch.device:
        """Where the scores are."""
        return self.values.device

    def scaled(self, factor: float) -> WholeScores:
        """Multiplies all scores."""
        return WholeScores(self.values * factor)

    def part(self, phrases: slice, rows: slice, columns: slice) -> WholeScores:
        """Returns the scores of some phrases in a part of the image."""
        return WholeScores(self.values[phrases, rows, columns])

    def resized(self, image_hw: tuple[int, int]) -> WholeScores:
        """Resizes bilinearly (``align_corners=False``)."""
        return WholeScores(upsample(self.values[None], image_hw)[0])

    def tiles(self) -> Iterator[tuple[slice, slice, Tensor]]:
        """Yields bands of rows: the rows, all columns, and the scores ``(rows, Q, columns)``."""
        height, width = self.image_hw
        for rows in slices(height, max(_TILE_VALUES // (width * len(self.values)), 1)):
            yield rows, slice(0, width), self.values[:, rows].transpose(0, 1)

    def whole(self) -> Tensor:
        """Returns all scores, ``(Q, H, W)``."""
        return self.values


def stitch(logits: Sequence[Tensor], boxes: Sequence[Box], image_hw: tuple[int, int]) -> WholeScores:
    """Averages the windows' scores at every pixel.

    Args:
        logits: one ``(Q, h, w)`` per window, at patch resolution
        boxes: the windows, from :func:`window_boxes`
        image_hw: height and width of the result in pixels

    Returns:
        the scores of the whole image
    """
    total = torch.zeros(logits[0].shape[0], *image_hw, device=logits[0].device)
    count = torch.zeros(image_hw, device=logits[0].device)
    for scores, box in zip(logits, boxes, strict=True):
        total[:, box.rows, box.columns] += upsample(scores[None], (box.bottom - box.top, box.right - box.left))[0]
        count[box.rows, box.columns] += 1
    return WholeScores(total / count)


def slices(length: int, step: int) -> Iterator[slice]:
    """Yields slices of at most ``step`` that together cover ``length``."""
    return (slice(start, min(start + step, length)) for start in range(0, length, step))


def _spans(side: int, window: Window) -> list[tuple[int, int]]:
    steps = max(-(-(side - window.crop_px) // window.stride_px), 0) + 1
    ends = [min(i * window.stride_px + window.crop_px, side) for i in range(steps)]
    return [(max(end - window.crop_px, 0), end) for end in ends]
