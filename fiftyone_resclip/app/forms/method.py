"""The part of a form that asks for the model, the mode and the thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fiftyone.operators import types

from fiftyone_resclip.config import RCS, SFR
from fiftyone_resclip.errors import ConfigError, unknown
from fiftyone_resclip.presets import MODELS, MODES, Mode, default_config

DEFAULT_MODE = "full"
_TINY = "resclip-tiny"

#: The inputs by name, apart from the sliders.
NAMES = ("model", "mode", "tune", "download")

#: The sliders by name: the part of the config that has the setting, the setting's name, its default and its description.
SLIDERS: Mapping[str, tuple[str | None, str, float, str]] = {
    "prob_threshold": (None, "prob_threshold", 0.0, "Pixels with a lower confidence get no class"),
    "min_area": (None, "min_area", 0.0, "Classes with a smaller share of the image are left out"),
    "draft_threshold": (
        "sfr",
        "threshold",
        SFR.threshold,
        "Pixels of the first segmentation with a lower confidence count as the first phrase",
    ),
    "rcs_mix": ("rcs", "mix", RCS.mix, "How much the attention of earlier blocks counts"),
    "sfr_mix": ("sfr", "mix", SFR.mix, "How much the first segmentation counts in the attention"),
}


def ask(inputs: types.Object, params: Mapping[str, Any], model: str | None = None, **event: Any) -> None:
    """Adds the inputs to a form or panel.

    Args:
        inputs: the inputs of the form or panel
        params: the values of the form, as in :func:`read`
        model (None): the model selected at first, by default :func:`first_model`
        **event: ``on_change`` for the inputs of a panel
    """
    models = types.DropdownView()
    for name, state in model_states().items():
        models.add_choice(name, label=f"{name} ({state})")
    inputs.enum("model", list(MODELS), default=model or first_model(), required=False, label="Model", view=models, **event)
    modes = types.DropdownView()
    for name, mode in MODES.items():
        modes.add_choice(name, label=f"{name}: {mode.meaning}")
    inputs.enum("mode", list(MODES), default=DEFAULT_MODE, required=False, label="Mode", view=modes, **event)
    inputs.bool("tune", default=False, required=False, label="Thresholds and mixes", **event)
    if params.get("tune"):
        for name in _sliders_of(params):
            _, _, default, meaning = SLIDERS[name]
            view = types.SliderView(step=0.01, value_precision=2)
            look = {
                "label": name.replace("_", " ").replace("rcs", "RCS").replace("sfr", "SFR"),
                "description": meaning,
                "view": view,
            }
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
    model, mode = params.get("model") or first_model(), params.get("mode") or DEFAULT_MODE
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


def written(model: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values of the form with which :func:`read` gives a model and, as far as the form has them, its settings.

    Args:
        model: a name in ``presets.MODELS``
        settings: all settings, as nested dictionaries by their names in ``ResCLIPConfig``

    Raises:
        ConfigError: if the form does not offer the model
    """
    if model not in MODELS:
        raise ConfigError(unknown("model", model, MODELS))
    parts = {name: settings if part is None else settings[part] for name, (part, *_) in SLIDERS.items()}
    sliders = {name: parts[name][setting] for name, (_, setting, *_) in SLIDERS.items() if parts[name] is not None}
    fitting = [
        name for name, mode in MODES.items() if _fits(settings, default_config(model).varied(mode.settings).to_dict(), mode)
    ]
    mode = max(fitting, key=lambda name: len(MODES[name].settings))
    return {"model": model, "mode": mode, "tune": True, **sliders}


def _fits(settings: Mapping[str, Any], of_mode: Mapping[str, Any], mode: Mode) -> bool:
    """Returns whether a mode gives those of the settings that it decides."""
    return all(settings[name] == of_mode[name] for name in mode.settings)


def first_model() -> str:
    """Returns the first model that needs no download: the one that is used until the user chooses."""
    from fiftyone_resclip.clip.weights import is_at_hand

    return next(name for name in MODELS if is_at_hand(name))


def model_states() -> dict[str, str]:
    """Describes for each model whether it is ready or must be downloaded."""
    from fiftyone_resclip.clip.weights import is_at_hand

    return {name: "ready" if is_at_hand(name) else "will be downloaded when it runs" for name in MODELS}


def described(model: str) -> str:
    """Names a model for the user, and warns of the one that knows nothing but generated scenes."""
    return f"by {model}, which knows only generated scenes of cloth" if model == _TINY else f"by {model}"


def ask_consent(inputs: types.Object, params: Mapping[str, Any]) -> None:
    """Asks whether a model may be downloaded, if it is not on this machine."""
    model, _ = read(params)
    if model_states()[model] != "ready":
        consent = inputs.bool("download", default=False, required=False, label=f"Download {model} when it runs; needs a network")
        if not params.get("download"):
            consent.invalid, consent.error_message = True, f"{model} is not on this machine; allow the download or choose another"


def _sliders_of(params: Mapping[str, Any]) -> list[str]:
    """The sliders that have an effect in the chosen mode."""
    off = {part for part, value in MODES[params.get("mode") or DEFAULT_MODE].settings.items() if value is None}
    return [name for name, (part, *_) in SLIDERS.items() if part not in off]
