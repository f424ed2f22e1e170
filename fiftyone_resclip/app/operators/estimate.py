"""Estimates how long a run will take, from a few images. It caches the result, because each key press resolves the form again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cachetools import LRUCache

from fiftyone_resclip.app import models
from fiftyone_resclip.fields.private import dataset_of
from fiftyone_resclip.vocabulary import Vocabulary

if TYPE_CHECKING:
    from fiftyone_resclip.labeling.plan import Plan
    from fiftyone_resclip.model import ResCLIPModel

_measured: LRUCache[str, tuple[float, str]] = LRUCache(64)


def sentence(plan: Plan, vocabulary: Vocabulary, model: str, settings: Mapping[str, Any]) -> str:
    """Describes how long a plan will take, and on which device.

    Args:
        plan: which images to label
        vocabulary: the classes; the time depends on how many phrases they have
        model: a name in ``presets.MODELS``
        settings: the settings that differ from the model's defaults

    Returns:
        one sentence; if the model must be downloaded first, it states that there is no estimate yet
    """
    from fiftyone_resclip.clip.weights import is_at_hand

    if not is_at_hand(model):
        return f"There is no estimate yet: {model} will be downloaded when it runs."
    if not plan.images:
        return "There is nothing to do."
    key = json.dumps([model, settings, len(vocabulary.flat_phrases), dataset_of(plan.samples).name], sort_keys=True)
    if key not in _measured:
        _measured[key] = models.in_turn(lambda: _measure(plan, models.model(model, settings, vocabulary)))
    seconds, device = _measured[key]
    return f"About {seconds * plan.images:.0f} s on {device} ({seconds:.2f} s per image)."


def _measure(plan: Plan, model: ResCLIPModel) -> tuple[float, str]:
    """Seconds per image, and the device that the model runs on."""
    from fiftyone_resclip.labeling.plan import seconds_per_image

    return seconds_per_image(plan.samples, model), str(model.segmenter.backbone.device)
