"""The operator that labels a dataset, a view or a selection from the App."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_resclip.app import background, models
from fiftyone_resclip.app.forms import destination, evidence, method, selection, words
from fiftyone_resclip.app.messages import plain, point_out, sentence, verbatim, warn
from fiftyone_resclip.app.operators import estimate, launch
from fiftyone_resclip.errors import counted
from fiftyone_resclip.fields.names import checked
from fiftyone_resclip.fields.slices import image_slices, select_slice
from fiftyone_resclip.labeling.sharding import Shard, parse
from fiftyone_resclip.presets import MODES, default_config

if TYPE_CHECKING:
    from fiftyone_resclip.labeling.batches import LabelingReport
    from fiftyone_resclip.labeling.plan import Existing, Plan
    from fiftyone_resclip.model import ResCLIPModel

_ALL_SLICES = "all slices of images"

ICON = "format_paint"

#: The name under which other parts, such as the playground, call the operator.
SEGMENT_URI = "@fiftyone-resclip/resclip/segment"


class Segment(foo.Operator):  # type: ignore[misc]  # FiftyOne has no type information
    """Labels the target view with masks for classes given as words."""

    @property
    def config(self) -> foo.OperatorConfig:
        """How FiftyOne lists and runs the operator."""
        return foo.OperatorConfig(
            name="segment",
            label="ResCLIP: segment",
            description="Makes masks for classes that you describe in words, without training",
            icon=ICON,
            risk_level="high",
            dynamic=True,
            allow_immediate_execution=True,
            allow_delegated_execution=True,
        )

    def resolve_placement(self, ctx: Any) -> types.Placement:
        """Puts a button above the grid."""
        button = types.Button(label="Segment by words (ResCLIP)", icon=ICON, prompt=True)
        return types.Placement(types.Places.SAMPLES_GRID_SECONDARY_ACTIONS, button)

    def resolve_input(self, ctx: Any) -> types.Property:
        """Builds the form: classes, one sentence on the run, and everything else below *Advanced*."""
        inputs = types.Object()
        try:
            _ask_slice(inputs, ctx)
            selection.ask(inputs, ctx)
            words.ask(inputs, ctx.params, ctx.dataset, source=words.CHIPS)
            _ask_advanced(inputs, ctx)
            _preview(inputs, ctx)
        except Exception as error:
            warn(inputs, "problem", sentence(error)).invalid = True
        for name, problem in _problems(ctx):
            point_out(inputs, name, problem)
        return types.Property(inputs, view=types.View(label="ResCLIP: segment", submit_button_label="Segment"))

    @plain
    def execute(self, ctx: Any) -> dict[str, Any] | None:
        """Starts a run, which saves each batch when it is done.

        The form does not ask for a ``shard``; programs that schedule several runs pass it as text, such as ``"0/4"``.
        """
        for _, check in _CHECKS:
            check(ctx)
        plan = _plan(ctx)
        return launch.launch(ctx, plan.label_field, _labelling(plan, ctx.params, ctx.dataset))

    def __call__(
        self,
        samples: Any,
        classes: Any,
        label_field: str = destination.DEFAULT_FIELD,
        model: str | None = None,
        mode: str = method.DEFAULT_MODE,
        existing: Existing = "skip",
        output_dir: str | None = None,
        shard: Shard | None = None,
        regions: str | None = None,
        present: str | None = None,
        **settings: Any,
    ) -> LabelingReport:
        """Labels a collection from Python.

        Args:
            samples: a FiftyOne dataset or view of images
            classes: as in :meth:`fiftyone_resclip.Vocabulary.parse`
            label_field ("resclip"): the field for the masks
            model (None): as in :func:`fiftyone_resclip.load_model`; by default the first named model that needs no download
            mode ("full"): one of ``presets.MODES``
            existing ("skip"): what happens to existing masks: ``"skip"``, ``"overwrite"`` or ``"new field"``
            output_dir (None): folder for the mask files; by default the database stores the masks
            shard (None): as in :func:`fiftyone_resclip.label`, also ``regions`` and ``present``
            regions (None): field of outlines
            present (None): field that names the classes in an image
            **settings: as in :func:`fiftyone_resclip.load_model`

        Returns:
            the report
        """
        from fiftyone_resclip.labeling.label import label as label_samples
        from fiftyone_resclip.labeling.plan import Plan
        from fiftyone_resclip.model import load_model

        method.read({"model": None, "mode": mode})  # refuses an unknown mode
        plan = Plan.of(samples, label_field, existing)
        loaded = load_model(model or method.first_model(), classes, **{**MODES[mode].settings, **settings})
        return label_samples(
            samples, loaded, plan.label_field, overwrite=plan.overwrite, output_dir=output_dir, shard=shard,
            regions=regions, present=present,
        )  # fmt: skip


def _ask_slice(inputs: types.Object, ctx: Any) -> None:
    slices = image_slices(ctx.target_view())  # FiftyOne adds its chooser of the target to forms that resolve it here
    if slices:
        current = ctx.group_slice if ctx.group_slice in slices else slices[0]
        inputs.enum("group_slice", [*slices, _ALL_SLICES], default=current, required=False, label="Group slice")


def _ask_advanced(inputs: types.Object, ctx: Any) -> None:
    """Adds the inputs that most runs don't need; what was chosen there counts even if they are hidden again."""
    inputs.bool("advanced", default=False, required=False, label="Advanced: model, thresholds, evidence, field, folder, time")
    if ctx.params.get("advanced"):
        method.ask(inputs, ctx.params)
        evidence.ask(inputs, ctx)
        destination.ask(inputs, ctx.params)
        inputs.bool(
            "estimate", default=False, required=False, label="Estimate the time", description="Runs the model on five images"
        )


