"""The operator that learns from the kept masks of a review and labels all other images, into a new field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_resclip.app import background, models
from fiftyone_resclip.app.messages import plain, sentence, verbatim, warn
from fiftyone_resclip.app.operators import launch
from fiftyone_resclip.app.operators.verdicts import field_in
from fiftyone_resclip.errors import counted
from fiftyone_resclip.fields.schema import mask_fields

if TYPE_CHECKING:
    from fiftyone_resclip.explore.improvement import Improvement

#: The name under which the review panel calls the operator.
IMPROVE_URI = "@fiftyone-resclip/resclip/improve"


class Improve(foo.Operator):  # type: ignore[misc]  # FiftyOne has no type information
    """Improves all masks that were not kept by those that were."""

    @property
    def config(self) -> foo.OperatorConfig:
        """How FiftyOne lists and runs the operator."""
        return foo.OperatorConfig(
            name="improve",
            label="ResCLIP: improve the rest",
            description="Learns from the kept masks and labels all other images again, into a new field",
            icon="auto_fix_high",
            risk_level="medium",
            dynamic=True,
        )

    def resolve_input(self, ctx: Any) -> types.Property:
        """Builds the form: the field under review, and what will happen."""
        inputs = types.Object()
        try:
            field = field_in(ctx, ctx.params.get("label_field"))
            inputs.enum("label_field", mask_fields(ctx.dataset), default=field, required=False, label="Masks under review")
            inputs.view("preview", types.Notice(label=verbatim(f"{_plan(ctx, field)}.")))
        except Exception as error:
            warn(inputs, "problem", sentence(error)).invalid = True
        return types.Property(inputs, view=types.View(label="ResCLIP: improve the rest"))

    @plain
    def execute(self, ctx: Any) -> dict[str, Any] | None:
        """Starts a run that learns and labels; opens the review of the new field when it has ended."""
        field = field_in(ctx, ctx.params.get("label_field"))
        plan, in_modal = _plan(ctx, field), ctx.params.get("panel_id") if ctx.current_sample else None

        def review_it(page: Any) -> None:
            if in_modal:
                page.ops.patch_panel_state({"field": plan.to_field}, panel_id=in_modal)
            else:
                launch.open_panel(page, launch.REVIEW_PANEL, field=plan.to_field)

        return launch.launch(ctx, plan.to_field, _improving(plan, field), arrived=review_it)


def _plan(ctx: Any, field: str) -> Improvement:
    from fiftyone_resclip.explore.improvement import Improvement

    return Improvement.of(ctx.dataset, field, taken=launch.taken(ctx.dataset))


def _improving(plan: Improvement, field: str) -> background.Steps:
    from fiftyone_resclip.explore.improvement import iter_learn_kept
    from fiftyone_resclip.labeling.recipe import model_of

    yield "Loads the model"
    recipe = plan.run.recipe
    model = models.in_turn(lambda: model_of(recipe, models.backbone(recipe["model"])))
    what = f"{counted(len(plan.kept), 'kept mask')} and the look of other images"
    taught = yield from models.learning(iter_learn_kept(model, plan.kept, field), what)
    yield from models.by_turns(plan.iter_label(taught))
    return [f"Learned: {taught.taught}", f"The kept masks are in {plan.to_field!r}, too"]
