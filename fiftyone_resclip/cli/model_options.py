"""The options of every command that loads a model: which model, and which settings."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from fiftyone_resclip.config import STRATEGIES
from fiftyone_resclip.errors import BackboneError, ConfigError, unknown
from fiftyone_resclip.presets import MODELS

if TYPE_CHECKING:
    from fiftyone_resclip.clip.backbone import Backbone

_T = TypeVar("_T")
DEFAULT_MODEL = "resclip-vit-b-16"
_OURS = "resclip-"


class ModelChoice(NamedTuple):
    """The model of a command line.

    Attributes:
        name: name of the model, as for :func:`fiftyone_resclip.load_model`
        pretrained: tag or file of its weights
        device: where it runs
        changes: settings that were changed, in the form that ``ResCLIPConfig.varied`` takes
    """

    name: str
    pretrained: str | None
    device: str | None
    changes: dict[str, Any]

    def backbone(self) -> Backbone:
        """Loads the weights."""
        from fiftyone_resclip.clip.backbone import Backbone

        return Backbone.load(self.name, self.pretrained, self.device)


def model_options(command: Callable[..., _T]) -> Callable[..., _T]:
    """Adds the options to a command, which gets them as the argument ``choice``, a :class:`ModelChoice`."""
    names = click.Choice([*MODELS])  # completes names; any other model is allowed, too

    @click.option(
        "--model",
        default=DEFAULT_MODEL,
        shell_complete=names.shell_complete,
        show_default=True,
        help="Named model, open_clip architecture, JSON config or folder; see `models list`.",
    )
    @click.option("--pretrained", help="open_clip tag or checkpoint file.")
    @click.option("--device", help="Such as cpu or cuda; by default a GPU if there is one.")
    @click.option("--strategy", type=click.Choice(sorted(STRATEGIES)), help="Base attention of the last block.")
    @click.option("--no-rcs", is_flag=True, help="Turn off RCS, which mixes in the attention of earlier blocks.")
    @click.option("--no-sfr", is_flag=True, help="Turn off SFR, which feeds a first segmentation back; much faster.")
    @click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A setting, such as sfr.threshold=0.3.")
    @functools.wraps(command)
    def with_choice(
        *args: Any,
        model: str,
        pretrained: str | None,
        device: str | None,
        strategy: str | None,
        no_rcs: bool,
        no_sfr: bool,
        settings: Sequence[str],
        **kwargs: Any,
    ) -> _T:
        if model.startswith(_OURS) and model not in MODELS and not Path(model).exists():
            raise BackboneError(unknown("model", model, MODELS))  # at once, not when weights are loaded
        changes = changed_settings(settings)
        options: dict[str, Any] = {"strategy": strategy} if strategy else {}
        options |= ({"rcs": None} if no_rcs else {}) | ({"sfr": None} if no_sfr else {})
        for name in options.keys() & changes.keys():
            raise ConfigError(f"--set {name} is at odds with another option for {name}; leave out one of them")
        changes |= options
        return command(*args, choice=ModelChoice(model, pretrained, device, changes), **kwargs)

    return with_choice  # fmt: skip


def changed_settings(texts: Sequence[str]) -> dict[str, Any]:
    """Reads settings such as ``sfr.threshold=0.3`` into the form that ``ResCLIPConfig.varied`` takes.

    Args:
        texts: the values of ``--set``

    Raises:
        ConfigError: if one has no ``=``, or two are at odds
    """
    found: dict[str, Any] = {}
    for text in texts:
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
    return found


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value
