"""The panel that shows the results of an evaluation and the images behind them."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_resclip.app import colours
from fiftyone_resclip.app.messages import plain, sentence, verbatim, warn
from fiftyone_resclip.app.operators import launch
from fiftyone_resclip.app.panels import error_parts, word_counts
from fiftyone_resclip.errors import DatasetError, counted
from fiftyone_resclip.fields.names import checked
from fiftyone_resclip.fields.schema import put_in_group

if TYPE_CHECKING:
    from fiftyone_resclip.evaluation.results import SemanticEvaluationResults

_METHOD = "resclip"
_DRAWN = 100
_COLOURS = {"right": "green", "wrong": "red", "missed": "blue", "false": "orange", "void": "grey"}  # of the error masks
_HELP = """Shows the results of an evaluation. Click a row or a cell: the grid then shows the images with these pixels, those with
the most first, and draws the pixels as a mask. A click on a bar shows the worst images of that class. The camera button
on a plot saves it as a picture."""


class ErrorExplorer(foo.Panel):  # type: ignore[misc]  # FiftyOne has no type information
    """Shows overall metrics, IoU by class, confusions, the worst images, a comparison of two runs, and words that win pixels."""

    @property
    def config(self) -> foo.PanelConfig:
        """How FiftyOne lists the panel."""
        return foo.PanelConfig(name=launch.ERRORS_PANEL, label="ResCLIP: errors", icon="troubleshoot", help_markdown=_HELP)

    def show_again(self, ctx: Any) -> None:
        """Selects a run that is newer than all known ones. FiftyOne renders the panel after every event."""
        newest = next(iter(_keys(ctx)), None)
        if newest != ctx.panel_state.get("newest"):
            is_given = ctx.panel_state.get("newest") is None and ctx.panel_state.get("eval_key") in _keys(ctx)
            ctx.panel.state.newest = newest
            if not is_given:
                ctx.panel.state.eval_key = newest

    on_load = on_change_dataset = on_change_view = on_change_active_fields = show_again

    @plain
    def on_class(self, ctx: Any) -> None:
        """Shows the worst images of the clicked class in the panel."""
        from fiftyone_resclip.drawing import plots

        ctx.panel.state.class_name = plots.name_of(ctx.params["y"])

    @plain
    def on_class_images(self, ctx: Any) -> None:
        """Shows all images with errors on a class in the grid."""
        from fiftyone_resclip.evaluation.browsing import images_wrong_on

        results, name = _results(ctx), ctx.params["y"]
        _draw_errors(ctx, results, images_wrong_on(results, name), None, f"errors on {name}")

    @plain
    def on_picture(self, ctx: Any) -> None:
        """Opens the image of the clicked thumbnail, with its errors drawn."""
        self.on_class_images(ctx)
        ctx.ops.open_sample(id=ctx.params["sample"])

    @plain
    def on_confusion(self, ctx: Any) -> None:
        """Shows the images of the clicked row of the table."""
        from fiftyone_resclip.evaluation.browsing import top_confusions

        results = _results(ctx)
        row = top_confusions(results, error_parts.CONFUSIONS)[ctx.params["row"]]
        _draw_pair(ctx, results, (row.truth, row.predicted))

    @plain
    def on_cell(self, ctx: Any) -> None:
        """Shows the images of the clicked cell of the confusion matrix, and draws only the pixels of that cell."""
        from fiftyone_resclip.drawing import plots

        _draw_pair(ctx, _results(ctx), (plots.name_of(ctx.params["y"]), plots.name_of(ctx.params["x"])))

    @plain
    def on_background(self, ctx: Any) -> None:
        """Shows the images where the background took pixels of the clicked class."""
        from fiftyone_resclip.drawing import plots
        from fiftyone_resclip.evaluation.matching import background_of

        results = _results(ctx)
        _draw_pair(ctx, results, (plots.name_of(ctx.params["y"]), background_of(results.class_names) or ""))

    @plain
    def on_unlabelled(self, ctx: Any) -> None:
        """Shows the images where pixels of the clicked class got no class."""
        from fiftyone_resclip.drawing import plots
        from fiftyone_resclip.evaluation.matching import UNLABELLED

        _draw_pair(ctx, _results(ctx), (plots.name_of(ctx.params["y"]), UNLABELLED))

    @plain
    def on_worst(self, ctx: Any) -> None:
        """Shows the images sorted by their own mIoU, lowest first."""
        from fiftyone_resclip.evaluation.browsing import worst_images

        results = _results(ctx)
        _draw_errors(ctx, results, worst_images(results), None, "lowest mIoU first")

    @plain
    def on_uncertain(self, ctx: Any) -> None:
        """Shows the images sorted by the confidence of their prediction, lowest first."""
        from fiftyone_resclip.evaluation.browsing import least_certain_images

        ctx.ops.set_view(least_certain_images(_results(ctx)))

    @plain
    def on_lost(self, ctx: Any) -> None:
        """Shows the images that are worse in the later of the two runs, the largest losses first."""
        runs = _pair(ctx, _results(ctx))
        order = [row.name for row in _comparison(runs).samples if row.change < 0]
        ctx.ops.set_view(runs[-1].samples.select(order, ordered=True))

    @plain
    def on_csv(self, ctx: Any) -> None:
        """Lets the browser download the metrics as a CSV file."""
        from fiftyone_resclip.evaluation.browsing import as_csv

        results = _results(ctx)
        content = base64.b64encode(as_csv(results).encode()).decode()
        ctx.ops.browser_download(f"data:text/csv;base64,{content}", f"{results.key}.csv")

    @plain
    def on_all(self, ctx: Any) -> None:
        """Shows all images again, and the prediction in place of its errors."""
        results = _results(ctx)
        masks = results.config.pred_field
        others = [field for field in ctx.active_fields or () if field not in (_errors_field(results), masks)]
        ctx.ops.clear_view()
        ctx.ops.set_active_fields([*others, masks])
        colours.show(ctx)
        ctx.panel.state.drawn = None

    @plain
    def on_by_words(self, ctx: Any) -> None:
        """Fills in the words of the run that made the prediction, unless there are words already."""
        if ctx.params.get("value") and not ctx.panel_state.get("classes"):
            for name, value in word_counts.words_of_run(ctx.dataset, _results(ctx).config.pred_field).items():
                setattr(ctx.panel.state, name, value)

    @plain
    def on_words(self, ctx: Any) -> None:
        """Counts how many pixels of each class each word wins, on the images of the view."""
        word_counts.begin(ctx, _results(ctx))

    @plain
    def on_stop_words(self, ctx: Any) -> None:
        """Stops counting."""
        word_counts.stop(ctx.dataset)

    def render(self, ctx: Any) -> types.Property:
        """Builds the panel from its state."""
        panel = types.Object()
        try:
            keys = _keys(ctx)
            if not keys:
                panel.md("There is no evaluation yet: press the backtick key and run *ResCLIP: evaluate*.", name="hint")
            else:
                self._show(panel, ctx, keys)
        except Exception as error:
            warn(panel, "problem", sentence(error))
        return types.Property(panel, view=types.View(componentsProps={"container": {"sx": {"p": 1, "pr": 3}}}))

    def _show(self, panel: types.Object, ctx: Any, keys: list[str]) -> None:
        results, state = _results(ctx), ctx.panel_state
        panel.enum("eval_key", keys, default=results.key, label="Evaluation", on_change=self.show_again)
        error_parts.headline(panel, results)
        if state.get("drawn"):
            panel.md(verbatim(f"Drawn in the grid: {state['drawn']}"), name="legend")
        error_parts.top_confusions(panel, results, self.on_confusion)
        error_parts.matrix(panel, results, state, self.on_cell, self.show_again)
        error_parts.classes(panel, results, state.get("search") or "", self.on_class, self.show_again)
        name = _class_shown(results, state.get("class_name"))
        if name is not None:
            error_parts.worst_images(panel, results, name, self.on_picture, self.on_class_images)
        error_parts.background(panel, results, self.on_background, self.on_unlabelled)
        buttons = panel.h_stack("buttons", gap=1)
        for key, label, on_click in (
            ("worst", "Worst images first", self.on_worst),
            ("uncertain", "Least certain images first", self.on_uncertain),
            ("all", "Back to all images", self.on_all),
            ("csv", "Save as CSV", self.on_csv),
        ):
            buttons.btn(key, label=label, on_click=on_click, variant="outlined")
        self._compared(panel, ctx, results, [key for key in keys if key != results.key])
        panel.bool("by_words", default=False, label="Which words win the pixels of which class", on_change=self.on_by_words)
        if state.get("by_words"):
            word_counts.show(panel, ctx, self.show_again, self.on_words, self.on_stop_words)

    def _compared(self, panel: types.Object, ctx: Any, results: SemanticEvaluationResults, others: list[str]) -> None:
        if not others:
            return
        panel.enum("compare_key", others, label="Compare with", on_change=self.show_again)
        if ctx.panel_state.get("compare_key") in others:
            runs = _pair(ctx, results)
            error_parts.comparison(panel, _comparison(runs), runs)
            panel.btn("lost", label="Images that got worse, largest loss first", on_click=self.on_lost)


def _class_shown(results: SemanticEvaluationResults, chosen: str | None) -> str | None:
    """The class whose worst images are shown: the chosen one, or the one that is taken for another one most."""
    from fiftyone_resclip.evaluation.browsing import top_confusions

    if chosen in results.class_names:
        return chosen
    return next((row.truth for row in top_confusions(results, 1)), None)


def _keys(ctx: Any) -> list[str]:
    """The runs of our method, latest first."""
    keys = ctx.dataset.list_evaluations(method=_METHOD)
    return sorted(keys, key=lambda key: ctx.dataset.get_evaluation_info(key).timestamp, reverse=True)


def _results(ctx: Any, name: str = "eval_key") -> SemanticEvaluationResults:
    key = ctx.panel_state.get(name) or next(iter(_keys(ctx)), None)
    if key is None or not ctx.dataset.has_evaluation(checked(key, "run")):
        raise DatasetError("this evaluation no longer exists; choose another")
    results: SemanticEvaluationResults | None = ctx.dataset.load_evaluation_results(
        key, cache=False
    )  # another process may have run it
    if results is None:
        raise DatasetError(f"evaluation {key!r} did not finish, so it has no results; delete it and run it again")
    return results


def _pair(ctx: Any, results: SemanticEvaluationResults) -> list[SemanticEvaluationResults]:
    """The run that is shown and the one that it is compared with, the earlier one first."""
    return error_parts.in_order(_results(ctx, "compare_key"), results)


def _comparison(runs: list[SemanticEvaluationResults]) -> Any:
    from fiftyone_resclip.evaluation.comparison import compare

    return compare(*runs)


def _draw_pair(ctx: Any, results: SemanticEvaluationResults, pair: tuple[str, str]) -> None:
    """Shows the images with pixels of a true and a predicted class, and draws only these pixels."""
    from fiftyone_resclip.evaluation.browsing import images_of_pair

    _draw_errors(ctx, results, images_of_pair(results, *pair), pair, f"{pair[0]} taken for {pair[1]}")


def _errors_field(results: SemanticEvaluationResults) -> str:
    prefix = "frames." if results.config.gt_field.startswith("frames.") else ""
    return f"{prefix}{results.key}_errors"


def _draw_errors(ctx: Any, results: SemanticEvaluationResults, view: Any, pair: tuple[str, str] | None, what: str) -> None:
    """Shows a view with error masks. It draws them for the first images only, so that a click is answered quickly."""
    from fiftyone_resclip.evaluation.error_masks import write_error_masks

    config = results.config
    if len(view) == 0:
        ctx.ops.notify(f"No images: {what}")
        return
    field = _errors_field(results)
    folder = Path(fo.config.default_dataset_dir) / "resclip"
    write_error_masks(
        view.limit(_DRAWN), config.pred_field, config.gt_field, field, folder,
        pair=pair, ignore_index=config.ignore_index, mapping=config.mapping, progress=False,
    )  # fmt: skip
    put_in_group(ctx.dataset, results.key, [field])
    ctx.ops.reload_dataset()
    ctx.ops.set_view(view)
    ctx.ops.set_active_fields([field])
    colours.show(ctx)
    kinds = (f"{kind} {colour}" for kind, colour in _COLOURS.items())
    ctx.panel.state.drawn = ", ".join(kinds) if pair is None else f"{pair[0]} taken for {pair[1]} {_COLOURS['wrong']}"
    drawn = f"; only the first {_DRAWN} have their errors drawn" if len(view) > _DRAWN else ""
    ctx.ops.notify(f"{counted(len(view), 'image')}: {what}{drawn}")
