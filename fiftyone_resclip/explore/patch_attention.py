"""Why a patch got its label: what it attends to in each part of the method."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fiftyone_resclip.core.feedback import feedback_map
from fiftyone_resclip.core.text import cosines
from fiftyone_resclip.core.windows import Box, window_boxes
from fiftyone_resclip.segmenter import ResCLIP


class AttentionRows(NamedTuple):
    """How much one patch attends to each patch of its window, mean over heads.

    Attributes:
        box: the window, in pixels of the image
        patch: row and column of the patch in the window's grid
        rcs: mean attention of the earlier blocks, ``(h, w)`` in [0, 1]; ``None`` without RCS
        sfr: the feedback of the first segmentation, ``(h, w)`` in [0, 1]; ``None`` without SFR
        final: attention of the last block with all in it, ``(h, w)``; the whole row, class token included, sums to RCS's gain
    """

    box: Box
    patch: tuple[int, int]
    rcs: Tensor | None
    sfr: Tensor | None
    final: Tensor


@torch.inference_mode()
def attention_rows(segmenter: ResCLIP, image: Tensor, point: tuple[float, float]) -> AttentionRows:
    """Gives the attention of the patch at a point; where windows overlap, in the one whose centre is nearest.

    Args:
        segmenter: the method with its words; SFR depends on them
        image: at network size, ``(3, H, W)`` uint8
        point: row and column in pixels of the image

    Returns:
        the rows
    """
    box = _nearest_box(window_boxes((image.shape[1], image.shape[2]), segmenter.config.window), point)
    pixels = segmenter.backbone.normalise(image[None, :, box.rows, box.columns])
    trunk, sfr = segmenter.trunk(pixels), segmenter.config.sfr
    feedback = None
    if sfr is not None:
        draft = cosines(segmenter.last_block(trunk), segmenter.text_features, trunk.grid_hw)
        feedback = feedback_map(draft, pixels, segmenter.backbone.patch_px, sfr, segmenter.config.logit_scale)
    patch = _patch_at(box, point, trunk.grid_hw)
    token = 1 + patch[0] * trunk.grid_hw[1] + patch[1]

    maps = (trunk.attention_map, None if feedback is None else feedback[:, None], segmenter.attention(trunk, feedback))
    rcs, fed, final = (None if m is None else m[0, :, token, 1:].float().mean(dim=0).unflatten(0, trunk.grid_hw) for m in maps)
    assert final is not None
    return AttentionRows(box, patch, rcs, fed, final)


def _nearest_box(boxes: list[Box], point: tuple[float, float]) -> Box:
    def distance(box: Box) -> float:
        return ((box.top + box.bottom) / 2 - point[0]) ** 2 + ((box.left + box.right) / 2 - point[1]) ** 2

    return min(boxes, key=distance)


def _patch_at(box: Box, point: tuple[float, float], grid_hw: tuple[int, int]) -> tuple[int, int]:
    """The patch a point lies in; scores are stretched over the whole window, and so are patches here."""
    sides = (box.bottom - box.top, box.right - box.left)
    starts = (box.top, box.left)
    row, column = (
        min(max(int((place - start) / side * count), 0), count - 1)
        for place, start, side, count in zip(point, starts, sides, grid_hw, strict=True)
    )
    return row, column
