"""The options of every command that loads a model: which model, and which settings."""

from __future__ import annotations

import argparse
import json
from typing import Any

from fiftyone_resclip.config import STRATEGIES
from fiftyone_resclip.errors import ConfigError


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options to a command."""
    parser.add_argument("--model", default="resclip-vit-b-16", help="name of the model, as for load_model")
    parser.add_argument("--pretrained", help="an open_clip tag or a checkpoint file")
    parser.add_argument("--device", help="such as cpu or cuda; by default a GPU if there is one")
    parser.add_argument("--strategy", choices=sorted(STRATEGIES), help="base attention of the last block")
    parser.add_argument("--no-rcs", action="store_true", help="turn off RCS, the first addition of ResCLIP")
    parser.add_argument("--no-sfr", action="store_true", help="turn off SFR, the second addition of ResCLIP")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting, such as sfr.threshold=0.3")


def changed_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Returns the settings from the command line, in the form that ``ResCLIPConfig.varied`` takes."""
    found: dict[str, Any] = {}
    for text in options.set:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set needs NAME=VALUE, as sfr.threshold=0.3, but got {text!r}")
        *parts, last = name.split(".")
        place = found
        for part in parts:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise ConfigError(f"--set {text} is at odds with another --set, which leaves {part} without settings")
        place[last] = _json_or_text(value)
    if options.strategy:
        found["strategy"] = options.strategy
    return {**found, **({"rcs": None} if options.no_rcs else {}), **({"sfr": None} if options.no_sfr else {})}


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value
