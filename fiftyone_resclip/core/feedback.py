"""SFR, the second addition of ResCLIP: turns the first segmentation into a matrix that shows which patches belong together.

Each image is processed on its own: the result does not depend on the other images in a batch.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from fiftyone_resclip.config import PAMR, SFR
from fiftyone_resclip.core import kernels, pamr
from fiftyone_resclip.core.labels import likeliest
from fiftyone_resclip.core.path_rule import decay
from fiftyone_resclip.core.windows import upsample


def feedback_map(draft: Tensor, pixels: Tensor, patch_px: int, sfr: SFR, logit_scale: float) -> Tensor:
    """Turns the first segmentation into a matrix that is large where two patches belong together.

    Args:
        draft: cosines of the first pass, ``(B, Q, h, w)``
        pixels: the normalised image, ``(B, 3, H, W)``
        patch_px: side of a patch in pixels
        sfr: the settings
        logit_scale: factor before the softmax over phrases

    Returns:
        ``(B, N, N)`` in the dtype of ``draft``, in [0, 1], maximum 1 per image; row and column of the class token are 0

    Differs:
        the release divides by the maximum over the batch and rounds to float16; here each image is divided by its own maximum,
        in full precision
    """
    at_once = draft.shape[0] if draft.device.type == "cuda" else 1  # the CPU's cache holds one image
    parts = zip(draft.split(at_once), pixels.split(at_once), strict=True)
    return torch.cat([_feedback_map(*part, patch_px, sfr, logit_scale) for part in parts])


def _feedback_map(draft: Tensor, pixels: Tensor, patch_px: int, sfr: SFR, logit_scale: float) -> Tensor:
    """Does the work of :func:`feedback_map` for images that are computed together."""
    labels = patch_labels(draft, pixels, patch_px, sfr, logit_scale)
    matrix = blurred_rows(agreement(labels, path_rule=sfr.path_rule), sfr.sigma)
    matrix = matrix / matrix.amax(dim=(1, 2), keepdim=True)
    return functional.pad(matrix, (1, 0, 1, 0)).to(draft.dtype)


def patch_labels(draft: Tensor, pixels: Tensor, patch_px: int, sfr: SFR, logit_scale: float) -> Tensor:
    """Labels each patch with the most frequent phrase among its pixels in the refined draft.

    Args:
        draft: cosines of the first pass, ``(B, Q, h, w)``
        pixels: the normalised image, ``(B, 3, H, W)``
        patch_px: side of a patch in pixels
        sfr: the settings; pixels less certain than ``sfr.threshold`` count as phrase 0
        logit_scale: factor before the softmax over phrases

    Returns:
        phrase index per patch, ``(B, h, w)`` int64; a tie goes to the smaller index
    """
    phrase, confidence = kernels.settled_phrases(draft, pixels, sfr, patch_px, logit_scale)
    return most_frequent(phrase.masked_fill(confidence < sfr.threshold, 0), patch_px, draft.shape[1])


def draft_phrases(draft: Tensor, pixels: Tensor, setting: PAMR | None, logit_scale: float) -> tuple[Tensor, Tensor]:
    """Finds the likeliest phrase of each pixel in the draft, after PAMR.

    Args:
        draft: cosines of the first pass, ``(B, Q, h, w)``
        pixels: the normalised image, ``(B, 3, H, W)``
        setting: settings of PAMR; ``None`` skips it
        logit_scale: factor before the softmax over phrases

    Returns:
        phrase index, ``(B, H, W)`` int64, and its probability, ``(B, H, W)`` float32
    """
    scores = upsample(draft * logit_scale, (pixels.shape[2], pixels.shape[3]))  # PAMR is linear, so scaling may come first
    if setting is not None:
        scores = pamr.refine(scores, pixels, steps=setting.steps, dilations=setting.dilations)
    return likeliest(scores, dim=1)


def most_frequent(labels: Tensor, patch_px: int, n_labels: int) -> Tensor:
    """Returns the most frequent label of each patch; a tie goes to the smaller label.

    Pixels beyond the last whole patch are left out.

    Args:
        labels: ``(B, H, W)`` int64 in ``[0, n_labels)``
        patch_px: side of a patch in pixels
        n_labels: number of labels

    Returns:
        ``(B, H // patch_px, W // patch_px)`` int64
    """
    batch, rows, columns = labels.shape[0], labels.shape[1] // patch_px, labels.shape[2] // patch_px
    patches = labels[:, : rows * patch_px, : columns * patch_px].unflatten(2, (columns, patch_px)).unflatten(1, (rows, patch_px))
    patches = patches.transpose(2, 3).flatten(3)
    counts = torch.zeros(batch, rows, columns, n_labels, dtype=torch.int32, device=labels.device)
    counts.scatter_add_(3, patches, torch.ones_like(patches, dtype=torch.int32))
    return counts.argmax(dim=3)


def agreement(labels: Tensor, *, path_rule: bool) -> Tensor:
    """Scores how well patches agree: 1 for equal labels, less if the line between two such patches crosses another label.

    Args:
        labels: ``(B, h, w)`` int64
        path_rule: whether lines are checked; a broken one weighs ``exp(-distance / longest distance)``

    Returns:
        ``(B, P, P)`` float32 in [0, 1], diagonal 1; not symmetric with the path rule
    """
    grid_hw = (labels.shape[1], labels.shape[2])
    flat = labels.flatten(1)
    same = flat[:, :, None] == flat[:, None, :]
    if not path_rule or max(grid_hw) == 1:
        return same.float()
    return torch.where(kernels.broken_lines(labels) & same, decay(grid_hw, labels.device), same.float())


def blurred_rows(matrix: Tensor, sigma: float) -> Tensor:
    """Blurs each row along the flattened patch index, crossing the ends of patch rows, and normalises its sum to one.

    Args:
        matrix: ``(B, P, P)``, not negative
        sigma: standard deviation, in patches

    Returns:
        ``(B, P, P)``
    """
    patches = matrix.shape[-1]
    taps = min(int(6 * sigma + 1), patches)
    taps += 1 - taps % 2
    offsets = torch.arange(taps, dtype=matrix.dtype, device=matrix.device) - taps // 2
    kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
    blurred = functional.conv1d(matrix.reshape(-1, 1, patches), (kernel / kernel.sum()).view(1, 1, -1), padding=taps // 2)
    blurred = blurred.view_as(matrix)
    return blurred / (blurred.sum(dim=-1, keepdim=True) + 1e-8)
