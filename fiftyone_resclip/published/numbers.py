"""Results from the paper, for comparison with our own; none of them was measured here."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from fiftyone_resclip.config import STRATEGIES, ResCLIPConfig
from fiftyone_resclip.presets import preset

_TABLE: dict[str, Any] = json.loads((Path(__file__).parent / "numbers.json").read_text(encoding="utf-8"))


def published_miou(benchmark: str, model: str, config: ResCLIPConfig) -> float | None:
    """Returns the published mIoU of a benchmark.

    Args:
        benchmark: ``"voc21"`` or one of the seven others
        model: a named model such as ``"resclip-vit-b-16"``
        config: settings; ``precision`` may differ, because it changes results only by rounding

    Returns:
        percent; ``None`` where nothing was published for this model and these settings
    """
    published = preset(benchmark)
    config = replace(config, precision=published.precision)
    variants = {"plain": replace(published, rcs=None, sfr=None), "resclip": published}
    for strategy in STRATEGIES:
        for variant, settings in variants.items():
            if config == settings.varied({"strategy": strategy}):
                row = _TABLE.get(model, {}).get(strategy, {}).get(variant)
                return None if row is None else float(row[_TABLE["benchmarks"].index(benchmark)])
    return None
