"""Shows labels in the colours of their classes at once."""

from __future__ import annotations

from typing import Any

from fiftyone_resclip.fields.schema import coloured


def show(ctx: Any) -> None:
    """Makes the App colour labels by class; otherwise it does so only when the dataset is opened anew. Saves nothing.

    Args:
        ctx: the context of an operator or panel
    """
    scheme = coloured(ctx.dataset).to_dict()
    ctx.trigger("set_color_scheme", {"color_by": scheme["color_by"], "fields": scheme["fields"]})
