"""The panel that shows the labelling runs of a dataset: how far they are, how they ended, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import fiftyone.operators as foo
from fiftyone.operators import types
from pymongo.errors import PyMongoError

from fiftyone_resclip.app import background, models
from fiftyone_resclip.app.messages import plain, sentence, verbatim, warn
from fiftyone_resclip.app.operators import launch
from fiftyone_resclip.app.operators.runs import RUNS_URI
from fiftyone_resclip.errors import DatasetError, ResCLIPError
from fiftyone_resclip.fields.private import dataset_id, field_documents
from fiftyone_resclip.labeling import writers
from fiftyone_resclip.labeling.writers import Progress, Writer

if TYPE_CHECKING:
    from fiftyone_resclip.labeling.batches import LabelingReport
    from fiftyone_resclip.labeling.runs import LabelRun

_EVALUATE = "@fiftyone-resclip/resclip/evaluate"
_LOOK_AGAIN_MS = 2000
_SHOWN = 8
_STOPPING = "is stopping: the images under way are finished and saved first"
_NOTHING_WRITTEN = "stopped before the first mask, so nothing was written"
_HELP = """Shows labelling runs while they go on, also those that other programs started, and the latest ones that ended. Closing
this panel or the page does not stop them."""


class Labelling(foo.Panel):  # type: ignore[misc]  # FiftyOne has no type information
    """Shows the labelling runs of a dataset.

    Its state has the runs that it has seen under way. When one has ended, the page loads the dataset again and shows its field.
    """

    @property
    def config(self) -> foo.PanelConfig:
        """How FiftyOne lists the panel."""
        return foo.PanelConfig(name=launch.RUNS_PANEL, label="ResCLIP: runs", icon="pending_actions", help_markdown=_HELP)

    def on_tick(self, ctx: Any) -> None:
        """Shows the masks of runs that have ended since the last look."""
        with suppress(ResCLIPError, PyMongoError):  # the panel itself says what is wrong, rather than a notice at each tick
            self._look(ctx)

    on_load = on_change_dataset = on_tick

    def _look(self, ctx: Any) -> None:
        key, live = str(dataset_id(ctx.dataset)), _live(ctx.dataset)
        seen = ctx.panel_state.get("seen") or {}
        ended = {field for run, field in (seen.get(key) or {}).items() if run not in live}
        for job in background.jobs(ctx.dataset):
            if not job.is_live and not job.was_seen:
                job.was_seen = True
                try:
                    _announce(ctx, job)
                except Exception:
                    job.was_seen = False  # the next look says it
                    raise
                ended.discard(job.label_field)
        made = [field for field in sorted(ended) if field in field_documents(ctx.dataset)]
        if made:
            launch.show_masks(ctx, made)
        ctx.panel.state.seen = {key: live}

    @plain
    def on_stop(self, ctx: Any) -> None:
        """Stops the run of a field; what is done is kept."""
        background.stop(ctx.dataset, ctx.params["field"])

    @plain
    def on_go_on(self, ctx: Any) -> None:
        """Goes on with an interrupted run."""
        from fiftyone_resclip.labeling import resuming
        from fiftyone_resclip.labeling.runs import load_run

        run = load_run(ctx.dataset, ctx.params["run"])
        resuming.check(run)
        if run.label_field not in launch.taken(ctx.dataset):  # a second click would label again
            launch.launch(ctx, run.label_field, _going_on(ctx.dataset, run))

    @plain
    def on_failures(self, ctx: Any) -> None:
        """Shows the images that could not be labelled."""
        from fiftyone_resclip.labeling.runs import load_run

        run = load_run(ctx.dataset, ctx.params["run"])
        ctx.ops.set_view(ctx.dataset.select_by("filepath", list(run.passes[-1]["failures"])))

    @plain
    def on_evaluate(self, ctx: Any) -> None:
        """Opens the form that evaluates a field."""
        ctx.prompt(_EVALUATE, params={"pred_field": ctx.params["field"]})

    @plain
    def on_review(self, ctx: Any) -> None:
        """Opens the review of a field."""
        launch.open_panel(ctx, launch.REVIEW_PANEL, field=ctx.params["field"])

    @plain
    def on_manage(self, ctx: Any) -> None:
        """Opens the form that shows, compares, renames and deletes runs."""
        ctx.prompt(RUNS_URI, params={"run": ctx.params["run"]})

    @plain
    def on_dismiss(self, ctx: Any) -> None:
        """Forgets a run that failed."""
        background.forget(ctx.params["job"])

    def render(self, ctx: Any) -> types.Property:
        """Builds the panel: runs under way, those that failed, and the latest that ended."""
        panel = types.Object()
        try:
            self._show(panel, ctx)
        except Exception as error:
            warn(panel, "problem", sentence(error))
        panel.view("timer", types.TimerView(interval=_LOOK_AGAIN_MS, on_interval=self.on_tick))
        return types.Property(panel, view=types.View(componentsProps={"container": {"sx": {"p": 1, "pr": 3}}}))

    def _show(self, panel: types.Object, ctx: Any) -> None:
        from fiftyone_resclip.labeling.runs import list_runs

        jobs = background.jobs(ctx.dataset)
        live = {job.label_field for job in jobs if job.is_live}
        others = _by_field(ctx.dataset, live)
        runs = list_runs(ctx.dataset)
        ended = [run for run in runs if run.label_field not in {*live, *others} and run.state != "running"]
        ended.sort(key=lambda run: str(run.passes[-1]["started"]), reverse=True)
        if not jobs and not others and not ended:
            panel.md("There is no labelling run yet: press the backtick key and run *ResCLIP: segment*.", name="hint")
        recorded = {run.label_field for run in runs}
        for number, job in enumerate(jobs):
            if job.is_stopping:
                panel.md(f"**{verbatim(job.label_field)}** {_STOPPING}", name=f"job_{number}_title")
            elif job.is_live:
                self._show_live(panel, f"job_{number}", job.label_field, job.doing, job.progress)
            elif job.state == "failed" or job.label_field not in recorded:
                self._show_loss(panel, f"job_{number}", job)
        for number, (field, writer) in enumerate(others.items()):
            self._show_live(panel, f"other_{number}", field, f"In {writer}", writer.progress)
        last = {job.label_field: job for job in jobs if not job.is_live}
        for number, run in enumerate(ended[:_SHOWN]):
            self._show_run(panel, f"run_{number}", run, last.get(run.label_field))
        if len(ended) > _SHOWN:
            panel.btn("all", label=f"All {len(ended)} runs", on_click=self.on_manage, params={"run": ended[0].key})

    def _show_live(self, panel: types.Object, name: str, field: str, doing: str, progress: Progress | None) -> None:
        panel.md(f"**{verbatim(field)}** is being labelled" if progress else f"**{verbatim(field)}**", name=f"{name}_title")
        bar = types.ProgressView(label=str(progress) if progress else doing)
        panel.float(f"{name}_bar", default=progress and progress.share, view=bar)
        panel.btn(
            f"{name}_stop", label="Stop and keep what is done", on_click=self.on_stop, params={"field": field}, variant="outlined"
        )

    def _show_loss(self, panel: types.Object, name: str, job: background.Job) -> None:
        """Shows a run that failed, or that wrote nothing."""
        reasons = {"failed": job.doing, "stopped": _NOTHING_WRITTEN}
        reason = reasons.get(job.state) or (_brief(job.report) if job.report else "nothing was written")
        warn(panel, name, f"{job.label_field}: {reason}")
        panel.btn(f"{name}_dismiss", label="Dismiss", on_click=self.on_dismiss, params={"job": job.id})

    def _show_run(self, panel: types.Object, name: str, run: LabelRun, job: background.Job | None) -> None:
        lines = [_outcome(run, job), *(job.lines if job else ())]
        panel.md(f"**{verbatim(run.label_field)}**: " + "\n\n".join(map(verbatim, lines)), name=f"{name}_text")
        buttons = panel.h_stack(f"{name}_next", gap=1)
        named: Mapping[str, str] = {"field": run.label_field, "run": run.key}
        for key, label, on_click in self._next_steps(run):
            buttons.btn(f"{name}_{key}", label=label, on_click=on_click, params=named, variant="outlined")

    def _next_steps(self, run: LabelRun) -> list[tuple[str, str, Any]]:
        """What can be done with a run that has ended: a name, a label and a handler."""
        failed, has_field = run.passes[-1]["failed"], run.state != "field deleted"
        steps = [
            (_can_go_on(run), "go_on", "Go on", self.on_go_on),
            (failed, "failures", f"Show the {failed} that failed", self.on_failures),
            (has_field, "evaluate", "Evaluate", self.on_evaluate),
            (has_field, "review", "Review", self.on_review),
            (True, "manage", "More", self.on_manage),
        ]
        return [(key, label, handler) for offered, key, label, handler in steps if offered]


def _live(dataset: Any) -> dict[str, str]:
    """Returns the field of each run under way, by an id."""
    jobs = {job.id: job.label_field for job in background.jobs(dataset) if job.is_live}
    others = _by_field(dataset, set(jobs.values()))
    return jobs | {writer.id: field for field, writer in others.items()}


def _by_field(dataset: Any, besides: set[str]) -> dict[str, Writer]:
    """Returns a writer of each field that other programs label; of one that is shared, the one that is the least far."""
    found: dict[str, Writer] = {}
    for writer in writers.alive(dataset):
        if writer.label_field not in besides:
            found.setdefault(writer.label_field, writer)
    return found


def _announce(ctx: Any, job: background.Job) -> None:
    """Shows the masks of a run that has ended, and says how it ended."""
    if job.state == "failed":
        ctx.ops.notify(f"{job.label_field}: {job.doing}", variant="error")
    elif job.report is not None:
        told = "; ".join((f"{'stopped: ' if job.report.stopped else ''}{_brief(job.report)}", *job.lines))
        ctx.ops.notify(told, variant="warning" if job.report.failures or job.report.stopped else "success")
    elif job.state == "stopped":
        ctx.ops.notify(f"{job.label_field}: {_NOTHING_WRITTEN}", variant="warning")
    if job.label_field in field_documents(ctx.dataset):
        job.arrived(ctx)


def _outcome(run: LabelRun, job: background.Job | None) -> str:
    """Says how a run ended."""
    last = run.passes[-1]
    counted = (
        f"{last['labelled']} of {last['images']} images labelled" if job is None or job.report is None else _brief(job.report)
    )
    said = {
        "killed": f"interrupted; what it had saved of {last['images']} images is kept",  # nobody counted
        "stopped": f"stopped. {counted}",
        "field deleted": "its field was deleted",
    }.get(run.state, counted)
    return f"{said}. {run.recipe['model']}: {', '.join(name for name, _ in run.recipe['classes'])}"


def _brief(report: LabelingReport) -> str:
    """Summarises a report: of failed files with the first reason only, and without how to go on, for which there is a button."""
    more = len(report.failures) - 1
    brief = str(replace(report, failures=dict(islice(report.failures.items(), 1)), stopped=False))
    return f"{brief}; and {more} more files" if more > 0 else brief


def _can_go_on(run: LabelRun) -> bool:
    from fiftyone_resclip.labeling import resuming

    try:
        resuming.check(run)
    except DatasetError:
        return False
    return True


def _going_on(dataset: Any, run: LabelRun) -> background.Steps:
    from fiftyone_resclip.labeling import resuming

    yield "Loads the model"
    model = models.in_turn(lambda: resuming.model_for(run, models.backbone(run.recipe["model"]), models.lessons))
    yield from models.by_turns(resuming.iter_rest(dataset, run, model))
    return []
