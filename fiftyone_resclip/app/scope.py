"""Tells the components in the browser when the samples that a panel shows have changed."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any

#: What decides which samples a view has, in FiftyOne's requests.
_PARTS = ("dataset_name", "view", "filters", "extended", "group_slice")


def scope_of(ctx: Any, *more: Any) -> str:
    """Returns a short text that changes with the view.

    Args:
        ctx: FiftyOne's context of a panel
        *more: what else changes it, as plain JSON values
    """
    parts = [*more, *(ctx.request_params.get(part) for part in _PARTS)]
    return blake2b(json.dumps(parts, sort_keys=True, default=str).encode(), digest_size=8).hexdigest()
