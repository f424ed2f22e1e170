"""Published settings, modes, and named models with their default settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fiftyone_resclip.checks import check_known
from fiftyone_resclip.config import RCS, SFR, ResCLIPConfig, Window


class Mode(NamedTuple):
    """A variant of the method: the settings that differ from a preset, and an explanation for users."""

    settings: Mapping[str, Any]
    meaning: str


#: The modes that the App offers, from the whole method down to plain CLIP.
MODES: Mapping[str, Mode] = {
    "full": Mode({}, "RCS and SFR, as published: the last block runs twice, with a refinement in between"),
    "fast": Mode({"sfr": None}, "RCS alone: one pass, no refinement; quicker, and in the paper 40.6 % mean mIoU against 41.4 %"),
    "sharp": Mode(
        {"strategy": "naclip", "rcs": None, "sfr": None, "pamr": {"steps": 10, "dilations": [8, 16]}},
        "naclip, and the final scores are refined along the edges of the image; slow on large images",
    ),
    **{
        name: Mode({"strategy": name, "rcs": None, "sfr": None}, meaning)
        for name, meaning in {
            "naclip": "the base of ResCLIP without its additions: keys look at near and similar keys",
            "clearclip": "queries look at similar queries, without the residual connection",
            "sclip": "queries look at queries and keys at keys",
            "vanilla": "CLIP as it was trained, for comparison: its masks are poor",
        }.items()
    },
}


def mode_of(config: ResCLIPConfig) -> str:
    """Returns the mode whose settings a config has, the one with the most of them; ``"own"`` if it is none of :data:`MODES`."""
    fitting = [name for name, mode in MODES.items() if config.varied(mode.settings) == config]
    if config.rcs is None or config.sfr is None:  # "full" asks for both, without changing a setting
        fitting.remove("full")
    return max(fitting, key=lambda name: len(MODES[name].settings), default="own")


def _published(prob: float, draft: float, rcs_mix: float, sfr_gain: float, sfr_mix: float, **rest: Any) -> ResCLIPConfig:
    rcs, sfr = RCS(2.0, rcs_mix), SFR(sfr_gain, sfr_mix, draft)
    return ResCLIPConfig(rcs=rcs, sfr=sfr, prob_threshold=prob, **rest)


#: The settings of the eight published benchmarks, and those of the fast mode.
PRESETS: Mapping[str, ResCLIPConfig] = {
    "voc21": _published(0.1, 0.50, 0.3, 2.2, 0.7, window=None),
    "voc20": _published(0.0, 0.10, 0.6, 2.1, 0.6, window=None),
    "context60": _published(0.1, 0.30, 0.3, 1.8, 0.7),
    "context59": _published(0.0, 0.25, 0.4, 1.8, 0.7),
    "coco_object": _published(0.1, 0.11, 0.4, 1.8, 0.7),
    "coco_stuff": _published(0.0, 0.11, 0.4, 1.8, 0.7),
    "ade20k": _published(0.0, 0.25, 0.3, 2.1, 0.7),
    "cityscapes": _published(0.0, 0.10, 0.2, 2.1, 0.6, short_side_px=560),
    "fast": ResCLIPConfig().varied(MODES["fast"].settings),
}


def preset(name: str) -> ResCLIPConfig:
    """Returns the published settings of a benchmark, or those of the fast mode.

    Args:
        name: one of :data:`PRESETS`

    Returns:
        the config; vary it with ``dataclasses.replace``

    Raises:
        ConfigError: if there is no such preset; the message suggests the nearest name

    Source:
        ResCLIP (CVPR 2025), the settings behind its reported numbers
    """
    check_known("preset", name, PRESETS)
    return PRESETS[name]


class Source(NamedTuple):
    """Where a named model comes from: open_clip's architecture and pretrained tag."""

    architecture: str
    pretrained: str | None


#: The models with a short name, as the zoo lists them.
MODELS: Mapping[str, Source] = {
    "resclip-vit-b-16": Source("ViT-B-16-quickgelu", "openai"),
    "resclip-vit-b-32": Source("ViT-B-32-quickgelu", "openai"),
    "resclip-vit-l-14": Source("ViT-L-14-quickgelu", "openai"),
    "resclip-tiny": Source(f"local-dir:{Path(__file__).parent / 'tiny'}", None),
}

#: Settings for the bundled tiny model: windows have the size of its training images.
TINY = ResCLIPConfig(window=Window(96, 48), short_side_px=144)


def default_config(model: str) -> ResCLIPConfig:
    """Returns the settings a model starts from: those of ``ade20k``, with smaller windows for ``resclip-tiny``."""
    return TINY if model == "resclip-tiny" else preset("ade20k")


def start_config(model: str, name: str | None) -> ResCLIPConfig:
    """Returns the settings that a user starts from.

    Args:
        model: name of the model
        name: a mode of :data:`MODES`, which varies the settings of the model, the published settings of a benchmark, or ``None``
            for those of the model

    Raises:
        ConfigError: if there is no such mode or benchmark; the message suggests the nearest name
    """
    if name is None:
        return default_config(model)
    check_known("preset", name, {**MODES, **PRESETS})
    return default_config(model).varied(MODES[name].settings) if name in MODES else PRESETS[name]
