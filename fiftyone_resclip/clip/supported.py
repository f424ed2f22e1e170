"""Decides from a configuration whether an open_clip model can be used, and writes ``docs/ARCHITECTURES.md``, which lists them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import open_clip
from tabulate import tabulate

from fiftyone_resclip.errors import BackboneError
from fiftyone_resclip.presets import MODELS

_CUSTOM_BLOCK_KEYS = ("qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn_inner", "scale_attn", "scale_fc")

#: The keys that a config from outside may set: those that shape the towers of a plain CLIP; none fetches or runs anything.
_BOTH_TOWERS = {
    *("layers", "width", "mlp_ratio", "ls_init_value", "pool_type", "block_type", "final_ln_after_pool", "output_tokens"),
    *("act_kwargs", "norm_kwargs", *_CUSTOM_BLOCK_KEYS),
}
_KEYS = {
    "model_cfg": {"embed_dim", "quick_gelu", "init_logit_scale", "init_logit_bias", "nonscalar_logit_scale"},
    "vision_cfg": {"head_width", "patch_size", "image_size", "patch_dropout", "no_ln_pre", "pos_embed_type", *_BOTH_TOWERS},
    "text_cfg": {
        *("context_length", "vocab_size", "heads", "embed_cls", "pad_id", "eos_id", "no_causal_mask", "proj_bias", "proj_type"),
        *_BOTH_TOWERS,
    },
}

_HEAD = """# Which architectures of open_clip work

Plain CLIP ViT towers of `open_clip.CLIP` with a class token. open_clip fetches the weights of pretrained tags; a checkpoint
file must be safetensors or a state dict of tensors. Use the `-quickgelu` variants where the weights want them (OpenAI,
MetaCLIP, DFN). RCS takes blocks 6-9 unless configured otherwise.

Written by `fiftyone-resclip models architectures` from open_clip {version}; a test keeps it true.
"""


def refusal(model_config: Mapping[str, Any]) -> str | None:
    """Returns why an open_clip configuration can't be used.

    Args:
        model_config: as in open_clip's JSON files

    Returns:
        the reason in a few words; ``None`` if it can be used
    """
    vision, text = model_config.get("vision_cfg", {}), model_config.get("text_cfg", {})
    reasons = (
        ("timm_model_name" in vision, "its image tower is a timm model"),
        (not isinstance(vision.get("layers", 12), int), "its image tower is a ResNet"),
        ("multimodal_cfg" in model_config, "it is a CoCa"),
        ("hf_model_name" in text, "its text tower is not open_clip's own"),
        (bool(model_config.get("custom_text")), "it is a CustomTextCLIP"),
        (bool(vision.get("attentional_pool")), "its image tower ends in attentional pooling"),
        (vision.get("pool_type", "tok") != "tok", "its image tower is not trained on the class token"),
        (vision.get("block_type") == "custom" or any(vision.get(k) for k in _CUSTOM_BLOCK_KEYS), "its blocks are not CLIP's"),
    )
    return next((reason for holds, reason in reasons if holds), None)


def restricted(name: str, model_config: Mapping[str, Any]) -> dict[str, Any]:
    """Restricts a config from outside to the keys that shape the towers of a plain CLIP.

    Args:
        name: the model's name in messages
        model_config: as in open_clip's JSON files

    Returns:
        the config without other keys

    Raises:
        BackboneError: if another key has a value, such as ``tokenizer_kwargs``, which open_clip hands to transformers
    """
    towers = {part: model_config[part] for part in ("vision_cfg", "text_cfg")}
    parts = {"model_cfg": {key: value for key, value in model_config.items() if key not in towers}, **towers}
    other = [f"{key} in {part}" for part, values in parts.items() for key in values if values[key] and key not in _KEYS[part]]
    if other:
        raise BackboneError(
            f"the config of {name!r} must only describe the towers of a plain CLIP, but it sets {', '.join(other[:3])}; remove "
            "that, because a config from outside may not choose a tokenizer or other code, or name an architecture of open_clip "
            "and pass the weights as pretrained"
        )
    top, vision, text = ({key: value for key, value in parts[part].items() if key in _KEYS[part]} for part in _KEYS)
    return {**top, "vision_cfg": vision, "text_cfg": text}


def supported_architectures() -> list[str]:
    """Lists the architectures of open_clip whose configuration can be used."""
    return [name for name in open_clip.list_models() if refusal(open_clip.get_model_config(name)) is None]


def refusal_message(name: str, reason: str) -> str:
    """Writes the message that refuses a model: what was expected, why the model does not fit, and which models work."""
    return (
        f"the image tower of {name!r} must be a plain CLIP ViT with a class token, but {reason}; "
        f"use for example {', '.join(repr(m) for m in MODELS)} or another ViT of open_clip.CLIP, such as 'ViT-B-16'"
    )


def table() -> str:
    """Returns the page as Markdown: supported models with their shapes and tags, unsupported ones with the reason."""
    works, refused = [], []
    for name in open_clip.list_models():
        config = open_clip.get_model_config(name)
        reason = refusal(config)
        if reason:
            refused.append((name, reason))
            continue
        vision = config["vision_cfg"]
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "–"
        works.append((name, *(vision[key] for key in ("image_size", "patch_size", "width", "layers")), tags))
    heads = ("architecture", "image px", "patch px", "width", "blocks", "pretrained tags"), ("architecture", "because")
    supported, unsupported = (
        tabulate(rows, head, tablefmt="github", stralign=None, disable_numparse=True)
        for rows, head in zip((works, refused), heads, strict=True)
    )
    return (
        f"{_HEAD.format(version=open_clip.__version__)}\n## Supported ({len(works)})\n\n{supported}\n\n"
        f"## Refused ({len(refused)})\n\n{unsupported}\n"
    )
