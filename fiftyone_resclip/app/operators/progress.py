"""Shows how far a labelling run is, with a button that stops it, and what came out of it."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from fiftyone.operators import types

from fiftyone_resclip.app import models
from fiftyone_resclip.app.messages import verbatim
from fiftyone_resclip.app.operators.stop import STOP_URI

if TYPE_CHECKING:
    from fiftyone_resclip.labeling.batches import LabelingReport


def label_in_turns(ctx: Any, steps: Iterator[LabelingReport]) -> Generator[Any, None, LabelingReport]:
    """Runs a labelling run.

    Args:
        ctx: the context of the operator
        steps: from :func:`fiftyone_resclip.labeling.label.iter_label`

    Yields:
        the progress for the App, after each batch

    Returns:
        the report
    """
    with closing(models.by_turns(steps)) as turns:
        for report in turns:
            yield show(ctx, report.done / report.total if report.total else 1.0, _how_far(report))
    return report


def show(ctx: Any, share: float, label: str) -> Any:
    """Shows the progress; in the App as a bar with a stop button, which FiftyOne's own bar does not have."""
    if ctx.delegated:
        return ctx.set_progress(progress=share, label=label)
    outputs = types.Object()
    outputs.float("progress", view=types.ProgressView(label=label))
    outputs.btn("stop", label="Stop and keep what is done", on_click=STOP_URI, variant="outlined")
    return ctx.ops.show_output(types.Property(outputs).to_json(), {"progress": share})


def finish(ctx: Any, report: LabelingReport, label_field: str, lines: Sequence[str], hidden: Sequence[str] = ()) -> Iterator[Any]:
    """Shows the new masks and what is to be said about them.

    Args:
        ctx: the context of the operator
        report: of the run
        label_field: the field of the masks
        lines: what is to be said after the report
        hidden: fields that the grid no longer shows

    Yields:
        what the App is to do
    """
    summary = f"Stopped: {report}" if report.stopped else str(report)
    shown = [field for field in ctx.active_fields or () if field not in (label_field, *hidden)]
    yield ctx.ops.reload_dataset()
    yield ctx.ops.set_active_fields([*shown, label_field])
    yield ctx.ops.notify(summary, variant="warning" if report.failures else "success")
    if ctx.delegated:
        return
    outputs = types.Object()
    for number, line in enumerate([summary, *lines]):
        outputs.md(verbatim(line), name=f"line_{number}")
    yield ctx.ops.show_output(types.Property(outputs).to_json(), {})


def _how_far(report: LabelingReport) -> str:
    left = report.seconds / report.done * (report.total - report.done) if report.done else 0.0
    rest = f", about {left:.0f} s left" if left else ""
    return f"{report.done} of {report.total} images, {report.images_per_second:.1f} per second{rest}"
