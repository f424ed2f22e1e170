"""The folder that FiftyOne copies as a zoo source: a manifest and this shim. No class lives here, so all can be pickled.

FiftyOne calls :func:`download_model` before it installs the requirements in the manifest, so nothing here needs the package
before a model is loaded.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any


def download_model(model_name: str, model_path: str) -> None:
    """Writes the marker file that tells FiftyOne that the model is available.

    The weights come later: open_clip downloads them into its own cache when the model is loaded, because only then is it known
    whether the user passes a checkpoint file instead.

    Args:
        model_name: a name in the manifest
        model_path: the file to write
    """
    Path(model_path).write_text(f"{model_name}: weights are loaded through open_clip\n", encoding="utf-8")


def load_model(model_name: str, model_path: str | None = None, **kwargs: Any) -> Any:
    """Loads a zoo model; see :func:`fiftyone_resclip.load_model`.

    Args:
        model_name: a name in the manifest
        model_path (None): the marker file; not used
        **kwargs: as for :func:`fiftyone_resclip.load_model`; ``classes`` is required

    Returns:
        a FiftyOne model

    Raises:
        ImportError: if the package is not installed; the message says how to install it
    """
    return _of_the_package("load_model")(model_name, **kwargs)


def resolve_input(model_name: str, ctx: Any) -> Any:
    """Returns the form for FiftyOne's own zoo operator.

    Args:
        model_name: a name in the manifest
        ctx: FiftyOne's context

    Raises:
        ImportError: as for :func:`load_model`
    """
    return _of_the_package("resolve_input")(model_name, ctx)


def _of_the_package(name: str) -> Any:
    importlib.invalidate_caches()  # FiftyOne may have installed the package a moment ago
    try:
        return getattr(importlib.import_module("fiftyone_resclip.doors.zoo_source"), name)
    except ImportError as error:
        raise ImportError(
            f"the ResCLIP models need their package, but it can't be imported ({error}); pass install_requirements=True to "
            "load_zoo_model(), or run: pip install fiftyone-resclip"
        ) from error
