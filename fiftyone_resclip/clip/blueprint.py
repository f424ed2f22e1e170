"""Reads what a CLIP is built from: an architecture of open_clip, or a config in a folder or JSON file.

A config may come from anyone, so nothing in it can run code or fetch anything: only keys that shape a plain CLIP are used, and
text always goes through CLIP's own tokenizer. open_clip itself would hand ``tokenizer_kwargs`` to transformers, for example.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NamedTuple

import open_clip
from open_clip.model import set_model_preprocess_cfg
from open_clip.transform import PreprocessCfg

from fiftyone_resclip.clip.supported import refusal, refusal_message, restricted, supported_architectures
from fiftyone_resclip.errors import BackboneError, unknown
from fiftyone_resclip.presets import MODELS
from fiftyone_resclip.text_files import read_text

#: What a config may say about the preparation of whole images, apart from their colours.
_PREPARATION = {"interpolation": ("bicubic", "bilinear"), "resize_mode": ("shortest", "longest", "squash")}


class Blueprint(NamedTuple):
    """What a CLIP is built from.

    Attributes:
        name: the name under which open_clip lists pretrained tags
        config: the architecture, as in open_clip's JSON files
        preprocessing: ``mean`` and ``std`` of the colours, ``interpolation`` and ``resize_mode``, where they are not OpenAI's
        folder: the folder of the config, if it may have weights too
        own: whether the config is open_clip's own
    """

    name: str
    config: dict[str, Any]
    preprocessing: Mapping[str, Any] = {}
    folder: Path | None = None
    own: bool = False


def read_blueprint(model: str, architecture: str) -> Blueprint:
    """Reads the architecture that a name stands for: open_clip's own first, so that no file can take its place.

    Args:
        model: the user's name for it, for messages
        architecture: an architecture of open_clip, the path of a JSON config or of a folder, which may follow ``local-dir:``

    Returns:
        the blueprint

    Raises:
        BackboneError: if it is unknown, not a plain ViT, can't be read, or sets more than the shape of a plain CLIP
    """
    path = Path(architecture.removeprefix("local-dir:")).expanduser()
    if architecture in open_clip.list_models():
        blueprint = Blueprint(architecture, open_clip.get_model_config(architecture), own=True)
    elif path.is_dir():
        blueprint = Blueprint(architecture, *_read_config(path / "open_clip_config.json"), folder=path)
    elif path.suffix == ".json":
        blueprint = Blueprint(path.stem, *_read_config(path))
    else:
        raise BackboneError(unknown("model", model, [*MODELS, *supported_architectures()]))
    reason = refusal(blueprint.config)
    if reason:
        raise BackboneError(refusal_message(model, reason))
    return blueprint if blueprint.own else blueprint._replace(config=restricted(model, blueprint.config))


def build(blueprint: Blueprint) -> open_clip.CLIP:
    """Builds the CLIP with random weights, on the CPU."""
    clip = open_clip.CLIP(**blueprint.config)
    known = {field.name for field in fields(PreprocessCfg)} - {"size"}
    given = {name: value for name, value in blueprint.preprocessing.items() if name in known and value}
    set_model_preprocess_cfg(clip, asdict(PreprocessCfg(size=clip.visual.image_size, **given)))
    return clip


def tokenizer_of(blueprint: Blueprint) -> Any:
    """Returns the tokenizer; for a config from outside, it is always that of CLIP."""
    if blueprint.own:  # some of these name a tokenizer, which transformers fetches
        return open_clip.get_tokenizer(blueprint.name)
    return open_clip.SimpleTokenizer(context_length=blueprint.config["text_cfg"].get("context_length", 77))


def _read_config(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reads a config: the architecture, and how images are prepared for it."""
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise BackboneError(f"model config {str(path)!r} must be a readable JSON file, but: {error}") from error
    content = content if isinstance(content, dict) else {}
    config = content.get("model_cfg", content)
    towers = [config.get(name) for name in ("vision_cfg", "text_cfg")] if isinstance(config, dict) else []
    if not (towers and "embed_dim" in config and all(isinstance(tower, dict) for tower in towers)):
        raise BackboneError(f"model config {str(path)!r} must have embed_dim, vision_cfg and text_cfg, like open_clip's own")
    preprocess = content.get("preprocess_cfg")
    given = preprocess if isinstance(preprocess, dict) else {}
    colours = {name: given[name] for name in ("mean", "std") if given.get(name) is not None}
    if not all(_is_colour(values) for values in colours.values()) or min(colours.get("std", [1])) <= 0:
        raise BackboneError(f"model config {str(path)!r} must have three numbers each as mean and std, but has {colours}")
    return config, colours | {name: given[name] for name, known in _PREPARATION.items() if given.get(name) in known}


def _is_colour(values: Any) -> bool:
    numbers = isinstance(values, list) and all(isinstance(value, (int, float)) and math.isfinite(value) for value in values)
    return numbers and len(values) == 3
