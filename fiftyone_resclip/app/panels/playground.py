"""The panel in which users try words on one image."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import fiftyone.operators as foo
from cachetools import LRUCache
from fiftyone.core.media import IMAGE
from fiftyone.operators import types

from fiftyone_resclip.app import models
from fiftyone_resclip.app.forms import evidence, method, words
from fiftyone_resclip.app.messages import answering, plain, sentence, warn
from fiftyone_resclip.app.operators.segment import SEGMENT_URI
from fiftyone_resclip.app.scope import scope_of
from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.explore import saved_vocabularies
from fiftyone_resclip.fields.colour_scheme import class_colours
from fiftyone_resclip.fields.private import dataset_id
from fiftyone_resclip.vocabulary import Vocabulary

if TYPE_CHECKING:
    from fiftyone_resclip.explore.playground import Reading

_FORM = "form"
_NEW_FIELD = "new field"  # other words, other masks: they never fit the field of an earlier run
_CLASSES_LISTED = 12
#: Twelfths of the panel's width for the picture; the form has the others.
_LEFT = 7
_DATASETS_KEPT, _TRIED_KEPT = 100, 50
#: The last values of the form by dataset, which carry words from the grid to the modal and back.
_tried: LRUCache[Any, deque[Mapping[str, Any]]] = LRUCache(_DATASETS_KEPT)
_HELP = """Type classes and see their masks. Click the picture to see what that patch attends to: in RCS (earlier blocks), in SFR
(the first segmentation) and in the last block, which combines both. The arrow keys show other images. *Apply to view* opens
*ResCLIP: segment* with these words."""


class Playground(foo.Panel):  # type: ignore[misc]  # FiftyOne has no type information
    """Tries words, thresholds and mixes on one image: the open one, a selected one or one of the view.

    The state holds the values of the form. The component in the browser watches them, asks for a mask when the user pauses, and
    never for two at a time.
    """

    @property
    def config(self) -> foo.PanelConfig:
        """How FiftyOne lists the panel."""
        return foo.PanelConfig(
            name="playground", label="ResCLIP: words", icon="palette", surfaces="grid modal", help_markdown=_HELP
        )

    def show_again(self, ctx: Any) -> None:
        """Does nothing, because FiftyOne renders the panel after every event."""

    on_change_selected = on_change_view = on_change_group_slice = show_again

    def on_load(self, ctx: Any) -> None:
        """Takes the words that were last tried on the dataset, in this panel or its twin, or those of the last run."""
        from fiftyone_resclip.labeling.recipe import vocabulary_of
        from fiftyone_resclip.labeling.runs import latest_run

        tried, form = _tried.get(dataset_id(ctx.dataset)), _form(ctx)
        being_typed = words.given(form) and form not in (tried or ())
        if tried and not being_typed and tried[-1] != form:
            ctx.panel.state.form = dict(tried[-1])
        elif not tried and not words.given(form):
            run = latest_run(ctx.dataset)
            if run is not None:
                ctx.panel.state.form = {**form, **words.written(vocabulary_of(run.recipe))}

    on_change_current_sample = on_change_dataset = on_load

    @answering
    def on_read(self, ctx: Any) -> dict[str, Any]:
        """Segments an image with the words of the form."""
        from fiftyone_resclip.explore import reading_view

        form, (sample, index, count) = ctx.params[_FORM], _sample(ctx, ctx.params["index"])
        _tried.setdefault(dataset_id(ctx.dataset), deque(maxlen=_TRIED_KEPT)).append(form)
        shown = {"id": sample.id, "path": sample.filepath, "index": index, "count": count}
        if not words.given(form):
            return {**shown, "hint": "Type classes, for example: road, car, sky"}
        if _missing_model(ctx, form):
            return {**shown, "hint": f"{_missing_model(ctx, form)} is not on this machine yet."}
        vocabulary, read = _prepared(ctx, form, sample.filepath)
        colours = class_colours(ctx.dataset, vocabulary.class_names)
        view = models.in_turn(lambda: reading_view.view_of(read(), colours, _CLASSES_LISTED))
        return {**shown, **view, "notes": words.chosen(form, vocabulary)}

    @answering
    def on_point(self, ctx: Any) -> dict[str, Any]:
        """Draws what the patch at a point attends to."""
        from fiftyone_resclip.explore import reading_view

        form, (sample, *_) = ctx.params[_FORM], _sample(ctx, ctx.params["index"])
        (_, read), point = _prepared(ctx, form, sample.filepath), (ctx.params["y"], ctx.params["x"])
        return {"maps": models.in_turn(lambda: reading_view.attention(read(), point))}

    def on_download(self, ctx: Any) -> None:
        """Allows the download of the chosen model."""
        ctx.panel.state.download = _model(_form(ctx))

    @plain
    def on_save(self, ctx: Any) -> None:
        """Saves the words under the name that was typed."""
        form = _form(ctx)
        saved_vocabularies.save(form.get("name") or "", _vocabulary(ctx, form))
        ctx.ops.notify(f"Saved as {form['name']!r}", variant="success")

    @plain
    def on_apply(self, ctx: Any) -> None:
        """Opens the form of *Segment* with the words and settings of the panel."""
        form, names = _form(ctx), (*words.NAMES, *method.NAMES, *method.SLIDERS, evidence.LEARN_FROM)
        given = {name: form[name] for name in names if name in form} | {"existing": _NEW_FIELD}
        ctx.prompt(SEGMENT_URI, params={**given, "evidence": True} if evidence.lesson(given) else given)

    @plain
    def on_add(self, ctx: Any) -> None:
        """Opens the form of *Segment* with the words and settings of the last run, and the words that it did not have."""
        from fiftyone_resclip.labeling.recipe import vocabulary_of
        from fiftyone_resclip.labeling.runs import latest_run

        run = latest_run(ctx.dataset)
        if run is None:
            raise DatasetError("there is no labelling run to which words could be added; use 'Apply to view'")
        vocabulary = vocabulary_of(run.recipe).extended(_vocabulary(ctx, _form(ctx)))
        settings = method.written(run.recipe["model"], run.recipe["settings"])
        ctx.prompt(SEGMENT_URI, params={**words.written(vocabulary), **settings, "existing": _NEW_FIELD})

    def render(self, ctx: Any) -> types.Property:
        """Builds the component with the picture, and beside it the form and what can be done with the words."""
        panel = types.Object()
        handlers = {"on_read": self.on_read, "on_point": self.on_point}
        scope = scope_of(ctx, list(ctx.selected), ctx.current_sample)
        panel.view("reading", types.ComponentView("ResclipWords", scope=scope, space=_LEFT, **handlers))
        form = types.Object()
        panel.define_property(_FORM, form, view=types.View(space=12 - _LEFT, componentsProps={"container": {"sx": {"pr": 2}}}))
        try:
            self._ask(form, ctx)
        except Exception as error:
            warn(form, "problem", sentence(error))
        return types.Property(panel, view=types.View())

    def _ask(self, form: types.Object, ctx: Any) -> None:
        given = _form(ctx)
        words.ask(form, given, ctx.dataset, on_change=self.show_again)
        missing = _missing_model(ctx, given)
        if missing:
            form.btn("download", label=f"Download {missing} and use it", on_click=self.on_download)
        form.btn("apply", label="Apply to view", on_click=self.on_apply, variant="contained")
        form.btn("add", label="Add these words to the last run", on_click=self.on_add)
        method.ask(form, given, method.first_model(), on_change=self.show_again)
        evidence.ask_lesson(form, on_change=self.show_again)
        form.str("name", label="Save these words as")
        form.btn("save", label="Save", on_click=self.on_save)


def _form(ctx: Any) -> Mapping[str, Any]:
    """Returns the values of the form."""
    return ctx.panel_state.get(_FORM) or {}


def _model(form: Mapping[str, Any]) -> str:
    return form.get("model") or method.first_model()


def _missing_model(ctx: Any, form: Mapping[str, Any]) -> str | None:
    """Returns the chosen model if it would have to be downloaded and the user has not allowed that."""
    model = _model(form)
    return None if ctx.panel_state.get("download") == model or method.model_states().get(model) == "ready" else model


def _vocabulary(ctx: Any, form: Mapping[str, Any]) -> Vocabulary:
    return words.read_for(_model(form), form, ctx.dataset)


def _prepared(ctx: Any, form: Mapping[str, Any], path: str) -> tuple[Vocabulary, Callable[[], Reading]]:
    """Returns the words, and a function that segments an image with them, to be called in the computing thread."""
    model, settings = method.read({"model": _model(form), **form})
    vocabulary, taught = _vocabulary(ctx, form), evidence.lesson(form)
    return vocabulary, lambda: models.playground(model).read(path, vocabulary, settings, taught)


def _sample(ctx: Any, index: int) -> tuple[Any, int, int]:
    """Returns the open sample, or a selected one, or one of the view; its index and the number of samples."""
    chosen = [ctx.current_sample] if ctx.current_sample else list(ctx.selected)
    count = len(chosen) or len(ctx.view)
    if not count:
        raise DatasetError("the view has no images; remove a filter")
    index = min(max(index, 0), count - 1)
    sample = ctx.view[chosen[index]] if chosen else ctx.view.skip(index).first()
    if sample.media_type != IMAGE:
        raise DatasetError(
            f"the playground shows images, but this sample has type {sample.media_type!r}; for videos, open dataset.to_frames()"
        )
    return sample, index, count
