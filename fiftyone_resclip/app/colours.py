"""Shows masks in the colours of their classes at once."""

from __future__ import annotations

from typing import Any

from fiftyone_resclip.fields.colour_scheme import completed
from fiftyone_resclip.fields.schema import mask_fields


def show(ctx: Any) -> None:
    """Makes the App colour masks by class; otherwise it does so only when the dataset is opened anew. Saves nothing.

    Args:
        ctx: the context of an operator or panel
    """
    scheme = completed(ctx.dataset, mask_fields(ctx.dataset, frames=True)).to_dict()
    ctx.trigger("set_color_scheme", {"color_by": scheme["color_by"], "fields": scheme["fields"]})
