"""The operator that shows how the masks of a dataset were made, and renames or deletes labelling runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_resclip.app.messages import plain, sentence, verbatim, warn
from fiftyone_resclip.errors import ConfigError, unknown

if TYPE_CHECKING:
    from fiftyone_resclip.labeling.runs import LabelRun

#: The name under which the panel of runs calls the operator.
RUNS_URI = "@fiftyone-resclip/resclip/runs"
_LABEL = "ResCLIP: manage runs"
_FAILURES_SHOWN = 10
_ACTIONS = {
    "show": "show how its masks were made",
    "compare": "compare it with another run",
    "rename": "give it another name",
    "delete": "delete it with its field and its mask files",
}
_BUTTONS = {"show": "Close", "compare": "Close", "rename": "Rename", "delete": "Delete"}


class Runs(foo.Operator):  # type: ignore[misc]  # FiftyOne has no type information
    """Lists the labelling runs of the open dataset, and shows, compares, renames or deletes one."""

    @property
    def config(self) -> foo.OperatorConfig:
        """How FiftyOne lists and runs the operator."""
        return foo.OperatorConfig(
            name="runs",
            label=_LABEL,
            description="Shows how masks were made; renames or deletes labelling runs",
            icon="history",
            risk_level="high",
            dynamic=True,
        )

    def resolve_input(self, ctx: Any) -> types.Property:
        """Builds the form: the run, what to do with it, and what it says."""
        from fiftyone_resclip.labeling.runs import list_runs

        inputs = types.Object()
        try:
            found = {run.key: run for run in list_runs(ctx.dataset)}
            if not found:
                warn(inputs, "problem", "there is no labelling run yet; ResCLIP: segment makes one").invalid = True
                return types.Property(inputs, view=types.View(label=_LABEL))
            _ask(inputs, ctx.params, found)
        except Exception as error:
            warn(inputs, "problem", sentence(error)).invalid = True
        done = _BUTTONS.get(ctx.params.get("action") or "show", "Close")
        return types.Property(inputs, view=types.View(label=_LABEL, submit_button_label=done))

    @plain
    def execute(self, ctx: Any) -> None:
        """Renames or deletes the run; showing and comparing happen in the form."""
        from fiftyone_resclip.labeling.runs import delete_run, load_run, rename_run

        action, key = ctx.params.get("action") or "show", ctx.params.get("run")
        if action not in _ACTIONS:
            raise ConfigError(unknown("action", action, _ACTIONS))
        run = load_run(ctx.dataset, key)
        if action == "rename":
            rename_run(ctx.dataset, key, ctx.params.get("new_key") or "")
            ctx.ops.notify(f"Run {key!r} is now called {ctx.params['new_key']!r}", variant="success")
        elif action == "delete":
            if not ctx.params.get("sure"):
                raise ConfigError(f"run {key!r} was not deleted, because the box was not ticked")
            delete_run(ctx.dataset, key)
            ctx.ops.notify(f"Run {key!r} and its field {run.label_field!r} are deleted", variant="success")
            ctx.ops.reload_dataset()


def _ask(inputs: types.Object, params: dict[str, Any], found: dict[str, LabelRun]) -> None:
    runs = types.DropdownView()
    for key, run in found.items():
        runs.add_choice(key, label=f"{key} ({run.state})")
    key = next((key for key in found if key == params.get("run")), next(iter(found)))
    inputs.enum("run", list(found), default=key, required=False, label="Run", view=runs)
    actions = types.RadioGroup()
    for name, meaning in _ACTIONS.items():
        actions.add_choice(name, label=meaning)
    inputs.enum("action", list(_ACTIONS), default="show", required=False, label="What to do", view=actions)
    action = params.get("action") or "show"
    if action == "compare":
        others = [other for other in found if other != key]
        inputs.enum("other", others, required=False, label="Other run")
        if params.get("other") in others:
            _show(inputs, _comparison(found[key], found[params["other"]]))
    elif action == "rename":
        inputs.str("new_key", required=True, label="New name", description="Letters, digits and underscores")
    else:
        if action == "delete":
            label = f"Yes, delete the masks in {found[key].label_field!r}; evaluations of them stay"
            sure = inputs.bool("sure", default=False, required=False, label=verbatim(label))
            sure.invalid, sure.error_message = not params.get("sure"), "Tick this to delete"
        _show(inputs, _facts(found[key]))


def _facts(run: LabelRun) -> list[tuple[str, str]]:
    """Returns what is recorded of a run, as pairs of a name and a text."""
    from fiftyone_resclip.labeling.recipe import differences
    from fiftyone_resclip.presets import default_config

    settings = differences({"settings": default_config(run.recipe["model"]).to_dict()}, {"settings": run.recipe["settings"]})
    facts = [
        ("state", str(run)),
        (
            "classes",
            "; ".join(f"{name}: {', '.join(words)}" if words != [name] else name for name, words in run.recipe["classes"]),
        ),
        ("settings", ", ".join(f"{name} {now!r}" for name, (_, now) in settings.items()) or "those of the model"),
        ("mask files", run.output_dir or "in the database"),
        ("versions", ", ".join(f"{name} {number}" for name, number in run.versions.items())),
    ]
    failures = run.passes[-1]["failures"] if run.passes else {}
    return facts + [(path, reason) for path, reason in list(failures.items())[:_FAILURES_SHOWN]]


def _comparison(run: LabelRun, other: LabelRun) -> list[tuple[str, str]]:
    from fiftyone_resclip.labeling.recipe import differences

    found = [(name, f"{before!r} / {after!r}") for name, (before, after) in differences(run.recipe, other.recipe).items()]
    return found or [("no difference", "both runs make the same masks")]


def _show(inputs: types.Object, facts: list[tuple[str, str]]) -> None:
    text = "\n".join(f"- **{verbatim(name)}**: {verbatim(value)}" for name, value in facts)
    inputs.md(text, name="facts")
