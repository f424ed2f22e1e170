"""The panel in which users keep masks, discard them or leave them for later, one by one, by key or by button."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock
from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_resclip.app.messages import plain, sentence, verbatim, warn
from fiftyone_resclip.app.operators.improve import IMPROVE_URI
from fiftyone_resclip.app.operators.verdicts import field_in, targets_in
from fiftyone_resclip.fields.schema import mask_fields

_USE_KEPT = "@fiftyone-resclip/resclip/use_kept"
_UNDO = "undo"
_KEYS: Mapping[str, str] = {"k": "keep", "d": "discard", "f": "fix later", "u": _UNDO}
_ONE_AFTER_THE_OTHER = Lock()  # FiftyOne sends two events per key, and both may run at the same time
_HELP = """A verdict applies to the open sample or to the selected samples. If none is open or selected, it applies to the sample
shown here: the first of the view without a verdict. Verdicts are stored in the field `<field>_review`."""


class Review(foo.Panel):  # type: ignore[misc]  # FiftyOne has no type information
    """Asks for verdicts on the open sample, the selected ones or the first of the view without a verdict."""

    @property
    def config(self) -> foo.PanelConfig:
        """How FiftyOne lists the panel."""
        return foo.PanelConfig(
            name="review", label="ResCLIP: review", icon="fact_check", surfaces="grid modal", help_markdown=_HELP
        )

    def show_again(self, ctx: Any) -> None:
        """Does nothing, because FiftyOne renders the panel after every event."""

    on_change_current_sample = on_change_selected = on_change_view = on_change_group_slice = on_change_dataset = show_again
    on_change_active_fields = show_again

    def on_load(self, ctx: Any) -> None:
        """Does nothing, because FiftyOne renders the panel after it is loaded."""

    @plain
    def on_button(self, ctx: Any) -> None:
        """Performs the action of the clicked button."""
        self._act(ctx, ctx.params["action"])

    @plain
    def on_key(self, ctx: Any) -> None:
        """Performs the action of the last typed key. The box keeps its text, because it would lose focus if it were cleared."""
        typed = str(ctx.params.get("value") or "").lower()
        if len(typed) > len(ctx.panel_state.get("typed") or ""):
            self._act(ctx, _KEYS.get(typed[-1]))
        ctx.panel.state.typed = typed

    @plain
    def on_use(self, ctx: Any) -> None:
        """Opens the form that copies or converts the kept labels."""
        ctx.prompt(_USE_KEPT, params={"label_field": field_in(ctx, ctx.panel_state.get("field"))})

    @plain
    def on_improve(self, ctx: Any) -> None:
        """Opens the form that learns from the kept masks and labels the rest again."""
        field = field_in(ctx, ctx.panel_state.get("field"))
        ctx.prompt(IMPROVE_URI, params={"label_field": field, "panel_id": ctx.panel_id})

    def render(self, ctx: Any) -> types.Property:
        """Builds the counts, the box for keys, the buttons and the picture under review."""
        panel = types.Object()
        try:
            self._show(panel, ctx)
        except Exception as error:
            warn(panel, "problem", sentence(error))
        return types.Property(panel, view=types.View())

    def _show(self, panel: types.Object, ctx: Any) -> None:
        from fiftyone_resclip.explore import review

        field = field_in(ctx, ctx.panel_state.get("field"))
        panel.enum("field", mask_fields(ctx.dataset), default=field, label="Masks under review", on_change=self.show_again)
        ctx.panel.state.revision = review.revision(ctx.dataset, field)
        counts = review.counts(ctx.view, field)
        panel.md(" · ".join(f"**{number}** {name}" for name, number in counts.items()), name="counts")
        for number, line in enumerate(review.unfinished(ctx.dataset, field)):
            warn(panel, f"unfinished_{number}", line)
        panel.str("key", label="Type here: k keep, d discard, f fix later, u undo", on_change=self.on_key)
        buttons = panel.h_stack("buttons", gap=1)
        for key, action in _KEYS.items():
            buttons.btn(f"act_{key}", label=action, on_click=self.on_button, params={"action": action}, variant="outlined")
        uses = panel.h_stack("uses", gap=1)
        uses.btn("use", label="Copy kept labels", on_click=self.on_use, variant="contained")
        if counts["keep"]:
            uses.btn("improve", label="Improve the rest", on_click=self.on_improve, variant="contained")
        self._show_sample(panel, ctx, field)

    def _show_sample(self, panel: types.Object, ctx: Any, field: str) -> None:
        from fiftyone_resclip.explore import review
        from fiftyone_resclip.explore.improvement import earlier_field

        if targets_in(ctx):
            panel.md(f"Verdicts apply to {len(targets_in(ctx))} open or selected sample(s).", name="target")
            return
        first = next(iter(review.still_open(ctx.view, field).limit(1)), None)
        ctx.panel.state.shown = first and first.id
        if first is None:
            panel.md("Every mask of the view has a verdict.", name="target")
            return
        earlier = earlier_field(ctx.dataset, field)
        if earlier is None or first[earlier] is None:
            _draw(panel, "picture", ctx, first, field, height=380)
            return
        for name, title, each in (("before", "Before", earlier), ("picture", "Now", field)):  # pictures in a row become tiny
            panel.md(f"{title}: {verbatim(each)}", name=f"title_{name}")
            _draw(panel, name, ctx, first, each, height=220)

    def _act(self, ctx: Any, action: str | None) -> None:
        """Marks or undoes, unless the panel showed an earlier state: FiftyOne sends each key twice, and only the first counts."""
        with _ONE_AFTER_THE_OTHER:
            self._act_alone(ctx, action)

    def _act_alone(self, ctx: Any, action: str | None) -> None:
        from fiftyone_resclip.explore import review

        field = field_in(ctx, ctx.panel_state.get("field"))
        if action is None or ctx.panel_state.get("revision") != review.revision(ctx.dataset, field):
            return
        if action == _UNDO:
            if review.undo(ctx.dataset, field) is None:
                ctx.ops.notify("There is nothing to undo")
            return
        shown = ctx.panel_state.get("shown")  # another reviewer may have given it a verdict since
        ids = targets_in(ctx) or ([shown] if shown else [])
        review.mark(ctx.dataset, field, ids, action)  # type: ignore[arg-type]  # checked there
        following = review.still_open(ctx.view, field).limit(1).values("id")
        if ctx.current_sample and following:
            ctx.ops.open_sample(id=following[0])


def _draw(panel: types.Object, name: str, ctx: Any, sample: Any, field: str, height: int) -> None:
    from fiftyone_resclip.explore import review

    figure = review.picture(sample, field, ctx.dataset.mask_targets.get(field) or {})
    panel.plot(name, data=figure.data, layout=figure.layout, config={"displayModeBar": False}, height=height)
