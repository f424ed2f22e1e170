"""The operator that lists the classes of masks of any origin, so that the sidebar filters by class and sorts by share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_resclip.app.messages import plain, sentence, warn
from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.fields.schema import mask_fields

if TYPE_CHECKING:
    from fiftyone_resclip.labeling.summarizing import Summarized


class Summarize(foo.Operator):  # type: ignore[misc]  # FiftyOne has no type information
    """Stores which classes the masks of a field have, each with its share of the pixels."""

    @property
    def config(self) -> foo.OperatorConfig:
        """How FiftyOne lists and runs the operator."""
        return foo.OperatorConfig(
            name="summarize",
            label="ResCLIP: list the classes of masks",
            description="Stores which classes each mask has, with their shares, to filter and sort by",
            risk_level="medium",
            dynamic=True,
            allow_immediate_execution=True,
            allow_delegated_execution=True,
        )

    def resolve_input(self, ctx: Any) -> types.Property:
        """Builds the form: the field of masks, and whether existing lists are made anew."""
        inputs = types.Object()
        try:
            ctx.target_view()  # FiftyOne adds its chooser of the target to forms that resolve it here
            fields = mask_fields(ctx.dataset)
            if not fields:
                raise DatasetError("there are no masks yet; ResCLIP: segment makes some")
            inputs.enum("label_field", fields, default=fields[0], required=False, label="Field of masks")
            inputs.bool("overwrite", default=False, required=False, label="List again where a list exists")
        except Exception as error:
            warn(inputs, "problem", sentence(error)).invalid = True
        return types.Property(inputs, view=types.View(label="ResCLIP: list the classes of masks"))

    @plain
    def execute(self, ctx: Any) -> None:
        """Lists the classes and shows the new field."""
        field = ctx.params.get("label_field") or next(iter(mask_fields(ctx.dataset)), "resclip")
        done = self(ctx.target_view(), field, overwrite=bool(ctx.params.get("overwrite")))
        ctx.ops.notify(str(done), variant="warning" if done.failures else "success")
        ctx.ops.reload_dataset()

    def __call__(self, samples: Any, label_field: str = "resclip", overwrite: bool = False) -> Summarized:
        """Does the same as :func:`fiftyone_resclip.summarize`."""
        from fiftyone_resclip.labeling.summarizing import summarize

        return summarize(samples, label_field, overwrite=overwrite, progress=False)
