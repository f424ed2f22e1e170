"""The functions that FiftyOne's model zoo calls for the models in ``zoo/manifest.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fiftyone_resclip.model import ResCLIPModel
from fiftyone_resclip.model import load_model as _load_model


def download_model(model_name: str, model_path: str) -> None:
    """Writes the marker file that tells FiftyOne that the model is available.

    open_clip downloads the weights into its own cache when the model is loaded, because only then is it known whether the user
    passes a checkpoint file instead.

    Args:
        model_name: a name in the manifest
        model_path: the file to write
    """
    Path(model_path).write_text(f"{model_name}: weights are loaded through open_clip\n", encoding="utf-8")


def load_model(model_name: str, model_path: str | None = None, **kwargs: Any) -> ResCLIPModel:
    """Loads a zoo model.

    Args:
        model_name: a name in the manifest
        model_path (None): the marker file; not used
        **kwargs: as for :func:`fiftyone_resclip.load_model`; ``classes`` is required

    Returns:
        a FiftyOne model
    """
    return _load_model(model_name, **kwargs)


def resolve_input(model_name: str, ctx: Any) -> Any:
    """Returns the form for FiftyOne's own zoo operator, with a field for the classes."""
    from fiftyone.operators import types

    inputs = types.Object()
    inputs.str(
        "classes",
        required=True,
        label="Classes",
        description="One per line, or separated by commas; 'car: car, taxi' gives synonyms",
    )
    return types.Property(inputs)


def parse_parameters(model_name: str, ctx: Any, params: dict[str, Any]) -> None:
    """Leaves the form's values unchanged, because :func:`load_model` reads classes from text."""
