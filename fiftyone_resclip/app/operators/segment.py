"""The operator that labels a dataset, a view or a selection from the App."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_resclip.app import models
from fiftyone_resclip.app.forms import evidence, method, words
from fiftyone_resclip.app.messages import plain_steps, sentence, verbatim, warn
from fiftyone_resclip.app.operators import estimate, progress
from fiftyone_resclip.fields.names import checked
from fiftyone_resclip.fields.slices import image_slices, select_slice
from fiftyone_resclip.labeling.sharding import Shard, parse
from fiftyone_resclip.presets import MODES

if TYPE_CHECKING:
    from fiftyone_resclip.labeling.batches import LabelingReport
    from fiftyone_resclip.labeling.plan import Existing, Plan
    from fiftyone_resclip.model import ResCLIPModel

_DEFAULT_FIELD = "resclip"
_DATABASE, _DISK = "database", "disk"
_EXISTING = {
    "skip": "skip images that have a mask",
    "overwrite": "label everything again",
    "new field": "put the masks into a new field",
}
_ALL_SLICES = "all slices of images"

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
            dynamic=True,
            execute_as_generator=True,
            allow_immediate_execution=True,
            allow_delegated_execution=True,
        )

    def resolve_input(self, ctx: Any) -> types.Property:
        """Builds the form: target, classes, method, where to store the masks, and a preview of the run."""
        inputs = types.Object()
        try:
            _ask_slice(inputs, ctx)
            words.ask(inputs, ctx.params, ctx.dataset)
            method.ask(inputs, ctx.params)
            evidence.ask(inputs, ctx)
            _ask_destination(inputs, ctx.params)
            _preview(inputs, ctx)
        except Exception as error:
            warn(inputs, "problem", sentence(error)).invalid = True
        return types.Property(inputs, view=types.View(label="ResCLIP: segment"))

    @plain_steps
    def execute(self, ctx: Any) -> Iterator[Any]:
        """Labels batch by batch, saves each batch when it is done, and yields the progress for the App.

        The form does not ask for a ``shard``; programs that schedule several runs pass it as text, such as ``"0/4"``.
        """
        from fiftyone_resclip.labeling.label import iter_label

        plan, known, (name, settings) = _plan(ctx), evidence.read(ctx.params, ctx.dataset), method.read(ctx.params)
        shard = parse(ctx.params["shard"]) if ctx.params.get("shard") else None
        words.read(ctx.params, ctx.dataset)  # so that a mistake is shown before the model is loaded
        yield progress.show(ctx, 0.0, "Loading the model")
        vocabulary = words.read_for(name, ctx.params, ctx.dataset)
        model = models.in_turn(lambda: models.model(name, settings, vocabulary))
        if known.examples is not None:
            yield progress.show(ctx, 0.0, f"Learning from the masks of {known.examples.label_field!r}")
            model = models.in_turn(partial(evidence.taught, model, known.examples))
        steps = iter_label(
            plan.samples, model, plan.label_field, overwrite=plan.overwrite, output_dir=_output_dir(ctx.params), shard=shard,
            regions=known.regions, present=known.present,
        )  # fmt: skip
        report = yield from progress.label_in_turns(ctx, steps)
        yield from progress.finish(ctx, report, plan.label_field, _notes(ctx.params, model))

    def __call__(
        self,
        samples: Any,
        classes: Any,
        label_field: str = _DEFAULT_FIELD,
        model: str = method.DEFAULT_MODEL,
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
            model ("resclip-vit-b-16"): as in :func:`fiftyone_resclip.load_model`
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
        loaded = load_model(model, classes, **{**MODES[mode].settings, **settings})
        return label_samples(
            samples, loaded, plan.label_field, overwrite=plan.overwrite, output_dir=output_dir, shard=shard,
            regions=regions, present=present,
        )  # fmt: skip


def _ask_slice(inputs: types.Object, ctx: Any) -> None:
    slices = image_slices(ctx.target_view())  # FiftyOne adds its chooser of the target to forms that resolve it here
    if slices:
        current = ctx.group_slice if ctx.group_slice in slices else slices[0]
        inputs.enum("group_slice", [*slices, _ALL_SLICES], default=current, required=False, label="Group slice")


def _ask_destination(inputs: types.Object, params: dict[str, Any]) -> None:
    inputs.str("label_field", default=_DEFAULT_FIELD, required=False, label="Field for the masks")
    choices = types.RadioGroup(orientation="horizontal")
    for value, label in _EXISTING.items():
        choices.add_choice(value, label=label)
    inputs.enum("existing", list(_EXISTING), default="skip", required=False, label="If the field already has masks", view=choices)
    inputs.enum(
        "store", [_DATABASE, _DISK], default=_DATABASE, required=False, label="Store the masks in", view=types.RadioGroup()
    )
    if params.get("store") == _DISK:
        inputs.str(
            "output_dir", required=True, label="Folder", description="One PNG file per sample, named after the sample's id"
        )


def _preview(inputs: types.Object, ctx: Any) -> None:
    """Shows what will run, as far as the form is filled in."""
    inputs.bool("estimate", default=False, required=False, label="Estimate the time", description="Runs the model on five images")
    plan = _plan(ctx)
    lines = [f"{plan}."]
    if words.given(ctx.params):
        vocabulary = words.read(ctx.params, ctx.dataset)
        lines.append(f"{len(vocabulary.class_names)} classes, {len(vocabulary.flat_phrases)} phrases.")
        examples = evidence.read(ctx.params, ctx.dataset).examples
        if examples is not None:
            lines.append(
                f"{len(examples.samples.exists(examples.label_field))} masks of {examples.label_field!r} teach it first."
            )
        if ctx.params.get("estimate"):
            lines.append(estimate.sentence(plan, vocabulary, *method.read(ctx.params)))
    inputs.view("preview", types.Notice(label=verbatim(" ".join(lines))))


def _plan(ctx: Any) -> Plan:
    from fiftyone_resclip.labeling.plan import Plan

    chosen = ctx.params.get("group_slice") or ctx.group_slice
    samples = select_slice(ctx.target_view(), None if chosen == _ALL_SLICES else chosen)
    label_field = checked(ctx.params.get("label_field") or _DEFAULT_FIELD, "field")
    return Plan.of(samples, label_field, ctx.params.get("existing") or "skip")


def _notes(params: dict[str, Any], model: ResCLIPModel) -> list[str]:
    """Describes what the masks owe to more than the words that were typed."""
    learned = [] if model.taught is None else [f"Learned: {model.taught}"]
    return [*learned, *words.chosen(params, model.segmenter.vocabulary)]


def _output_dir(params: dict[str, Any]) -> str | None:
    return params.get("output_dir") if params.get("store") == _DISK else None
