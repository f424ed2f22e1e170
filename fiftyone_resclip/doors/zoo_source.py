"""What the shim in ``zoo/`` hands on: loading the models of its manifest, and the form for them."""

from __future__ import annotations

from typing import Any

from fiftyone_resclip.model import load_model as load_model


def resolve_input(model_name: str, ctx: Any) -> Any:
    """Returns the form for FiftyOne's own zoo operator, with a field for the classes.

    Args:
        model_name: a name in the manifest
        ctx: FiftyOne's context
    """
    from fiftyone.operators import types

    inputs = types.Object()
    inputs.str(
        "classes",
        required=True,
        label="Classes",
        description="One per line, or separated by commas; 'car: car, taxi' gives synonyms",
    )
    return types.Property(inputs)
