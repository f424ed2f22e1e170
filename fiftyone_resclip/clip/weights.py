"""From what a user calls a model to a CLIP with its weights, through open_clip's own loader; every failure in one sentence."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import open_clip
import torch
from huggingface_hub import try_to_load_from_cache
from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME

from fiftyone_resclip.clip.supported import refusal, refusal_message, supported_architectures
from fiftyone_resclip.errors import BackboneError, WeightsError, unknown
from fiftyone_resclip.presets import MODELS, Source


def load_clip(model: str, pretrained: str | Path | None, device: str | torch.device | None) -> tuple[open_clip.CLIP, Any]:
    """Loads a CLIP and its tokenizer; see :meth:`fiftyone_resclip.clip.backbone.Backbone.load`.

    Args:
        model: a named model, an architecture of open_clip, a JSON config or a folder
        pretrained: a tag of open_clip, a checkpoint file, or ``None`` for a named model's or folder's own
        device: where to put it; ``None`` is a GPU if there is one

    Returns:
        the model in float32, and its tokenizer

    Raises:
        BackboneError: if the model is unknown or no plain ViT
        WeightsError: if the weights are unknown, missing, can't be fetched, don't fit or aren't finite
    """
    architecture, default_weights = MODELS.get(model, Source(_architecture(model), None))
    weights = _weights(pretrained) or default_weights
    _refuse_unsupported(model, architecture)
    _refuse_unknown_weights(model, architecture, weights)
    with _weights_errors(model, architecture, weights), _quiet():
        clip = open_clip.create_model(
            architecture,
            pretrained=weights,
            device=device or ("cuda" if torch.cuda.is_available() else "cpu"),
            precision="fp32",
            force_quick_gelu=_wants_quick_gelu(architecture, weights),
            require_pretrained=True,
        )
        tokenizer = open_clip.get_tokenizer(architecture)
    for name, values in clip.state_dict().items():
        if values.is_floating_point() and not bool(values.isfinite().all()):
            raise WeightsError(f"the weights {weights or architecture!r} must be finite, but {name} is not; get the file anew")
    return clip, tokenizer


def is_at_hand(model: str) -> bool:
    """Says whether a named model can be loaded without network: bundled, or in the caches that open_clip fills.

    Args:
        model: a name of ``presets.MODELS``

    Returns:
        False if its weights would be downloaded when it is loaded
    """
    architecture, tag = MODELS[model]
    if tag is None:
        return True
    source = open_clip.get_pretrained_cfg(architecture, tag)
    repository, file = os.path.split(source.get("hf_hub", ""))
    names = [file] if file else [HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME]
    return any(isinstance(try_to_load_from_cache(repository, name), str) for name in names)


def random_clip(architecture: str, seed: int, device: str | torch.device) -> tuple[open_clip.CLIP, Any]:
    """Makes a CLIP with seeded random weights and its tokenizer, for numerics and timing only.

    Args:
        architecture: an architecture of open_clip
        seed: of the weights
        device: where to put it

    Returns:
        the model in float32, and its tokenizer

    Raises:
        BackboneError: if the architecture is unknown or no plain ViT
    """
    _refuse_unsupported(architecture, architecture)
    with torch.random.fork_rng(devices=[]), _quiet():
        torch.manual_seed(seed)
        return open_clip.create_model(architecture, device=device), open_clip.get_tokenizer(architecture)


def fingerprint(clip: torch.nn.Module, *, without: str | None = None) -> str:
    """Gives a hash of a model's weights, by which a number or a feature can be told to be of the same model.

    Args:
        clip: any model
        without (None): start of the names of weights that are left out, such as ``"visual."``

    Returns:
        SHA-256 over names and values, as 64 hexadecimal digits
    """
    digest = hashlib.sha256()
    for name, values in sorted(clip.state_dict().items()):
        if without is not None and name.startswith(without):
            continue
        digest.update(name.encode())
        digest.update(values.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _weights(pretrained: str | Path | None) -> str | None:
    """A tag as it is, a file by its full path."""
    if pretrained is None:
        return None
    path = Path(pretrained).expanduser()
    return str(path) if path.is_file() else str(pretrained)


def _architecture(model: str) -> str:
    """Turns what a user calls a model into a name for open_clip, registering JSON configs."""
    path = Path(model).expanduser()
    if path.is_dir():
        return f"local-dir:{path}"
    if path.suffix == ".json":
        _read_config(path)  # open_clip would keep a broken file in its list, and fail on it from then on
        open_clip.add_model_config(path)
        return path.stem
    return model


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BackboneError(f"model config {str(path)!r} must be a readable JSON file, but: {error}") from error
    model_config = config.get("model_cfg", config) if isinstance(config, dict) else None
    if not isinstance(model_config, dict) or not {"embed_dim", "vision_cfg", "text_cfg"} <= set(model_config):
        raise BackboneError(f"model config {str(path)!r} must have embed_dim, vision_cfg and text_cfg, as open_clip's own have")
    return model_config


def _refuse_unsupported(model: str, architecture: str) -> None:
    if architecture.startswith("local-dir:"):
        config = _read_config(Path(architecture.removeprefix("local-dir:")) / "open_clip_config.json")
    else:
        config = open_clip.get_model_config(architecture)
    if config is None:
        raise BackboneError(unknown("model", model, [*MODELS, *supported_architectures()]))
    reason = refusal(config)
    if reason:
        raise BackboneError(refusal_message(model, reason))


def _refuse_unknown_weights(model: str, architecture: str, weights: str | None) -> None:
    if architecture.startswith("local-dir:"):
        return
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if weights is None:
        raise WeightsError(f"model {model!r} needs pretrained: a checkpoint file or one of {', '.join(tags) or 'no known tags'}")
    if weights not in tags and not Path(weights).is_file():
        if Path(weights).suffix:
            raise WeightsError(f"pretrained must be a tag or an existing checkpoint file, but {weights!r} is not there")
        raise WeightsError(unknown(f"pretrained tag of {architecture}", weights, tags))


def _wants_quick_gelu(architecture: str, weights: str | None) -> bool:
    """Whether a pretrained tag was trained with QuickGELU; open_clip itself only warns when the architecture is without."""
    return bool(weights and (open_clip.get_pretrained_cfg(architecture, weights) or {}).get("quick_gelu"))


def _architecture_for(architecture: str, tag: str) -> str:
    """The architecture that fits a tag's weights when they come as a file, which can't tell its activation."""
    quick = f"{architecture}-quickgelu"
    return quick if _wants_quick_gelu(architecture, tag) and quick in open_clip.list_models() else architecture


@contextmanager
def _weights_errors(model: str, architecture: str, weights: str | None) -> Iterator[None]:
    """Turns whatever the loader says into one sentence: which file, what is wrong with it, what to do."""
    try:
        yield
    except Exception as error:
        source = open_clip.get_pretrained_cfg(architecture, weights) if weights else {}
        if source and not Path(str(weights)).is_file():
            file = source.get("hf_hub") or source.get("url")
            raise WeightsError(
                f"the weights {weights!r} of {model!r} could not be fetched ({_first_line(error)}). Without network: get the "
                f"file {file} (for a name ending in '/', its open_clip_model.safetensors) on another machine and load "
                f"{_architecture_for(architecture, str(weights))!r} with its path as pretrained"
            ) from error
        raise WeightsError(
            f"the weights {weights or architecture!r} must fit {model!r}, but could not be loaded: {_first_line(error, 300)}"
        ) from error


def _first_line(error: BaseException, limit: int = 160) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= limit else text[:limit] + "…"


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences open_clip's notes for as long as it loads.

    They go to the root logger by ``logging.info``, which would also leave a handler there that prints everybody's notes from
    then on.
    """
    root, placeholder = logging.getLogger(), logging.NullHandler()
    before = root.level
    root.addHandler(placeholder)
    root.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        root.setLevel(before)
        root.removeHandler(placeholder)
