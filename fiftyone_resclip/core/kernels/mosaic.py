"""Stitches, resizes and crops scores without large tensors.

Upsampling, averaging and resizing are linear, and windows form rows and columns. So each pixel is a weighted sum of patches, and
each weight is a row share times a column share. Any part of the result can be computed without the rest: 150 classes on a large
photograph need no large tensor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fiftyone_resclip.core.transfer import sent
from fiftyone_resclip.core.windows import Box, slices, upsample

#: Values and columns per tile, by device type: small enough for a CPU's cache, large on a GPU, where each launch costs time.
_TILES = {"cpu": (2**18, 128), "cuda": (2**24, 2**14)}


class Mosaic(NamedTuple):
    """The scores of an image, kept as patches; pixels are computed on demand.

    It implements :class:`fiftyone_resclip.core.windows.ResizableScores`.

    Attributes:
        patches: scores of all windows' patches, top to bottom and left to right, ``(rows, Q, columns)`` float32
        row_shares: the share of each patch row in each pixel row, ``(rows, H)`` float32 on the CPU
        column_shares: the same for columns, ``(columns, W)``
    """

    patches: Tensor
    row_shares: Tensor
    column_shares: Tensor

    @property
    def phrases(self) -> int:
        """Number of phrases."""
        return self.patches.shape[1]

    @property
    def image_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.row_shares.shape[1], self.column_shares.shape[1]

    @property
    def device(self) -> torch.device:
        """Where the scores are."""
        return self.patches.device

    def scaled(self, factor: float) -> Mosaic:
        """Multiplies all scores; only patch scores are computed, not those of every pixel."""
        return self._replace(patches=self.patches * factor)

    def part(self, phrases: slice, rows: slice | Tensor, columns: slice | Tensor) -> Mosaic:
        """Returns the scores of some phrases in some rows and columns of the image; costs next to nothing."""
        return Mosaic(self.patches[:, phrases], self.row_shares[:, rows], self.column_shares[:, columns])

    def resized(self, image_hw: tuple[int, int]) -> Mosaic:
        """Resizes bilinearly (``align_corners=False``); costs next to nothing."""
        shares = zip((self.row_shares, self.column_shares), image_hw, strict=True)
        return Mosaic(self.patches, *(_stretched(lines, side) for lines, side in shares))

    def tiles(self, size: tuple[int, int] | None = None) -> Iterator[tuple[slice, slice, Tensor]]:
        """Yields each tile's rows, its columns, and its scores ``(rows, Q, columns)``.

        Args:
            size (None): maximum number of values per tile, and its columns; by default chosen for the device
        """
        device = self.device
        values, width = size or _TILES["cpu" if device.type == "cpu" else "cuda"]
        for columns in slices(self.image_hw[1], width):
            used, shares = _in_use(self.column_shares[:, columns])
            strip = self.patches[..., used] @ sent(shares, device)
            for rows in slices(self.image_hw[0], max(values // strip[0].numel(), 1)):
                used, shares = _in_use(self.row_shares[:, rows])
                scores = sent(shares.T, device) @ strip[used].flatten(1)
                yield rows, columns, scores.unflatten(1, strip.shape[1:])

    def exact(self, rows: Tensor, columns: Tensor, phrases: Tensor) -> Tensor:
        """Computes single scores in float64, always in the same order, so that they do not depend on what else is computed.

        Args:
            rows: row of each pixel, ``(n,)`` int64
            columns: column of each pixel, ``(n,)`` int64
            phrases: phrases wanted of each pixel, ``(n, k)`` int64

        Returns:
            ``(n, k)`` float64; equal patches and shares give equal scores
        """
        total = torch.zeros(phrases.shape, dtype=torch.float64)
        for row, row_share in _lines_of(self.row_shares, rows):
            along = torch.zeros_like(total)
            for column, column_share in _lines_of(self.column_shares, columns):
                along += column_share * self.patches[row, phrases, column]
            total += row_share * along
        return total

    def whole(self) -> Tensor:
        """Returns all scores, ``(Q, H, W)`` float32."""
        result = torch.empty(self.patches.shape[1], *self.image_hw, device=self.device)
        for rows, columns, scores in self.tiles():
            result[:, rows, columns] = scores.transpose(0, 1)
        return result


def stitch(logits: Sequence[Tensor], boxes: Sequence[Box], image_hw: tuple[int, int]) -> Mosaic:
    """Averages the windows' scores at every pixel, as :func:`fiftyone_resclip.core.windows.stitch` does.

    Args:
        logits: one ``(Q, h, w)`` per window, at patch resolution
        boxes: the windows, which must form rows and columns
        image_hw: height and width of the result in pixels

    Returns:
        the scores, ready to be computed at any size
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
    """Returns the order of all windows' patch lines along a side, and the share of each in each pixel line, ``(lines, side)``."""
    shares = torch.zeros(len(spans), patches, side)
    for share, (start, end) in zip(shares, spans, strict=True):
        share[:, start:end] = _stretched(torch.eye(patches), end - start)
    centres = [start + (patch + 0.5) * (end - start) / patches for start, end in spans for patch in range(patches)]
    order = torch.tensor(centres).argsort(stable=True)
    return order, (shares / shares.sum(dim=(0, 1))).flatten(0, 1)[order]


def _stretched(lines: Tensor, side: int) -> Tensor:
    return upsample(lines[None, None], (len(lines), side))[0, 0]


def _lines_of(shares: Tensor, pixels: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Returns the lines with a share in each pixel, ascending, and that share in float64, both ``(n, 1)``; others fill up."""
    own = shares[:, pixels].T
    lines = (own == 0).short().argsort(dim=1, stable=True)[:, : int(own.count_nonzero(dim=1).max())]
    return list(zip(lines.split(1, dim=1), own.gather(1, lines).double().split(1, dim=1), strict=True))


def _in_use(shares: Tensor) -> tuple[slice, Tensor]:
    """Returns the range from the first to the last line with a share, and the shares in it."""
    lines = shares.any(dim=1).nonzero()
    used = slice(int(lines[0]), int(lines[-1]) + 1)
    return used, shares[used]