def _preview(inputs: types.Object, ctx: Any) -> None:
    """Says in one sentence what will run, as far as the form is filled in."""
    plan, (name, settings) = _plan(ctx), method.read(ctx.params)
    parts = [str(plan), method.described(name)]
    if words.given(ctx.params):
        vocabulary = words.read(ctx.params, ctx.dataset)
        classes, phrases = len(vocabulary.class_names), len(vocabulary.flat_phrases)
        parts.append(counted(classes, "class") + (f" in {phrases} phrases" if phrases != classes else ""))
        parts.extend(evidence.described(evidence.read(ctx.params, ctx.dataset)))
        if ctx.params.get("estimate"):
            parts.append(estimate.sentence(plan, vocabulary, name, settings))
    destination.ask_existing(inputs, ctx.params, plan)
    inputs.view("preview", types.Notice(label=verbatim("; ".join(parts))))
    destination.ask_consent(inputs, plan)
    method.ask_consent(inputs, ctx.params)


def _problems(ctx: Any) -> Iterator[tuple[str, str]]:
    """Yields what would keep the run from starting, with the name of the input that can mend it."""
    for name, check in _CHECKS:
        if name is None and not words.given(ctx.params):
            return  # an empty form is no mistake
        try:
            check(ctx)
        except Exception as error:
            yield name or words.input_of(ctx.params, words.CHIPS), sentence(error)


def _check_mixing(ctx: Any) -> None:
    """Refuses words or settings that are not those of the masks in the field; what examples will teach is not known yet.

    A run that waits for another run of its field is checked when it begins.
    """
    from fiftyone_resclip.clip.weights import is_at_hand
    from fiftyone_resclip.labeling.recipe import recipe_for

    plan, known, (name, settings) = _plan(ctx), evidence.read(ctx.params, ctx.dataset), method.read(ctx.params)
    is_settled = known.examples is None and plan.label_field not in launch.taken(ctx.dataset)
    if not plan.skipped + plan.replaced or not is_settled or not is_at_hand(name):
        return
    vocabulary, config = words.read_for(name, ctx.params, ctx.dataset), default_config(name).varied(settings)
    clues = {"regions": known.regions, "present": known.present}
    recipe = models.in_turn(lambda: recipe_for(models.backbone(name), vocabulary, config, known.taught, **clues))
    plan.check(recipe, vocabulary)


#: What both the form and the run check, each with the name of the input that is to blame; ``None`` for that of the classes.
_CHECKS: tuple[tuple[str | None, Callable[[Any], Any]], ...] = (
    (None, lambda ctx: words.read(ctx.params, ctx.dataset)),
    ("model", lambda ctx: method.read(ctx.params)),
    ("label_field", lambda ctx: _plan(ctx)),
    ("output_dir", lambda ctx: destination.check_folder(ctx.params)),
    ("learn_from", lambda ctx: evidence.read(ctx.params, ctx.dataset)),
    ("confirm_field", lambda ctx: destination.check_consent(ctx.params, _plan(ctx))),
    ("label_field", _check_mixing),
)


def _plan(ctx: Any) -> Plan:
    from fiftyone_resclip.labeling.plan import Plan

    chosen = ctx.params.get("group_slice") or ctx.group_slice
    samples = select_slice(ctx.target_view(), None if chosen == _ALL_SLICES else chosen)
    label_field = checked(ctx.params.get("label_field") or destination.DEFAULT_FIELD, "field")
    return Plan.of(samples, label_field, ctx.params.get("existing") or "skip", launch.taken(ctx.dataset))


def _labelling(plan: Plan, params: dict[str, Any], dataset: Any) -> background.Steps:
    """Returns the run."""
    known, (name, settings) = evidence.read(params, dataset), method.read(params)
    shard = parse(params["shard"]) if params.get("shard") else None

    def steps() -> background.Steps:
        from fiftyone_resclip.labeling.label import iter_label

        yield "Loads the model"
        vocabulary = words.read_for(name, params, dataset)
        model = models.in_turn(lambda: models.model(name, settings, vocabulary, known.taught))
        if known.examples is not None:
            what = f"the masks of {known.examples.label_field!r} and the look of other images"
            model = yield from models.learning(evidence.iter_learn(model, known), what)
        labelling = iter_label(
            plan.samples, model, plan.label_field, overwrite=plan.overwrite and plan.label_field,  # the form asked
            output_dir=destination.output_dir(params),
            shard=shard, regions=known.regions, present=known.present,
        )  # fmt: skip
        yield from models.by_turns(labelling)
        return _notes(params, model, known.lesson_name)

    return steps()


def _notes(params: dict[str, Any], model: ResCLIPModel, lesson_name: str | None) -> list[str]:
    """Describes what the masks owe to more than the words that were typed."""
    learned = [] if model.taught is None else [f"Learned: {model.taught}"]
    saved = [] if lesson_name is None else [f"Saved as the lesson {lesson_name!r}"]
    return [*learned, *saved, *words.chosen(params, model.segmenter.vocabulary)]
