"""Chooses a colour for each class."""

from __future__ import annotations

import colorsys


def palette(n_classes: int) -> list[str]:
    """Returns colours that are easy to tell apart; the same number always returns the same colours.

    Args:
        n_classes: number of colours

    Returns:
        hex colours such as ``"#e6194b"``
    """
    golden_ratio = 0.61803398875
    rings = ((0.85, 0.95), (0.55, 0.80), (0.95, 0.65))
    result = []
    for index in range(n_classes):
        saturation, value = rings[index % len(rings)]
        rgb = colorsys.hsv_to_rgb((0.02 + index * golden_ratio) % 1, saturation, value)
        result.append("#" + "".join(f"{round(255 * part):02x}" for part in rgb))
    return result
