"""Sliding windows: where they lie, and how their scores are put together again.

Up-sampling, averaging and resizing are linear, and windows lie in rows and columns. So a pixel is a sum over patches with shares
that depend on its row and its column apart, and any part of the result can be had without the rest: 150 classes on a large
photograph need no large tensor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from fiftyone_resclip.config import Window
from fiftyone_resclip.core.kernels.transfer import sent

#: Values in a tile, and its columns, by kind of device: small for a processor's cache, large where each step costs a launch.
_TILES = {"cpu": (2**18, 128), "cuda": (2**24, 2**14)}


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
    """Places windows over an image, row by row; the last of a row or column is shifted back inside.

    Args:
        image_hw: height and width in pixels
        window: size and stride; ``None`` gives one window, the whole image

    Returns:
        boxes that together cover every pixel; a side shorter than the window gives a shorter box

    Source:
        the sliding inference of mmsegmentation, as the published numbers use it
    """
    if window is None:
        return [Box(0, 0, *image_hw)]
    spans = [_spans(side, window) for side in image_hw]
    return [Box(top, left, bottom, right) for top, bottom in spans[0] for left, right in spans[1]]


def upsample(logits: Tensor, out_hw: tuple[int, int]) -> Tensor:
    """Resizes scores bilinearly (``align_corners=False``), stretched over the whole output.

    Args:
        logits: ``(B, Q, h, w)``
        out_hw: height and width of the result

    Returns:
        ``(B, Q, H, W)`` float32
    """
    return functional.interpolate(logits.float(), size=out_hw, mode="bilinear", align_corners=False)


class Mosaic(NamedTuple):
    """The scores of an image, not yet put together.

    Attributes:
        patches: scores of all windows' patches, top to bottom and left to right, ``(rows, Q, columns)`` float32
        row_shares: how much of each patch row is in each pixel row, ``(rows, H)`` float32 on the CPU
        column_shares: likewise for columns, ``(columns, W)``
    """

    patches: Tensor
    row_shares: Tensor
    column_shares: Tensor

    @classmethod
    def of(cls, scores: Tensor) -> Mosaic:
        """Takes scores that are whole already, ``(Q, H, W)``."""
        rows, columns = (torch.eye(side) for side in scores.shape[1:])
        return cls(scores.float().transpose(0, 1), rows, columns)

    @property
    def image_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.row_shares.shape[1], self.column_shares.shape[1]

    def cropped(self, image_hw: tuple[int, int]) -> Mosaic:
        """Leaves out what lies below and to the right of a size."""
        return self._replace(row_shares=self.row_shares[:, : image_hw[0]], column_shares=self.column_shares[:, : image_hw[1]])

    def resized(self, image_hw: tuple[int, int]) -> Mosaic:
        """Resizes bilinearly (``align_corners=False``); costs next to nothing."""
        shares = zip((self.row_shares, self.column_shares), image_hw, strict=True)
        return Mosaic(self.patches, *(_stretched(lines, side) for lines, side in shares))

    def tiles(self) -> Iterator[tuple[slice, slice, Tensor]]:
        """Puts the image together tile by tile, in tiles that a processor's cache holds.

        Yields:
            the tile's rows, its columns, its scores ``(rows, Q, columns)``
        """
        device = self.patches.device
        values, width = _TILES["cpu" if device.type == "cpu" else "cuda"]
        for columns in _slices(self.image_hw[1], width):
            used, shares = _in_use(self.column_shares[:, columns])
            strip = self.patches[..., used] @ sent(shares, device)
            for rows in _slices(self.image_hw[0], max(values // strip[0].numel(), 1)):
                used, shares = _in_use(self.row_shares[:, rows])
                scores = sent(shares.T, device) @ strip[used].flatten(1)
                yield rows, columns, scores.unflatten(1, strip.shape[1:])

    def whole(self) -> Tensor:
        """Puts the image together, ``(Q, H, W)`` float32."""
        result = torch.empty(self.patches.shape[1], *self.image_hw, device=self.patches.device)
        for rows, columns, scores in self.tiles():
            result[:, rows, columns] = scores.transpose(0, 1)
        return result


def stitch(logits: Sequence[Tensor], boxes: Sequence[Box], image_hw: tuple[int, int]) -> Mosaic:
    """Averages the windows' scores at every pixel.

    Args:
        logits: one ``(Q, h, w)`` per window, at patch resolution
        boxes: where the windows lie, as :func:`window_boxes` gives them
        image_hw: height and width of the result in pixels

    Returns:
        the scores, to be had at any size
    """
    row_spans = list(dict.fromkeys((box.top, box.bottom) for box in boxes))
    column_spans = list(dict.fromkeys((box.left, box.right) for box in boxes))
    patches = torch.stack(list(logits)).float().unflatten(0, (len(row_spans), len(column_spans)))
    rows, row_shares = _lines(row_spans, patches.shape[3], image_hw[0])
    columns, column_shares = _lines(column_spans, patches.shape[4], image_hw[1])
    side_by_side = patches.permute(0, 3, 2, 1, 4).flatten(3, 4).flatten(0, 1)
    rows, columns = (sent(order, patches.device) for order in (rows, columns))
    return Mosaic(side_by_side[rows][..., columns], row_shares, column_shares)


def _lines(spans: Sequence[tuple[int, int]], patches: int, side: int) -> tuple[Tensor, Tensor]:
    """The order of all windows' patch lines along a side, and the share of each in each pixel line, ``(lines, side)``."""
    shares = torch.zeros(len(spans), patches, side)
    for share, (start, end) in zip(shares, spans, strict=True):
        share[:, start:end] = _stretched(torch.eye(patches), end - start)
    centres = [start + (patch + 0.5) * (end - start) / patches for start, end in spans for patch in range(patches)]
    order = torch.tensor(centres).argsort(stable=True)
    return order, (shares / shares.sum(dim=(0, 1))).flatten(0, 1)[order]


def _stretched(lines: Tensor, side: int) -> Tensor:
    return upsample(lines[None, None], (len(lines), side))[0, 0]


def _in_use(shares: Tensor) -> tuple[slice, Tensor]:
    """The lines from the first to the last that have a share, and their shares."""
    lines = shares.any(dim=1).nonzero()
    used = slice(int(lines[0]), int(lines[-1]) + 1)
    return used, shares[used]


def _slices(length: int, step: int) -> Iterator[slice]:
    return (slice(start, min(start + step, length)) for start in range(0, length, step))


def _spans(side: int, window: Window) -> list[tuple[int, int]]:
    steps = max(-(-(side - window.crop_px) // window.stride_px), 0) + 1
    ends = [min(i * window.stride_px + window.crop_px, side) for i in range(steps)]
    return [(max(end - window.crop_px, 0), end) for end in ends]
