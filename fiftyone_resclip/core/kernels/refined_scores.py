"""Refines scores at image size one tile at a time, so that a large photograph with many phrases needs no large tensor.

A step of PAMR moves scores by one dilation at most. So a tile is exact if it is computed with a margin of all steps together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from fiftyone_resclip.core.windows import ResizableScores, WholeScores, slices

#: Refines channels of an image, ``(1, c, H, W)``; made from that image, ``(1, 3, H, W)``.
Refinement: TypeAlias = Callable[[Tensor], Tensor]

#: Values per tile, without its margin.
_TILE_VALUES = 2**25


class RefinedScores(NamedTuple):
    """The scores of an image after PAMR; they are computed on demand, and again each time.

    It implements :class:`fiftyone_resclip.core.windows.Scores`.

    Attributes:
        scores: the scores before PAMR, at the size of the result
        guide: the image at the same size, as scores of three phrases
        refinement: returns the function that refines channels of a part of the image
        margin_px: how far PAMR moves scores
        channels_at_once: phrases that are refined together
    """

    scores: ResizableScores
    guide: ResizableScores
    refinement: Callable[[Tensor], Refinement]
    margin_px: int
    channels_at_once: int

    @property
    def image_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.scores.image_hw

    @property
    def device(self) -> torch.device:
        """Where the scores are."""
        return self.scores.device

    def scaled(self, factor: float) -> RefinedScores:
        """Multiplies all scores; PAMR is linear."""
        return self._replace(scores=self.scores.scaled(factor))

    def tiles(self, side: int | None = None) -> Iterator[tuple[slice, slice, Tensor]]:
        """Yields each tile's rows, its columns, and its scores ``(rows, Q, columns)``.

        Args:
            side (None): pixels along a square that is refined at once; by default as many as a fixed amount of memory allows
        """
        side = side or max(math.isqrt(_TILE_VALUES // self.scores.phrases), 1)
        for rows in slices(self.image_hw[0], side):
            for columns in slices(self.image_hw[1], side):
                for band, _, scores in WholeScores(self._refined(rows, columns)).tiles():  # stays in a CPU's cache
                    yield slice(rows.start + band.start, rows.start + band.stop), columns, scores

    def whole(self) -> Tensor:
        """Returns all scores, ``(Q, H, W)`` float32."""
        return self._refined(*(slice(0, side) for side in self.image_hw))

    def _refined(self, rows: slice, columns: slice) -> Tensor:
        """Refines a tile, ``(Q, rows, columns)``."""
        wide = [_widened(part, self.margin_px, length) for part, length in zip((rows, columns), self.image_hw, strict=True)]
        inner = [
            slice(part.start - outer.start, part.stop - outer.start) for part, outer in zip((rows, columns), wide, strict=True)
        ]
        refine = self.refinement(self.guide.part(slice(0, 3), *wide).whole()[None])
        result = torch.empty(self.scores.phrases, rows.stop - rows.start, columns.stop - columns.start, device=self.device)
        for some in slices(self.scores.phrases, self.channels_at_once):
            result[some] = refine(self.scores.part(some, *wide).whole()[None])[0][:, inner[0], inner[1]]
        return result


def _widened(part: slice, margin: int, length: int) -> slice:
    return slice(max(part.start - margin, 0), min(part.stop + margin, length))
