"""Shows why a patch got its label: what it attends to in each part of the method."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fiftyone_resclip.clip.backbone import Trunk
from fiftyone_resclip.core.text import Words
from fiftyone_resclip.core.windows import Box, window_boxes
from fiftyone_resclip.segmenter import ResCLIP


class AttentionRows(NamedTuple):
    """How much one patch attends to each patch of its window, averaged over the heads.

    Attributes:
        box: the window, in pixels of the image
        patch: row and column of the patch in the window's grid
        rcs: mean attention of the earlier blocks, ``(h, w)`` in [0, 1]; ``None`` without RCS
        sfr: the feedback of the first segmentation, ``(h, w)`` in [0, 1]; ``None`` without SFR
        final: attention of the last block, with RCS and SFR applied, ``(h, w)``; with the class token, it sums to RCS's gain
    """

    box: Box
    patch: tuple[int, int]
    rcs: Tensor | None
    sfr: Tensor | None
    final: Tensor


class _Observed(ResCLIP):
    """The method, which also remembers the inputs of its last block in the final pass."""

    given: tuple[Trunk, Tensor | None, Tensor | None]

    def __init__(self, method: ResCLIP) -> None:
        self.__dict__.update(vars(method))

    def last_block(
        self, trunk: Trunk, text_features: Tensor | Words, *, residual: Tensor | None = None, feedback: Tensor | None = None
    ) -> Tensor:
        """Runs the last block and remembers its inputs."""
        self.given = trunk, residual, feedback
        return super().last_block(trunk, text_features, residual=residual, feedback=feedback)


@torch.inference_mode()
def attention_rows(segmenter: ResCLIP, image: Tensor, point: tuple[float, float]) -> AttentionRows:
    """Returns the attention of the patch at a point, in the window whose centre is nearest to the point.

    Args:
        segmenter: the method with its words, which SFR depends on
        image: the image at network size, ``(3, H, W)`` uint8
        point: row and column in pixels of the image

    Returns:
        one row of attention for each part of the method
    """
    box = _nearest_box(window_boxes((image.shape[1], image.shape[2]), segmenter.config.window), point)
    observed = _Observed(segmenter)
    observed.logits(segmenter.backbone.normalise(image[None, :, box.rows, box.columns]), segmenter.text_features)
    trunk, residual, feedback = observed.given
    patch = _patch_at(box, point, trunk.grid_hw)
    token = 1 + patch[0] * trunk.grid_hw[1] + patch[1]

    def row(attn: Tensor) -> Tensor:
        mean = attn[0, :, token, 1:].float().mean(dim=0)
        return mean.view(trunk.grid_hw)

    return AttentionRows(
        box,
        patch,
        rcs=None if residual is None else row(residual),
        sfr=None if feedback is None else row(feedback[:, None]),
        final=row(segmenter.attention(trunk, residual=residual, feedback=feedback)),
    )


def _nearest_box(boxes: list[Box], point: tuple[float, float]) -> Box:
    def distance(box: Box) -> float:
        return ((box.top + box.bottom) / 2 - point[0]) ** 2 + ((box.left + box.right) / 2 - point[1]) ** 2

    return min(boxes, key=distance)


def _patch_at(box: Box, point: tuple[float, float], grid_hw: tuple[int, int]) -> tuple[int, int]:
    """The patch that contains a point. As for the scores, the grid of patches is stretched over the whole window."""
    sides = (box.bottom - box.top, box.right - box.left)
    starts = (box.top, box.left)
    row, column = (
        min(max(int((place - start) / side * count), 0), count - 1)
        for place, start, side, count in zip(point, starts, sides, grid_hw, strict=True)
    )
    return row, column
