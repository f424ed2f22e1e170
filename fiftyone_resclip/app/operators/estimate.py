"""How long a run will take, measured on a few images; kept, for a form is resolved at every key that is pressed."""

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
    """Says how long a plan will take, and where it runs.

    Args:
        plan: the plan
        vocabulary: the classes; the time depends on how many phrases they have
        model: of ``presets.MODELS``
        settings: what differs from the model's own

    Returns:
        one sentence; for a model that must be downloaded first, that it can't be said
    """
    from fiftyone_resclip.clip.weights import is_at_hand

    if not is_at_hand(model):
        return f"How long it takes can't be said before {model} has been downloaded, which happens when it runs."
    if not plan.images:
        return "There is nothing to do."
    key = json.dumps([model, settings, len(vocabulary.flat_phrases), dataset_of(plan.samples).name], sort_keys=True)
    if key not in _measured:
        _measured[key] = models.in_turn(lambda: _measure(plan, models.model(model, settings, vocabulary)))
    seconds, device = _measured[key]
    return f"About {seconds * plan.images:.0f} s on {device} ({seconds:.2f} s per image)."


def _measure(plan: Plan, model: ResCLIPModel) -> tuple[float, str]:
    """Seconds for an image, and where the model runs."""
    from fiftyone_resclip.labeling.plan import seconds_per_image

    return seconds_per_image(plan.samples, model), str(model.segmenter.backbone.device)
