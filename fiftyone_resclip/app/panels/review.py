"""The panel in which users keep masks, discard them or leave them for later, one by one, by key or by button."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_resclip.app import colours
from fiftyone_resclip.app.messages import answering, plain, sentence, warn
from fiftyone_resclip.app.operators import launch
from fiftyone_resclip.app.operators.improve import IMPROVE_URI
from fiftyone_resclip.app.operators.verdicts import field_in, targets_in
from fiftyone_resclip.app.scope import scope_of
from fiftyone_resclip.fields.names import checked

_USE_KEPT, _EXPORT = "@fiftyone-resclip/resclip/use_kept", "@fiftyone-resclip/resclip/export"
_KEYS: Mapping[str, str] = {"k": "keep", "d": "discard", "f": "fix later", "u": "undo"}
_AHEAD = 64
_HELP = """Keys: `k` keeps the mask, `d` discards it, `f` leaves it to be fixed later, `u` undoes the last verdict. A verdict
applies to the open sample or to the selected samples. If none is open or selected, it applies to the sample shown here: the next
of the view without a verdict. Verdicts are stored in the field `<field>_review`."""


class Review(foo.Panel):  # type: ignore[misc]  # FiftyOne has no type information
    """Asks for verdicts on the open sample, the selected ones or the next of the view without a verdict.

    The component in the browser decides which sample each key is meant for, and sends the keys in order. Opening the panel writes
    nothing.
    """

    @property
    def config(self) -> foo.PanelConfig:
        """How FiftyOne lists the panel."""
        return foo.PanelConfig(
            name=launch.REVIEW_PANEL, label="ResCLIP: review", icon="fact_check", surfaces="grid modal", help_markdown=_HELP
        )

    def show_again(self, ctx: Any) -> None:
        """Does nothing, because FiftyOne renders the panel after every event."""

    on_change_current_sample = on_change_selected = on_change_view = on_change_group_slice = show_again
    on_change_dataset = show_again

    def on_load(self, ctx: Any) -> None:
        """Colours masks by class in the grid, too; FiftyOne renders the panel after it is loaded."""
        colours.show(ctx)

    @answering
    def on_ahead(self, ctx: Any) -> dict[str, Any]:
        """Lists the next samples without a verdict, except those that the component knows, and goes round at the end."""
        from fiftyone_resclip.explore import review

        field = checked(ctx.params["field"], "field")
        ids = review.ahead(ctx.view, field, _AHEAD, after=ctx.params["after"], without=ctx.params["without"])
        return {"ids": ids, "complete": len(ids) < _AHEAD}

    @answering
    def on_pictures(self, ctx: Any) -> dict[str, Any]:
        """Prepares samples with their masks."""
        from fiftyone_resclip.explore import review_pictures

        return {"pictures": review_pictures.pictures(ctx.dataset, checked(ctx.params["field"], "field"), ctx.params["ids"])}

    @answering
    def on_verdicts(self, ctx: Any) -> dict[str, Any]:
        """Takes keys, each with the samples that it was meant for."""
        from fiftyone_resclip.explore import review_keys

        keys = [review_keys.Key(**key) for key in ctx.params["verdicts"]]
        undone = review_keys.take(ctx.dataset, ctx.params["session"], keys)
        for text in dict.fromkeys(undone):
            ctx.ops.notify(text or "There is nothing to undo")
        return {}

    @plain
    def on_use(self, ctx: Any) -> None:
        """Opens the form that copies or converts the kept labels."""
        ctx.prompt(_USE_KEPT, params={"label_field": _field(ctx)[0]})

    @plain
    def on_improve(self, ctx: Any) -> None:
        """Opens the form that learns from the kept masks and labels the rest again."""
        ctx.prompt(IMPROVE_URI, params={"label_field": _field(ctx)[0], "panel_id": ctx.panel_id})

    @plain
    def on_export(self, ctx: Any) -> None:
        """Opens the form that writes the kept masks to files."""
        ctx.prompt(_EXPORT, params={"label_field": _field(ctx)[0], "kept": True})

    def render(self, ctx: Any) -> types.Property:
        """Builds the choice of masks, the component that shows them and takes verdicts, and what follows a review."""
        panel = types.Object()
        try:
            self._show(panel, ctx)
        except Exception as error:
            warn(panel, "problem", sentence(error))
        return types.Property(panel, view=types.View(componentsProps={"container": {"sx": {"pr": 2}}}))

    def _show(self, panel: types.Object, ctx: Any) -> None:
        from fiftyone_resclip.explore import review

        field, fields = _field(ctx)
        panel.enum("field", fields, default=field, label="Masks under review", on_change=self.show_again)
        counts = review.counts(ctx.view, field)
        for number, line in enumerate(review.unfinished(ctx.dataset, field)):
            warn(panel, f"unfinished_{number}", line)
        handlers = {"on_ahead": self.on_ahead, "on_pictures": self.on_pictures, "on_verdicts": self.on_verdicts}
        shown = {"field": field, "scope": scope_of(ctx, field), "chosen": targets_in(ctx), "counts": counts, "keys": dict(_KEYS)}
        panel.view("masks", types.ComponentView("ResclipReview", **shown, **handlers))
        if not counts["keep"]:
            panel.md("Kept masks can be copied and exported, and can teach the model to improve the rest.", name="later")
            return
        uses = panel.h_stack("uses", gap=1)
        uses.btn("improve", label="Improve the rest", on_click=self.on_improve, variant="contained")
        uses.btn("use", label="Copy kept labels", on_click=self.on_use, variant="outlined")
        uses.btn("export", label="Export", on_click=self.on_export, variant="outlined")


def _field(ctx: Any) -> tuple[str, list[str]]:
    """Returns the field under review and all that can be chosen."""
    from fiftyone_resclip.explore.review_pictures import reviewable

    fields, chosen = reviewable(ctx.dataset), ctx.panel_state.get("field")
    return field_in(ctx, chosen if chosen in fields else None), fields
