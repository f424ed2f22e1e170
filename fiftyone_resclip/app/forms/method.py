"""The part of a form that asks for the model, the mode and the thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fiftyone.operators import types

from fiftyone_resclip.config import RCS, SFR
from fiftyone_resclip.errors import ConfigError, unknown
from fiftyone_resclip.presets import MODELS, MODES

DEFAULT_MODEL, DEFAULT_MODE = "resclip-vit-b-16", "full"

#: The inputs by name, apart from the sliders.
NAMES = ("model", "mode", "tune")

#: The sliders by name: the part of the config that has the setting, the setting's name, its default and its description.
SLIDERS: Mapping[str, tuple[str | None, str, float, str]] = {
    "prob_threshold": (None, "prob_threshold", 0.0, "Pixels with a lower confidence get no class"),
    "draft_threshold": (
        "sfr",
        "threshold",
        SFR.threshold,
        "temp_thd: draft pixels with a lower confidence count as the first phrase",
    ),
    "rcs_mix": ("rcs", "mix", RCS.mix, "Share of the earlier blocks' attention (lambda_r)"),
    "sfr_mix": ("sfr", "mix", SFR.mix, "Share of the first segmentation in the attention (lambda_s)"),
}


def ask(inputs: types.Object, params: Mapping[str, Any], model: str = DEFAULT_MODEL, **event: Any) -> None:
    """Adds the inputs to a form or panel.

    Args:
        inputs: the inputs of the form or panel
        params: the values of the form, as in :func:`read`
        model ("resclip-vit-b-16"): the model selected at first
        **event: ``on_change`` for the inputs of a panel
    """
    models = types.DropdownView()
    for name, state in model_states().items():
        models.add_choice(name, label=f"{name} ({state})")
    inputs.enum("model", list(MODELS), default=model, required=False, label="Model", view=models, **event)
    modes = types.DropdownView()
    for name, mode in MODES.items():
        modes.add_choice(name, label=f"{name}: {mode.meaning}")
    inputs.enum("mode", list(MODES), default=DEFAULT_MODE, required=False, label="Mode", view=modes, **event)
    inputs.bool("tune", default=False, required=False, label="Thresholds and mixes", **event)
    if params.get("tune"):
        for name in _sliders_of(params):
            _, _, default, meaning = SLIDERS[name]
            look = {"label": name, "description": meaning, "view": types.SliderView(step=0.01)}
            inputs.float(name, min=0, max=1, default=default, required=False, **look, **event)


def read(params: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Reads the model and its settings from the values of the form.

    Args:
        params: the values of the operator or panel; missing ones get their defaults

    Returns:
        the model's name, and the settings that differ from its defaults

    Raises:
        ConfigError: if the model or mode is unknown
    """
    model, mode = params.get("model") or DEFAULT_MODEL, params.get("mode") or DEFAULT_MODE
    for kind, name, known in (("model", model, MODELS), ("mode", mode, MODES)):
        if name not in known:
            raise ConfigError(unknown(kind, name, known))
    settings: dict[str, Any] = dict(MODES[mode].settings)
    for slider in _sliders_of(params):
        part, setting, default, _ = SLIDERS[slider]
        value = params.get(slider)
        if value is None or value == default:
            continue
        if part is None:
            settings[setting] = value
        else:
            settings[part] = {**settings.get(part, {}), setting: value}
    return model, settings


def first_model() -> str:
    """Returns the first model that needs no download; panels select it when they open."""
    from fiftyone_resclip.clip.weights import is_at_hand

    return next(name for name in MODELS if is_at_hand(name))


def model_states() -> dict[str, str]:
    """Describes for each model whether it is ready or must be downloaded."""
    from fiftyone_resclip.clip.weights import is_at_hand

    return {name: "ready" if is_at_hand(name) else "will be downloaded when it runs" for name in MODELS}


def _sliders_of(params: Mapping[str, Any]) -> list[str]:
    """The sliders that have an effect in the chosen mode."""
    off = {part for part, value in MODES[params.get("mode") or DEFAULT_MODE].settings.items() if value is None}
    return [name for name, (part, *_) in SLIDERS.items() if part not in off]
