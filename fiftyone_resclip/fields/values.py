"""Encodes, relabels and resizes masks as plain arrays. Uses only numpy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.integer]

_BYTE_VALUES = np.arange(256)


def value_codes(mask: Mask) -> tuple[Mask, Mask]:
    """Replaces the values of a mask with small non-negative integers.

    Args:
        mask: any shape and integer type

    Returns:
        candidate values, ``(V,)``, ascending, some of which may not occur; and for each pixel the index of its value in them
    """
    if mask.dtype == np.uint8 or not mask.size:
        return _BYTE_VALUES, mask
    lowest, highest = int(mask.min()), int(mask.max())
    if highest - lowest >= 2**16:  # colours
        values, codes = np.unique(mask, return_inverse=True)
        return values, codes.reshape(mask.shape)
    offsets = mask.astype(np.int64) - lowest
    present = np.flatnonzero(np.bincount(offsets.ravel()))
    table = np.zeros(highest - lowest + 1, dtype=np.int64)
    table[present] = np.arange(len(present))
    return present + lowest, table[offsets]


def relabel(mask: Mask, new_values: Mapping[int, int], otherwise: int) -> NDArray[np.int64]:
    """Replaces each value of a mask.

    Args:
        mask: ``(H, W)`` integers
        new_values: new value by old value
        otherwise: new value for all other values

    Returns:
        ``(H, W)`` int64
    """
    values, codes = value_codes(mask)
    table = np.array([new_values.get(value, otherwise) for value in values.tolist()], dtype=np.int64)
    relabelled: NDArray[np.int64] = table[codes]
    return relabelled


def resize(mask: Mask, image_hw: tuple[int, ...]) -> Mask:
    """Resizes a mask by nearest neighbour, without changing its values or type.

    Args:
        mask: ``(H, W)``
        image_hw: height and width of the result

    Returns:
        ``image_hw``, same type
    """
    if mask.shape == tuple(image_hw):
        return mask
    rows, columns = (((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(image_hw, mask.shape, strict=True))
    resized: Mask = mask[rows[:, None], columns[None, :]]
    return resized
