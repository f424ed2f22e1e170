"""The operator that copies the kept labels to another field, or converts them for annotation tools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_resclip.app.messages import plain, point_out, sentence, warn
from fiftyone_resclip.app.operators import launch
from fiftyone_resclip.app.operators.verdicts import field_in
from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.fields.names import checked
from fiftyone_resclip.fields.schema import mask_fields

_TO_FIELD = "kept"
_FORMS = {"masks": "unchanged masks", "detections": "detections with instance masks", "polylines": "polylines"}


class UseKept(foo.Operator):  # type: ignore[misc]  # FiftyOne has no type information
    """Copies the kept labels to another field, or converts them for annotation tools."""

    @property
    def config(self) -> foo.OperatorConfig:
        """How FiftyOne lists and runs the operator."""
        return foo.OperatorConfig(
            name="use_kept",
            label="ResCLIP: copy kept labels",
            description="Copies the kept labels to another field as masks, detections or polylines",
            icon="content_copy",
            risk_level="medium",
            dynamic=True,
        )

    def resolve_input(self, ctx: Any) -> types.Property:
        """Builds the form: the field under review, the type of the copies, the target field, and the number of kept labels."""
        from fiftyone_resclip.explore import review

        inputs = types.Object()
        try:
            field = field_in(ctx, ctx.params.get("label_field"))
            inputs.enum("label_field", mask_fields(ctx.dataset), default=field, required=False, label="Masks under review")
            forms = types.RadioGroup()
            for value, label in _FORMS.items():
                forms.add_choice(value, label=label)
            inputs.enum("form", list(_FORMS), default="masks", required=False, label="Copy as", view=forms)
            if ctx.params.get("form") in ("detections", "polylines"):
                inputs.bool("instances", default=True, required=False, label="One label per connected region")
            inputs.str("to_field", required=True, default=_TO_FIELD, label="To field")
            samples, (to_field, form, instances) = ctx.target_view(), _given(ctx.params)
            inputs.view("preview", types.Notice(label=f"Kept labels: {review.counts(samples, field)['keep']}"))
            try:
                review.check_target(samples, field, to_field, form, instances=instances)
            except DatasetError as error:
                point_out(inputs, "to_field", str(error))
        except Exception as error:
            warn(inputs, "problem", sentence(error)).invalid = True
        return types.Property(inputs, view=types.View(label="ResCLIP: copy kept labels"))

    @plain
    def execute(self, ctx: Any) -> None:
        """Copies or converts the kept labels and shows the new field."""
        field, (to_field, form, instances) = field_in(ctx, ctx.params.get("label_field")), _given(ctx.params)
        count = self(ctx.target_view(), field, to_field, form, instances=instances)
        ctx.ops.notify(f"{count} kept labels are now in {to_field!r}", variant="success")
        launch.show_masks(ctx, [to_field])

    def __call__(
        self, samples: Any, label_field: str = "resclip", to_field: str = "kept", form: str = "masks", *, instances: bool = True
    ) -> int:
        """Copies or converts the kept labels from Python.

        Args:
            samples: a FiftyOne dataset or view
            label_field ("resclip"): the masks under review
            to_field ("kept"): the field for the copies
            form ("masks"): ``"masks"``, ``"detections"`` or ``"polylines"``
            instances (True): as in :func:`fiftyone_resclip.explore.review.convert`

        Returns:
            number of copied labels or, if converted, of converted samples
        """
        from fiftyone_resclip.explore import review

        if form == "masks":
            return review.copy_kept(samples, label_field, to_field)
        return review.convert(samples, label_field, to_field, form, instances=instances)  # type: ignore[arg-type]  # checked there


def _given(params: Mapping[str, Any]) -> tuple[str, str, bool]:
    """Returns the target field, the type of the copies, and whether each region becomes a label of its own."""
    to_field = params.get("to_field", _TO_FIELD)
    return checked(to_field or "", "field"), params.get("form") or "masks", params.get("instances", True)
