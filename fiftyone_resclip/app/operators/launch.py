"""Starts a labelling run where it belongs: in the background of the App's server, or else here until it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import fiftyone as fo

from fiftyone_resclip.app import background, colours, layout
from fiftyone_resclip.app.background import Advance
from fiftyone_resclip.errors import ResCLIPError
from fiftyone_resclip.fields.companions import is_companion
from fiftyone_resclip.fields.schema import mask_fields

#: The panels that open by themselves.
RUNS_PANEL, ERRORS_PANEL, REVIEW_PANEL = "labelling", "error_explorer", "review"


def launch(
    ctx: Any,
    label_field: str,
    steps: background.Steps,
    *,
    arrived: Callable[[Any], object] = lambda page: None,
) -> dict[str, Any] | None:
    """Starts a run. In the App, it goes on in the background, and a panel shows it; elsewhere it ends first.

    Args:
        ctx: the context of the operator
        label_field: the field of the masks
        steps: the run
        arrived: called with the context of the page that shows the end of the run

    Returns:
        the field and what is to be said about it, if the run has ended

    Raises:
        ResCLIPError: if the run was stopped and has ended, so that FiftyOne does not call it completed
    """
    if ctx.delegated or not background.is_possible():
        return _to_the_end(ctx, label_field, steps)

    def show(page: Any) -> None:
        show_masks(page, [label_field])
        arrived(page)

    background.start(ctx.dataset, label_field, steps, show)
    if ctx.current_sample:  # the App opens a panel of the grid only while no sample is open
        ctx.ops.notify(f"{label_field!r} is being labelled; 'ResCLIP: runs' shows how far it is")
    else:
        open_panel(ctx, RUNS_PANEL)
    return None


def open_panel(page: Any, name: str, **state: Any) -> None:
    """Opens a panel beside the grid, in place of the others, since each panel more would narrow the rest.

    The App carries out what one answer asks for all at once, so that it would not open a panel that the same answer closes, nor
    close one while it opens another. So this asks for one new arrangement.

    Args:
        page: the context of an operator or panel
        name: a panel that opens by itself; if it is open, it begins anew
        **state: its state
    """
    closed = {RUNS_PANEL, ERRORS_PANEL, REVIEW_PANEL}
    if name != RUNS_PANEL and taken(page.dataset):
        closed.remove(RUNS_PANEL)  # a run that goes on stays in sight
    panel = fo.Panel(type=name)
    if state:
        page.ops.set_panel_state(state, panel_id=panel.component_id)
    page.ops.set_spaces(layout.with_panel(page.spaces, panel, closed))


def taken(dataset: Any) -> set[str]:
    """Returns the fields of runs that are under way, or wait, in this server."""
    return {job.label_field for job in background.jobs(dataset) if job.is_live}


def show_masks(page: Any, fields: Sequence[str]) -> None:
    """Makes a page of the App load the dataset again, and show other fields.

    Args:
        page: the context of an operator or panel
        fields: the fields to show, in place of all other masks and of what belongs to masks
    """
    covered = {*fields, *mask_fields(page.dataset, frames=True)}  # masks over masks have colours of no class
    covered.update(name for name, field in page.dataset.get_field_schema().items() if is_companion(field))  # tags cover masks
    shown = [field for field in page.active_fields or () if field not in covered]
    page.ops.reload_dataset()
    page.ops.set_active_fields([*shown, *fields])
    colours.show(page)


def _to_the_end(ctx: Any, label_field: str, steps: background.Steps) -> dict[str, Any]:
    notes, report = list[str](), None

    def noted() -> Iterator[str | Advance]:
        notes.extend((yield from steps))

    for step in noted():
        if isinstance(step, str):
            ctx.set_progress(progress=0.0, label=step)
        else:
            report = step
            ctx.set_progress(progress=step.progress.share, label=str(step.progress))
    if getattr(report, "stopped", False):
        raise ResCLIPError(str(report))
    return {"label_field": label_field, "report": str(report), "notes": notes}
