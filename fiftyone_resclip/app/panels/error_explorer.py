"""The panel that shows the results of an evaluation and the images behind them."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types
from tabulate import tabulate

from fiftyone_resclip.app import models
from fiftyone_resclip.app.forms import method, words
from fiftyone_resclip.app.messages import plain, sentence, verbatim, warn
from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.fields.colours import palette
from fiftyone_resclip.fields.names import checked

if TYPE_CHECKING:
    from fiftyone_resclip.evaluation.results import SemanticEvaluationResults

_METHOD = "resclip"
_SCALES = {"pixels": "pixels", "by row": "share of the true class", "by column": "share of the predicted class"}
_DRAWN, _ROWS = 100, 15
_PLOT = {"displaylogo": False, "displayModeBar": True}  # a list of buttons would freeze the App
_HELP = """Shows the results of an evaluation. Click a bar or a cell of the confusion matrix: the grid then shows the images with
these pixels, those with the most first, and draws the pixels as a mask. The camera button on a plot saves it as a picture."""


class ErrorExplorer(foo.Panel):  # type: ignore[misc]  # FiftyOne has no type information
    """Shows overall metrics, IoU by class, confusions, the worst images, a comparison of two runs, and words that win pixels."""

    @property
    def config(self) -> foo.PanelConfig:
        """How FiftyOne lists the panel."""
        return foo.PanelConfig(name="error_explorer", label="ResCLIP: errors", icon="troubleshoot", help_markdown=_HELP)

    def on_load(self, ctx: Any) -> None:
        """Selects the latest run."""
        keys = _keys(ctx)
        if keys and ctx.panel_state.get("eval_key") not in keys:
            ctx.panel.state.eval_key = keys[0]

    def show_again(self, ctx: Any) -> None:
        """Does nothing, because FiftyOne renders the panel after every event."""

    on_change_dataset = show_again

    @plain
    def on_class(self, ctx: Any) -> None:
        """Shows the images with errors on the clicked class."""
        from fiftyone_resclip.drawing import plots
        from fiftyone_resclip.evaluation.browsing import images_wrong_on

        results, name = _results(ctx), plots.name_of(ctx.params["y"])
        _draw_errors(ctx, results, images_wrong_on(results, name), None, f"errors on {name}")

    @plain
    def on_cell(self, ctx: Any) -> None:
        """Shows the images of the clicked cell of the confusion matrix, and draws only the pixels of that cell."""
        from fiftyone_resclip.drawing import plots
        from fiftyone_resclip.evaluation.browsing import images_of_pair

        results, pair = _results(ctx), (plots.name_of(ctx.params["y"]), plots.name_of(ctx.params["x"]))
        _draw_errors(ctx, results, images_of_pair(results, *pair), pair, f"{pair[0]} taken for {pair[1]}")

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
        """Shows the images that are worse than in the earlier run, the largest losses first."""
        results = _results(ctx)
        order = [row.name for row in _comparison(ctx, results).samples if row.change < 0]
        ctx.ops.set_view(results.samples.select(order, ordered=True))

    @plain
    def on_csv(self, ctx: Any) -> None:
        """Lets the browser download the metrics as a CSV file."""
        from fiftyone_resclip.evaluation.browsing import as_csv

        results = _results(ctx)
        content = base64.b64encode(as_csv(results).encode()).decode()
        ctx.ops.browser_download(f"data:text/csv;base64,{content}", f"{results.key}.csv")

    @plain
    def on_words(self, ctx: Any) -> None:
        """Counts how many pixels of each class each word wins, on the images of the view."""
        ctx.panel.state.taken = _words_table(ctx)

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
        return types.Property(panel, view=types.View())

    def _show(self, panel: types.Object, ctx: Any, keys: list[str]) -> None:
        results, state = _results(ctx), ctx.panel_state
        panel.enum("eval_key", keys, default=results.key, label="Evaluation", on_change=self.show_again)
        panel.md(_headline(results), name="headline")
        notes = results.notes()
        if notes:
            more = f"\n\nand {len(notes) - _ROWS} more" if len(notes) > _ROWS else ""
            panel.md(
                "Ignored or changed in the count:\n" + "\n".join(f"- {verbatim(note)}" for note in notes[:_ROWS]) + more,
                name="notes",
            )
        _bars(panel, results, self.on_class)
        self._confusions(panel, results, state)
        panel.btn("worst", label="Worst images first", on_click=self.on_worst)
        panel.btn("uncertain", label="Least certain images first", on_click=self.on_uncertain)
        panel.btn("csv", label="Save as CSV", on_click=self.on_csv)
        self._compared(panel, ctx, results, [key for key in keys if key != results.key])
        self._words(panel, ctx)

    def _confusions(self, panel: types.Object, results: SemanticEvaluationResults, state: Mapping[str, Any]) -> None:
        from fiftyone_resclip.drawing import plots
        from fiftyone_resclip.evaluation.browsing import scaled
        from fiftyone_resclip.evaluation.matching import UNLABELLED

        scale = types.DropdownView()
        for value, label in _SCALES.items():
            scale.add_choice(value, label=label)
        panel.enum("scale", list(_SCALES), default="pixels", label="Confusions as", view=scale, on_change=self.show_again)
        panel.bool("diagonal", default=False, label="Show correct pixels, too", on_change=self.show_again)
        values = scaled(results, state.get("scale") or "pixels", bool(state.get("diagonal")))
        figure = plots.matrix(results.class_names, (*results.class_names, UNLABELLED), values, ("true", "predicted"))
        height = 200 + min(22 * len(results.class_names), 700)
        panel.plot("confusions", data=figure.data, layout=figure.layout, config=_PLOT, on_click=self.on_cell, height=height)

    def _compared(self, panel: types.Object, ctx: Any, results: SemanticEvaluationResults, others: list[str]) -> None:
        if not others:
            return
        panel.enum("compare_key", others, label="Compare with (the earlier run)", on_change=self.show_again)
        if ctx.panel_state.get("compare_key") in others:
            comparison = _comparison(ctx, results)
            rows = [comparison.miou, comparison.pixel_accuracy, *comparison.classes[:_ROWS]]
            cells = [(row.name, f"{row.before:.2f}", f"{row.after:.2f}", f"{row.change:+.2f}") for row in rows]
            cells += [(note, "", "", "") for note in comparison.notes]
            panel.md(_table(cells, ("", "earlier", "this", "change")), name="comparison")
            panel.btn("lost", label="Images that got worse, largest loss first", on_click=self.on_lost)

    def _words(self, panel: types.Object, ctx: Any) -> None:
        panel.bool("by_words", default=False, label="Which words win the pixels of which class", on_change=self.show_again)
        state = ctx.panel_state
        if not state.get("by_words"):
            return
        words.ask(panel, state, ctx.dataset, on_change=self.show_again)
        method.ask(panel, state, method.first_model(), on_change=self.show_again)
        panel.btn("count_words", label="Count in the images of the view", on_click=self.on_words)
        if state.get("taken"):
            panel.md(state["taken"], name="taken")


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


def _comparison(ctx: Any, results: SemanticEvaluationResults) -> Any:
    from fiftyone_resclip.evaluation.comparison import compare

    return compare(_results(ctx, "compare_key"), results)


def _headline(results: SemanticEvaluationResults) -> str:
    parts = {
        "mIoU": results.miou,
        "pixel accuracy": results.pixel_accuracy,
        "mean accuracy": results.mean_accuracy,
        "frequency-weighted IoU": results.frequency_weighted_iou,
        "mean Dice": results.mean_dice,
    }
    if results.boundary_iou:
        parts |= {"boundary mIoU": results.boundary_miou, "right near borders": results.border_accuracy}
        parts |= {"right elsewhere": results.interior_accuracy}
    figures = " · ".join(f"{name} **{value:.2f}**" for name, value in parts.items())
    return f"{figures} (in %, over {results.images} images)"


def _bars(panel: types.Object, results: SemanticEvaluationResults, on_click: Any) -> None:
    from fiftyone_resclip.drawing import plots

    colour_of = dict(zip(results.class_names, palette(len(results.class_names)), strict=True))
    known = sorted(((value, name) for name, value in results.iou.items() if value == value), reverse=True)
    notes = [f"{value:.1f}" for value, _ in known]
    names = [name for _, name in known]
    figure = plots.bars(names, [value / 100 for value, _ in known], [colour_of[name] for name in names], notes, "IoU in %")
    panel.plot(
        "iou", data=figure.data, layout=figure.layout, config=_PLOT, on_click=on_click, height=60 + 26 * max(len(names), 1)
    )


def _draw_errors(ctx: Any, results: SemanticEvaluationResults, view: Any, pair: tuple[str, str] | None, what: str) -> None:
    """Shows a view with error masks. It draws them for the first images only, so that a click is answered quickly."""
    from fiftyone_resclip.evaluation.error_masks import write_error_masks

    config = results.config
    if len(view) == 0:
        ctx.ops.notify(f"No images: {what}")
        return
    prefix = "frames." if config.gt_field.startswith("frames.") else ""
    field = f"{prefix}{results.key}_errors"
    folder = Path(fo.config.default_dataset_dir) / "resclip"
    write_error_masks(
        view.limit(_DRAWN), config.pred_field, config.gt_field, field, folder,
        pair=pair, ignore_index=config.ignore_index, mapping=config.mapping, progress=False,
    )  # fmt: skip
    ctx.ops.reload_dataset()
    ctx.ops.set_view(view)
    ctx.ops.set_active_fields([field])
    drawn = f"; only the first {_DRAWN} have their errors drawn" if len(view) > _DRAWN else ""
    ctx.ops.notify(f"{len(view)} images: {what}{drawn}")


def _words_table(ctx: Any) -> str:
    """Segments the first images of the view by phrase and returns the largest entries as a Markdown table."""
    from fiftyone_resclip.explore.phrase_confusions import phrase_table

    state = ctx.panel_state
    name, settings = method.read({"model": method.first_model(), **state})
    vocabulary = words.read_for(name, state, ctx.dataset)
    run = _results(ctx).config
    images = ctx.view.limit(_DRAWN)
    table = models.in_turn(lambda: phrase_table(images, run.gt_field, models.model(name, settings, vocabulary), run.ignore_index))
    rows = [
        (row.phrase, row.phrase_class, row.truth, f"{100 * row.share:.1f} %", "right" if row.right else "wrong")
        for row in table.taken()[: 2 * _ROWS]
    ]
    return f"On {table.images} images:\n\n" + _table(rows, ("words", "of class", "win pixels of", "share of it", ""))


def _table(rows: Sequence[Sequence[str]], headers: Sequence[str]) -> str:
    """Formats rows as a Markdown table, which shows the cells unchanged."""
    cells = [[verbatim(cell) for cell in row] for row in rows]
    return str(tabulate(cells, headers, tablefmt="github", stralign=None, disable_numparse=True))
