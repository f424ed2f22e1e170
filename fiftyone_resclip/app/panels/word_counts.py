"""The part of the error explorer that counts which words win the pixels of which class, in the background."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from fiftyone.operators import types

from fiftyone_resclip.app import background, models
from fiftyone_resclip.app.forms import evidence, method, words
from fiftyone_resclip.app.messages import warn
from fiftyone_resclip.app.panels.error_parts import ROWS, table
from fiftyone_resclip.errors import counted
from fiftyone_resclip.fields.private import dataset_id
from fiftyone_resclip.labeling.writers import Progress
from fiftyone_resclip.presets import MODELS

if TYPE_CHECKING:
    from fiftyone_resclip.evaluation.results import SemanticEvaluationResults
    from fiftyone_resclip.explore.phrase_confusions import PhraseTable

#: How many images are counted at most.
IMAGES = 100
_LOOK_AGAIN_MS = 1500
_counts: dict[str, background.Task] = {}  # the last one of each dataset


class _Counted(NamedTuple):
    table: PhraseTable
    progress: Progress


def words_of_run(dataset: Any, label_field: str) -> dict[str, Any]:
    """Returns the values of the form for the words and the model of the labelling run that made a field; empty if none did."""
    from fiftyone_resclip.labeling.runs import list_runs

    for run in list_runs(dataset):
        if run.label_field == label_field:
            lines = [f"{name}: {', '.join(phrases)}" for name, phrases in run.recipe["classes"]]
            model = {"model": run.recipe["model"]} if run.recipe["model"] in MODELS else {}
            return {"words_from": "typed", "classes": "\n".join(lines), **model}
    return {}


def begin(ctx: Any, results: SemanticEvaluationResults) -> None:
    """Starts to count, in the images of the view, and stops what it counted before."""
    stop(ctx.dataset)
    task = background.Task(_counting(ctx, results))
    _counts[str(dataset_id(ctx.dataset))] = task
    task.start()


def stop(dataset: Any) -> None:
    """Stops the count of a dataset; what was counted is shown."""
    task = _counts.get(str(dataset_id(dataset)))
    if task is not None:
        task.stop()


def show(
    panel: types.Object, ctx: Any, on_change: Callable[..., Any], on_count: Callable[..., Any], on_stop: Callable[..., Any]
) -> None:
    """Adds the form, and how far the count is or what it found."""
    state = ctx.panel_state
    words.ask(panel, state, ctx.dataset, on_change=on_change)
    method.ask(panel, state, method.first_model(), on_change=on_change)
    evidence.ask_lesson(panel, on_change=on_change)
    task = _counts.get(str(dataset_id(ctx.dataset)))
    if task is not None and task.is_live:
        progress = task.progress
        bar = types.ProgressView(label=str(progress) if progress else task.doing)
        panel.float("counting", default=progress and progress.share, view=bar)
        panel.btn("stop_counting", label="Stop and show what is counted", on_click=on_stop, variant="outlined")
        panel.view("count_timer", types.TimerView(interval=_LOOK_AGAIN_MS, on_interval=on_change))
        return
    images = min(len(ctx.view), IMAGES)
    panel.btn("count_words", label=f"Count in {counted(images, 'image')} of the view", on_click=on_count)
    if task is not None and task.state == "failed":
        warn(panel, "count_failed", task.doing)
    elif task is not None and task.last is not None:
        panel.md(_told(task.last.table), name="taken")


def _counting(ctx: Any, results: SemanticEvaluationResults) -> background.Steps:
    """Reads the form, so that mistakes are shown at once, and returns the count."""
    state: Mapping[str, Any] = dict(ctx.panel_state)
    dataset, images, run = ctx.dataset, ctx.view.limit(IMAGES), results.config
    name, settings = method.read({"model": method.first_model(), **state})
    words.read(state, dataset)
    taught = evidence.lesson(state)

    def steps() -> background.Steps:
        from fiftyone_resclip.explore.phrase_confusions import iter_phrase_table

        yield "Loads the model"
        vocabulary = words.read_for(name, state, dataset)
        model = models.in_turn(lambda: models.model(name, settings, vocabulary, taught))
        began, total = time.monotonic(), len(images)
        for found in models.by_turns(iter_phrase_table(images, run.gt_field, model, run.ignore_index)):
            yield _Counted(found, Progress(found.images, total, time.monotonic() - began))
        return []

    return steps()


def _told(found: PhraseTable) -> str:
    """Formats the largest entries of a table, and what the words of the background took."""
    rows = [
        (row.phrase, row.phrase_class, row.truth, f"{100 * row.share:.1f} %", "right" if row.right else "wrong")
        for row in found.taken()[: 2 * ROWS]
    ]
    told = f"On {counted(found.images, 'image')}:\n\n" + table(rows, ("words", "of class", "win pixels of", "share of it", ""))
    lost = [
        (
            truth,
            f"{100 * sum(row.share for row in taken):.1f} %",
            ", ".join(f"{row.phrase} {100 * row.share:.1f} %" for row in taken[:5]),
        )
        for truth, taken in found.taken_by_background().items()
    ]
    return told + ("\n\n" + table(lost[:ROWS], ("class", "taken by background", "by its words")) if lost else "")
