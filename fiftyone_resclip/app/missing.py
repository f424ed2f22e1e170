"""What the App shows where the package or its dependencies are not installed: one operator that says what to do.

A plugin's folder may hold this file without the package, so it needs nothing but FiftyOne.
"""

from __future__ import annotations

import logging
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types
from packaging.requirements import Requirement

logger = logging.getLogger(__name__)

_PLUGIN = "@fiftyone-resclip/resclip"


class WhatIsMissing(foo.Operator):  # type: ignore[misc]  # FiftyOne has no type information
    """Takes the place of *segment* and says what to install."""

    text = ""

    @property
    def config(self) -> foo.OperatorConfig:
        """How FiftyOne lists and runs the operator."""
        return foo.OperatorConfig(
            name="segment", label="ResCLIP: what is missing", description="Says what to install", risk_level="low"
        )

    def resolve_input(self, ctx: Any) -> types.Property:
        """Builds a form that only says what to install."""
        inputs = types.Object()
        inputs.view("missing", types.Warning(label="ResCLIP can't run yet", description=self.text)).invalid = True
        return types.Property(inputs, view=types.View(label="ResCLIP: what is missing"))

    def execute(self, ctx: Any) -> None:
        """Says what to install."""
        ctx.ops.notify(self.text, variant="error")


def register_explanation(plugin: Any, absent: tuple[str, ...] = ()) -> None:
    """Registers the operator that says what to install.

    Args:
        plugin: FiftyOne's plugin context
        absent (()): requirements that are not met; by default the package itself is missing
    """
    if absent:
        text = (
            f"ResCLIP needs {', '.join(absent)}. Run 'fiftyone plugins requirements {_PLUGIN} --install' in the environment of "
            "the App, and start the App again."
        )
    else:
        text = (
            "The package fiftyone-resclip was removed from the environment of the App, and this plugin needs it. Install it, and "
            "start the App again; or delete the plugin: 'fiftyone plugins delete " + _PLUGIN + "'."
        )
    logger.warning(text)
    plugin.register(type(WhatIsMissing.__name__, (WhatIsMissing,), {"text": text}))


def absent_requirements(plugin: Any) -> tuple[str, ...]:
    """Returns the requirements in a plugin's ``requirements.txt`` that are not met; none if it has no such file.

    Args:
        plugin: FiftyOne's plugin context
    """
    file = Path(plugin.plugin_definition.directory) / "requirements.txt"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else ()
    wanted = [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]
    return tuple(str(requirement) for requirement in wanted if not _is_met(requirement))


@cache  # FiftyOne loads plugins often
def warn_of_two_versions(folder: str, plugin_version: str | None, package_version: str) -> None:
    """Warns if the plugin's folder and the package that is used differ in their version.

    Args:
        folder: the plugin's folder
        plugin_version: version in its ``fiftyone.yml``
        package_version: version of the package
    """
    if plugin_version != package_version:
        logger.warning(
            "The plugin in %s is of version %s, but the installed package of version %s is used. Bring both to one version: "
            "'fiftyone-resclip install' copies the plugin of the package.",
            folder,
            plugin_version,
            package_version,
        )


def _is_met(requirement: Requirement) -> bool:
    try:
        return requirement.specifier.contains(version(requirement.name), prereleases=True)
    except PackageNotFoundError:
        return False
