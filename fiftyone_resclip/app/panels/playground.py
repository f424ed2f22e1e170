"""The panel in which users try words on one image."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import fiftyone.operators as foo
from fiftyone.core.media import IMAGE
from fiftyone.operators import types

from fiftyone_resclip.app import models
from fiftyone_resclip.app.forms import method, words
from fiftyone_resclip.app.messages import plain, sentence, verbatim, warn
from fiftyone_resclip.app.operators.segment import SEGMENT_URI
from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.explore import saved_vocabularies

if TYPE_CHECKING:
    from fiftyone_resclip.explore.playground import Reading

_LAYERS = {"classes": "classes", "phrases": "winning phrase", "confidence": "confidence"}
_BARS = 12
_HELP = """Type classes and see their masks at once. Click the picture to see what that patch attends to: in RCS (earlier
blocks), in SFR (the first segmentation) and in the last block, which combines both. *Apply to view* opens *ResCLIP: segment* with
these words."""


class Playground(foo.Panel):  # type: ignore[misc]  # FiftyOne has no type information
    """Tries words, thresholds and mixes on one image: the open one, the selected one or the first of the view.

    The state holds the values of the inputs; each render computes everything else from them.
    """

    @property
    def config(self) -> foo.PanelConfig:
        """How FiftyOne lists the panel."""
        return foo.PanelConfig(
            name="playground", label="ResCLIP: words", icon="palette", surfaces="grid modal", help_markdown=_HELP
        )

    def on_load(self, ctx: Any) -> None:
        """Selects a model that needs no download."""
        if not ctx.panel.state.model:
            ctx.panel.state.model = method.first_model()

    def show_again(self, ctx: Any) -> None:
        """Does nothing, because FiftyOne renders the panel after every event."""

    on_change_current_sample = on_change_selected = on_change_view = on_change_group_slice = on_change_dataset = show_again

    def on_point(self, ctx: Any) -> None:
        """Remembers the clicked point."""
        ctx.panel.state.point = [ctx.params["y"], ctx.params["x"]]

    def on_download(self, ctx: Any) -> None:
        """Allows the download of the chosen model."""
        ctx.panel.state.download = ctx.panel.state.model

    @plain
    def on_save(self, ctx: Any) -> None:
        """Saves the words under the name that was typed."""
        state = ctx.panel_state
        model, _ = method.read({"model": method.first_model(), **state})
        saved_vocabularies.save(state.get("name") or "", words.read_for(model, state, ctx.dataset))
        ctx.ops.notify(f"Saved as {state['name']!r}", variant="success")

    @plain
    def on_apply(self, ctx: Any) -> None:
        """Opens the form of *Segment* with the words and settings of the panel."""
        names = (*words.NAMES, *method.NAMES, *method.SLIDERS)
        ctx.prompt(SEGMENT_URI, params={name: ctx.panel_state[name] for name in names if name in ctx.panel_state})

    def render(self, ctx: Any) -> types.Property:
        """Builds the inputs, the picture, the legend and the attention maps."""
        panel = types.Object()
        state = ctx.panel_state
        try:
            words.ask(panel, state, ctx.dataset, on_change=self.show_again)
            self._show(panel, ctx)
            method.ask(panel, state, method.first_model(), on_change=self.show_again)
        except Exception as error:
            warn(panel, "problem", sentence(error))
        panel.str("name", label="Save these words as", on_change=self.show_again)
        panel.btn("save", label="Save", on_click=self.on_save)
        panel.btn("apply", label="Apply to view", on_click=self.on_apply, variant="contained")
        return types.Property(panel, view=types.View())

    def _show(self, panel: types.Object, ctx: Any) -> None:
        state = ctx.panel_state
        if not words.given(state):
            panel.md("Type classes above, for example `road, car, sky`.", name="hint")
            return
        model, settings = method.read({"model": method.first_model(), **state})
        if method.model_states()[model] != "ready" and state.get("download") != model:
            panel.md(f"{model} is not on this machine yet.", name="hint")
            panel.btn("download", label=f"Download {model} and use it", on_click=self.on_download)
            return
        path, vocabulary = _path(ctx), words.read_for(model, state, ctx.dataset)
        models.in_turn(lambda: self._draw(panel, models.playground(model).read(path, vocabulary, settings), state))
        for line in words.chosen(state, vocabulary):
            panel.md(verbatim(line), name="background_chosen")

    def _draw(self, panel: types.Object, reading: Reading, state: Any) -> None:
        _picture(panel, reading, state.get("layer") or "classes", self.on_point, self.show_again)
        _legend(panel, reading)
        _attention(panel, reading, state.get("point"))


def _path(ctx: Any) -> str:
    """The image file of the open sample, the selected one or the first of the view."""
    chosen = ctx.current_sample or next(iter(ctx.selected), None)
    sample = ctx.view[chosen] if chosen else ctx.view.first()
    if sample.media_type != IMAGE:
        raise DatasetError(
            f"the playground shows images, but this sample has type {sample.media_type!r}; for videos, open dataset.to_frames()"
        )
    return str(sample.filepath)


def _picture(
    panel: types.Object, reading: Reading, layer: str, on_point: Callable[..., Any], on_layer: Callable[..., Any]
) -> None:
    from fiftyone_resclip.drawing import plots
    from fiftyone_resclip.explore import reading_figures

    choices = types.RadioGroup(orientation="horizontal")
    for value, label in _LAYERS.items():
        choices.add_choice(value, label=label)
    panel.enum("layer", list(_LAYERS), default="classes", label="Show", view=choices, on_change=on_layer)
    figure = plots.covered(reading_figures.photo(reading), reading_figures.cover(reading, layer), reading_figures.texts(reading))
    panel.plot("picture", data=figure.data, layout=figure.layout, config={"displayModeBar": False}, on_click=on_point, height=420)


def _legend(panel: types.Object, reading: Reading) -> None:
    from fiftyone_resclip.explore import reading_figures

    figure = reading_figures.legend(reading, _BARS)
    panel.plot(
        "legend",
        data=figure.data,
        layout=figure.layout,
        config={"displayModeBar": False},
        height=60 + 26 * len(figure.data[0]["y"]),
    )
    more = len(reading.shares) - _BARS
    if more > 0:
        panel.md(f"and {more} classes with fewer pixels", name="more")


def _attention(panel: types.Object, reading: Reading, point: list[float] | None) -> None:
    if point is None:
        return
    from fiftyone_resclip.explore import reading_figures

    figure = reading_figures.attention(reading, (point[0], point[1]))
    panel.plot("attention", data=figure.data, layout=figure.layout, config={"displayModeBar": False}, height=240)
