"""Arranges the panels of the App."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import fiftyone as fo


def with_panel(spaces: fo.Space | None, panel: fo.Panel, closed: Collection[str]) -> fo.Space:
    """Puts a panel beside all that is open.

    Args:
        spaces: the arrangement of the App; by default the grid alone
        panel: the panel, which gets the last column
        closed: the panels that are closed, by name

    Returns:
        a new arrangement, with columns of equal width
    """
    rest = _without(spaces, closed) if spaces is not None else None
    if rest is None:
        rest = _tabs([fo.Panel(type="Samples", pinned=True)])
    is_split = isinstance(rest.children[0], fo.Space) and rest.orientation != "vertical"
    return fo.Space(children=[*(rest.children if is_split else [rest]), _tabs([panel])], orientation="horizontal")


def _without(spaces: fo.Space, closed: Collection[str]) -> fo.Space | None:
    """Returns an arrangement without some panels; ``None`` if nothing is left."""
    if any(isinstance(child, fo.Panel) for child in spaces.children):
        panels = [panel for panel in spaces.children if panel.type not in closed]
        return _tabs(panels, spaces.active_child) if panels else None
    parts = [part for part in (_without(child, closed) for child in spaces.children) if part is not None]
    if len(parts) < 2:
        return parts[0] if parts else None
    sizes = spaces.sizes if len(parts) == len(spaces.children) else None
    return fo.Space(children=parts, orientation=spaces.orientation, sizes=sizes)


def _tabs(panels: list[Any], active: str | None = None) -> fo.Space:
    """Returns a pane with a tab for each panel, and the first in front unless another is wanted and there."""
    ids = [panel.component_id for panel in panels]
    return fo.Space(children=panels, active_child=active if active in ids else ids[0])
