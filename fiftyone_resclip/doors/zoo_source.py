"""The zoo door: what FiftyOne's model zoo calls for the models of ``zoo/manifest.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fiftyone_resclip.model import ResCLIPModel
from fiftyone_resclip.model import load_model as _load_model


def download_model(model_name: str, model_path: str) -> None:
    """Leaves the marker file by which FiftyOne knows that the model is there.

    Weights are fetched by open_clip when the model is loaded, into its own cache: only then it is known whether the user brings a
    checkpoint file instead.

    Args:
        model_name: a name of the manifest
        model_path: the file to make
    """
    Path(model_path).write_text(f"{model_name}: weights are loaded through open_clip\n", encoding="utf-8")


def load_model(model_name: str, model_path: str | None = None, **kwargs: Any) -> ResCLIPModel:
    """Loads a model of the zoo.

    Args:
        model_name: a name of the manifest
        model_path (None): the marker file; not needed
        **kwargs: as :func:`fiftyone_resclip.load_model`; ``classes`` is required

    Returns:
        a FiftyOne model
    """
    return _load_model(model_name, **kwargs)


def resolve_input(model_name: str, ctx: Any) -> Any:
    """Gives the form of FiftyOne's own zoo operator: the classes, in words."""
    from fiftyone.operators import types

    inputs = types.Object()
    inputs.str(
        "classes", required=True, label="Classes", description="One per line or parted by commas; 'car: car, taxi' gives synonyms"
    )
    return types.Property(inputs)


def parse_parameters(model_name: str, ctx: Any, params: dict[str, Any]) -> None:
    """Leaves the form's values as they are: :func:`load_model` reads classes from text."""
