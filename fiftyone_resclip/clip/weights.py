"""Loads the CLIP that a user names, with its weights; errors have short messages.

A checkpoint may come from anyone, so nothing in it can run code: only its tensors are loaded. Therefore open_clip's
``create_model`` is not used: it ignores ``pretrained`` for a folder, and it loads a checkpoint again without protection if the
first attempt raises a TypeError. For configs see :mod:`fiftyone_resclip.clip.blueprint`.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import open_clip
import torch
from huggingface_hub import try_to_load_from_cache
from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME
from open_clip.model import resize_pos_embed, resize_text_pos_embed
from safetensors.torch import load_file
from torch import Tensor

from fiftyone_resclip.clip.blueprint import Blueprint, build, read_blueprint, tokenizer_of
from fiftyone_resclip.errors import BackboneError, ConfigError, WeightsError, unknown
from fiftyone_resclip.presets import MODELS, Source

#: Names of checkpoints in a folder, the preferred one first, as in open_clip.
_CHECKPOINTS = (
    *("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin"),
    *("open_clip_pytorch_model.pth", "model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth"),
)
_ENDINGS = (".safetensors", ".bin", ".pth")

_EXPECTED = {
    "model": (BackboneError, "a name such as 'resclip-vit-b-16', an architecture of open_clip, a JSON config or a folder"),
    "pretrained": (WeightsError, "a tag or a checkpoint file"),
}

#: Entries of OpenAI's archives that are not weights.
_NO_WEIGHTS = ("input_resolution", "context_length", "vocab_size")


def load_clip(model: str | Path, pretrained: str | Path | None, device: str | torch.device | None) -> tuple[open_clip.CLIP, Any]:
    """Loads a CLIP and its tokenizer; see :meth:`fiftyone_resclip.clip.backbone.Backbone.load`.

    Args:
        model: a named model, an architecture of open_clip, a JSON config or a folder
        pretrained: a tag of open_clip, a checkpoint file, or ``None`` for a named model's or folder's own
        device: where to put it; ``None`` is a GPU if there is one

    Returns:
        the model in float32, and its tokenizer

    Raises:
        ConfigError: if there is no such device
        BackboneError: if the model is unknown or not a plain ViT
        WeightsError: if the weights are unknown, missing, can't be fetched, don't fit or aren't finite
    """
    model = _text("model", model)
    place = usable_device(device)
    architecture, default_weights = MODELS.get(model, Source(model, None))
    blueprint = read_blueprint(model, architecture)
    weights = default_weights if pretrained is None else _text("pretrained", pretrained)
    tag = _tag(blueprint, weights)
    file = _checkpoint(model, blueprint, weights, tag)
    if tag:
        blueprint.config["quick_gelu"] = bool(tag.get("quick_gelu") or blueprint.config.get("quick_gelu"))
        blueprint = blueprint._replace(preprocessing=tag)
    with _weights_errors(model, weights or architecture), _quiet():
        clip = build(blueprint).to(place)
        _fill(clip, _state(file))
        tokenizer = tokenizer_of(blueprint)
    for name, values in clip.state_dict().items():
        if values.is_floating_point() and not bool(values.isfinite().all()):
            raise WeightsError(f"the weights {weights or architecture!r} must be finite, but {name} is not; get the file again")
    return clip, tokenizer


def fetched(model: str, pretrained: str | None = None) -> Path:
    """Downloads weights, unless they are there already.

    Args:
        model: a named model, or an architecture of open_clip
        pretrained (None): a tag of open_clip; by default that of the named model

    Returns:
        the file

    Raises:
        BackboneError: if the model is unknown or not a plain ViT
        WeightsError: if the weights are unknown or can't be fetched
    """
    architecture, default_weights = MODELS.get(_text("model", model), Source(model, None))
    blueprint = read_blueprint(model, architecture)
    weights = default_weights if pretrained is None else _text("pretrained", pretrained)
    return _checkpoint(model, blueprint, weights, _tag(blueprint, weights))


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


def usable_device(device: str | torch.device | None) -> torch.device:
    """Returns a device after trying it; ``None`` is a GPU if there is one, otherwise the CPU.

    Raises:
        ConfigError: if there is no such device here
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
        torch.zeros(1, device=place).item()
    except Exception as error:  # each kind of device has its own type of error
        gpus = torch.cuda.device_count()
        here = f"'cpu' or 'cuda:0' to 'cuda:{gpus - 1}'" if gpus else "'cpu', as torch finds no CUDA GPU here"
        raise ConfigError(f"device must be {here}, but got {device!r}; torch says: {_first_line(error, 100)}") from error
    return place


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
    blueprint = read_blueprint(architecture, architecture)
    with torch.random.fork_rng(devices=[]), _quiet():
        torch.manual_seed(seed)
        return build(blueprint).to(device), tokenizer_of(blueprint)


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


def _tag(blueprint: Blueprint, weights: str | None) -> Mapping[str, Any]:
    """Returns open_clip's description of a pretrained tag; empty if the weights are not a tag of this architecture."""
    known = weights in open_clip.list_pretrained_tags_by_model(blueprint.name)
    tag: Mapping[str, Any] = open_clip.get_pretrained_cfg(blueprint.name, weights) if known else {}
    return tag


def _checkpoint(model: str, blueprint: Blueprint, weights: str | None, tag: Mapping[str, Any]) -> Path:
    return _fetched(model, blueprint, str(weights), tag) if tag else _file(model, blueprint, weights)


