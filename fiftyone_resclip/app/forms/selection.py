"""The part of a form that asks whether selected images are meant, because a selection may be left over from earlier."""

from __future__ import annotations

from typing import Any

from fiftyone.operators import types
from fiftyone.operators.constants import ViewTarget


def ask(inputs: types.Object, ctx: Any) -> None:
    """Adds the question to a form whose target is a selection; the form can't run before it is answered.

    Args:
        inputs: the inputs of the form
        ctx: the context of the operator
    """
    target = ctx.params.get("view_target") or ctx.request_params.get("view_target")
    if target != ViewTarget.SELECTED_SAMPLES:
        return
    count = len(ctx.selected)
    label = f"Yes, only the {count} selected image{'s' * (count != 1)}"
    asked = inputs.bool("only_selected", default=False, required=False, label=label)
    if not ctx.params.get("only_selected"):
        asked.invalid = True
        asked.error_message = "Some images are selected: confirm that only these are meant, or choose another target"
