"""Loads the CLIP that a user names, with its weights, through open_clip's own loader; errors have short messages."""

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
        BackboneError: if the model is unknown or not a plain ViT
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
            raise WeightsError(f"the weights {weights or architecture!r} must be finite, but {name} is not; get the file again")
    return clip, tokenizer


def is_at_hand(model: str) -> bool:
    """Returns whether a named model can be loaded without network, because it is bundled or in a cache that open_clip fills.

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
    """Makes a CLIP with seeded random weights and its tokenizer, for numerical tests and timing only.

    Args:
        architecture: an architecture of open_clip
        seed: seed of the weights
        device: where to put it

    Returns:
        the model in float32, and its tokenizer

    Raises:
        BackboneError: if the architecture is unknown or not a plain ViT
    """
    _refuse_unsupported(architecture, architecture)
    with torch.random.fork_rng(devices=[]), _quiet():
        torch.manual_seed(seed)
        return open_clip.create_model(architecture, device=device), open_clip.get_tokenizer(architecture)


def fingerprint(clip: torch.nn.Module, *, without: str | None = None) -> str:
    """Computes a hash of a model's weights, which shows whether two results or features come from the same model.

    Args:
        clip: any model
        without (None): leave out weights whose names start with this, such as ``"visual."``

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
    """Returns a tag unchanged, a file as its path with ``~`` expanded."""
    if pretrained is None:
        return None
    path = Path(pretrained).expanduser()
    return str(path) if path.is_file() else str(pretrained)


def _architecture(model: str) -> str:
    """Turns the user's name for a model into a name for open_clip; registers JSON configs."""
    path = Path(model).expanduser()
    if path.is_dir():
        return f"local-dir:{path}"
    if path.suffix == ".json":
        _read_config(path)  # open_clip would register a broken file and fail on it from then on
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
        raise BackboneError(f"model config {str(path)!r} must have embed_dim, vision_cfg and text_cfg, like open_clip's own")
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
            raise WeightsError(f"pretrained must be a tag or an existing checkpoint file, but {weights!r} does not exist")
        raise WeightsError(unknown(f"pretrained tag of {architecture}", weights, tags))


def _wants_quick_gelu(architecture: str, weights: str | None) -> bool:
    """Returns whether a tag's weights were trained with QuickGELU; open_clip only warns if the architecture lacks it."""
    return bool(weights and (open_clip.get_pretrained_cfg(architecture, weights) or {}).get("quick_gelu"))


def _architecture_for(architecture: str, tag: str) -> str:
    """Returns the architecture that fits a tag's weights when they come from a file, which does not record the activation."""
    quick = f"{architecture}-quickgelu"
    return quick if _wants_quick_gelu(architecture, tag) and quick in open_clip.list_models() else architecture


@contextmanager
def _weights_errors(model: str, architecture: str, weights: str | None) -> Iterator[None]:
    """Turns any error of the loader into a short message: which file, what is wrong with it, and what to do."""
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
    """Silences open_clip's log messages while it loads.

    open_clip calls ``logging.info``, which would also add a handler to the root logger. From then on, that handler would print
    the messages of all libraries.
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