def _fetched(model: str, blueprint: Blueprint, weights: str, tag: Mapping[str, Any]) -> Path:
    """Returns the checkpoint of a tag, from open_clip's cache or from the network."""
    try:
        with _quiet():
            return Path(open_clip.download_pretrained(tag))
    except Exception as error:
        hub, architecture = str(tag.get("hf_hub") or tag.get("url")), _architecture_for(blueprint.name, tag)
        file = f"open_clip_model.safetensors of {hub.rstrip('/')!r} at Hugging Face" if hub.endswith("/") else hub
        raise WeightsError(
            f"the weights {weights!r} of {model!r} could not be fetched ({_first_line(error)}). Without network: get the file "
            f"{file} on another machine, and name it beside the architecture: load_model({architecture!r}, pretrained=FILE), or "
            f"--model {architecture} --pretrained FILE; 'resclip-tiny' needs no file, but knows only generated scenes"
        ) from error


def _file(model: str, blueprint: Blueprint, weights: str | None) -> Path:
    """Returns the checkpoint file that the user names or, if none is named, that of the folder."""
    tags = open_clip.list_pretrained_tags_by_model(blueprint.name)
    if weights is None and blueprint.folder is not None:
        return _checkpoint_in(blueprint.folder)
    if weights is None:
        raise WeightsError(
            f"model {model!r} needs pretrained (--pretrained): a checkpoint file or one of {', '.join(tags) or 'no known tags'}"
        )
    path = Path(weights).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        raise WeightsError(f"pretrained must be a checkpoint file, but {weights!r} is a folder; name the file in it")
    if path.suffix or not tags:
        raise WeightsError(
            f"pretrained must be {'a tag or ' if tags else ''}an existing checkpoint file, but {weights!r} does not exist"
        )
    raise WeightsError(unknown(f"pretrained tag of {blueprint.name}", weights, tags))


def _text(name: Literal["model", "pretrained"], value: object) -> str:
    """Returns what the user named as text; blank text is refused, because it would mean the current folder."""
    if not isinstance(value, (str, Path)) or not str(value).strip():
        error, expected = _EXPECTED[name]
        raise error(f"{name} must be {expected}, but got {value!r}")
    return str(value)


def _checkpoint_in(folder: Path) -> Path:
    found = [path for path in sorted(folder.iterdir()) if path.suffix in _ENDINGS and path.is_file()]
    named = [path for name in _CHECKPOINTS for path in found if path.name == name]
    safe = [path for path in found if path.suffix == _ENDINGS[0]]
    choice = named[:1] or safe or found
    if len(choice) != 1:
        listed = ", ".join(path.name for path in choice[:3]) or "none"
        raise WeightsError(f"folder {str(folder)!r} must have one checkpoint, but has {listed}; pass one file as pretrained")
    return choice[0]


def _state(file: Path) -> dict[str, Tensor]:
    """Reads the weights of a checkpoint: tensors and nothing else, so that no code in the file can run."""
    if file.suffix == ".safetensors":
        state: Any = load_file(file)
    else:
        try:
            state = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:
            raise WeightsError(
                "a checkpoint must be a safetensors file, or a state dict of tensors that torch.save wrote; TorchScript archives "
                "and other pickled objects may run code, so they are never loaded"
            ) from error
    state = state.get("state_dict", state) if isinstance(state, dict) else None
    if not (isinstance(state, dict) and state and all(isinstance(name, str) for name in state)):
        raise WeightsError("a checkpoint must have weights by name")
    start = len("module.") if next(iter(state)).startswith("module.") else 0
    return {name[start:]: values for name, values in state.items() if name not in _NO_WEIGHTS}


def _fill(clip: open_clip.CLIP, state: dict[str, Tensor]) -> None:
    """Loads weights into a CLIP, converted as by open_clip: shapes of scalars, and positions for another image size."""
    for name in ("logit_scale", "logit_bias"):
        if name in state and getattr(clip, name) is not None:
            state[name] = state[name].reshape(getattr(clip, name).shape)
    if clip.logit_bias is not None:
        state.setdefault("logit_bias", torch.zeros_like(clip.logit_bias))
    resize_pos_embed(state, clip)
    resize_text_pos_embed(state, clip)
    clip.load_state_dict(state)


def _architecture_for(architecture: str, tag: Mapping[str, Any]) -> str:
    """Returns the architecture that fits a tag's weights when they come from a file, which does not record the activation."""
    quick = f"{architecture}-quickgelu"
    return quick if tag.get("quick_gelu") and quick in open_clip.list_models() else architecture


@contextmanager
def _weights_errors(model: str, weights: str) -> Iterator[None]:
    """Turns any error of the loader into a short message: which file, what is wrong with it, and what to do."""
    try:
        yield
    except Exception as error:
        raise WeightsError(
            f"the weights {weights!r} must fit {model!r}, but could not be loaded: {_first_line(error, 300)}"
        ) from error


def _first_line(error: BaseException, limit: int = 160) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= limit else text[:limit] + "…"


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences log messages of open_clip while it loads, and those of the Hugging Face client about each of its retries.

    open_clip calls ``logging.info``, which would also add a handler to the root logger. From then on, that handler would print
    the messages of all libraries.
    """
    root, placeholder = logging.getLogger(), logging.NullHandler()
    loggers = root, logging.getLogger("huggingface_hub")
    before = [logger.level for logger in loggers]
    root.addHandler(placeholder)
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
        root.removeHandler(placeholder)
