"""The operator that learns from the kept masks of a review and labels what has no verdict, into a new field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_resclip.app import models
from fiftyone_resclip.app.messages import plain_steps, sentence, verbatim, warn
from fiftyone_resclip.app.operators import progress
from fiftyone_resclip.app.operators.verdicts import field_in
from fiftyone_resclip.fields.schema import mask_fields

#: The name under which the review panel calls the operator.
IMPROVE_URI = "@fiftyone-resclip/resclip/improve"
_REVIEW = "review"


class Improve(foo.Operator):  # type: ignore[misc]  # FiftyOne has no type information
    """Improves the masks that nobody has judged yet by those that were kept."""

    @property
    def config(self) -> foo.OperatorConfig:
        """How FiftyOne lists and runs the operator."""
        return foo.OperatorConfig(
            name="improve",
            label="ResCLIP: improve the rest",
            description="Learns from the kept masks and labels the images without a verdict again, into a new field",
            dynamic=True,
            execute_as_generator=True,
        )

    def resolve_input(self, ctx: Any) -> types.Property:
        """Builds the form: the field under review, and what will happen."""
        from fiftyone_resclip.explore.improvement import Improvement

        inputs = types.Object()
        try:
            field = field_in(ctx, ctx.params.get("label_field"))
            inputs.enum("label_field", mask_fields(ctx.dataset), default=field, required=False, label="Masks under review")
            inputs.view("preview", types.Notice(label=verbatim(f"{Improvement.of(ctx.dataset, field)}.")))
        except Exception as error:
            warn(inputs, "problem", sentence(error)).invalid = True
        return types.Property(inputs, view=types.View(label="ResCLIP: improve the rest"))

    @plain_steps
    def execute(self, ctx: Any) -> Iterator[Any]:
        """Learns, labels batch by batch, and opens the review of the new field."""
        from fiftyone_resclip.explore.improvement import Improvement, learn_kept
        from fiftyone_resclip.labeling.recipe import model_of

        field = field_in(ctx, ctx.params.get("label_field"))
        plan = Improvement.of(ctx.dataset, field)
        yield progress.show(ctx, 0.0, "Loading the model")
        recipe = plan.run.recipe
        model = models.in_turn(lambda: model_of(recipe, models.backbone(recipe["model"])))
        yield progress.show(ctx, 0.0, f"Learning from {len(plan.kept)} kept masks")
        taught = models.in_turn(lambda: learn_kept(model, plan.kept, field))
        report = yield from progress.label_in_turns(ctx, plan.iter_label(taught))
        lines = [f"Learned: {taught.taught}", f"The {len(plan.kept)} kept masks are in {plan.to_field!r}, too"]
        yield from progress.finish(ctx, report, plan.to_field, lines, hidden=[field])
        if ctx.params.get("panel_id"):
            yield ctx.ops.patch_panel_state({"field": plan.to_field}, panel_id=ctx.params["panel_id"])
        else:
            yield ctx.ops.open_panel(_REVIEW, layout="horizontal", state={"field": plan.to_field})
