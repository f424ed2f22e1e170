"""Sliding windows: where they lie, and how their cosines are put together again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from fiftyone_resclip.config import Window


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


def stitch(logits: Sequence[Tensor], boxes: Sequence[Box], image_hw: tuple[int, int]) -> Tensor:
    """Averages the windows' scores at every pixel.

    Args:
        logits: one ``(Q, h, w)`` per window, at patch resolution
        boxes: where the windows lie
        image_hw: height and width of the result in pixels

    Returns:
        ``(Q, H, W)`` float32
    """
    total = torch.zeros(logits[0].shape[0], *image_hw, device=logits[0].device)
    count = torch.zeros(image_hw, device=logits[0].device)
    for scores, box in zip(logits, boxes, strict=True):
        total[:, box.rows, box.columns] += upsample(scores[None], (box.bottom - box.top, box.right - box.left))[0]
        count[box.rows, box.columns] += 1
    return total / count


def _spans(side: int, window: Window) -> list[tuple[int, int]]:
    steps = max(-(-(side - window.crop_px) // window.stride_px), 0) + 1
    ends = [min(i * window.stride_px + window.crop_px, side) for i in range(steps)]
    return [(max(end - window.crop_px, 0), end) for end in ends]
