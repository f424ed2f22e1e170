"""How long a run will take, measured on a few images; kept, for a form is resolved at every key that is pressed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fiftyone_resclip.app import models
from fiftyone_resclip.vocabulary import Vocabulary

if TYPE_CHECKING:
    from fiftyone_resclip.plan import Plan

_measured: dict[str, tuple[float, str]] = {}


def sentence(plan: Plan, vocabulary: Vocabulary, model: str, settings: Mapping[str, Any]) -> str:
    """Says how long a plan will take, and where it runs.

    Args:
        plan: the plan
        vocabulary: the classes; the time depends on how many phrases they have
        model: of ``config.MODELS``
        settings: what differs from the model's own

    Returns:
        one sentence; for a model that must be downloaded first, that it can't be said
    """
    from fiftyone_resclip.plan import seconds_per_image
    from fiftyone_resclip.weights import is_at_hand

    if not is_at_hand(model):
        return f"How long it takes can't be said before {model} has been downloaded, which happens when it runs."
    if not plan.images:
        return "There is nothing to do."
    key = json.dumps([model, settings, len(vocabulary.flat_phrases), plan.samples._dataset.name], sort_keys=True)
    if key not in _measured:
        with models.turn():
            runner = models.model(model, settings, vocabulary)
            _measured[key] = seconds_per_image(plan.samples, runner), str(runner.segmenter.backbone.device)
    seconds, device = _measured[key]
    return f"About {seconds * plan.images:.0f} s on {device} ({seconds:.2f} s per image)."
