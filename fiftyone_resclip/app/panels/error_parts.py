"""The parts of the error explorer: figures, tables and pictures of one evaluation. The panel itself says what a click does."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from threading import Lock
from typing import TYPE_CHECKING, Any

from cachetools import LRUCache, cached
from fiftyone.operators import types
from tabulate import tabulate

from fiftyone_resclip.app.messages import verbatim
from fiftyone_resclip.errors import counted
from fiftyone_resclip.fields.colour_scheme import class_colours
from fiftyone_resclip.fields.private import dataset_id, root_dataset_of

if TYPE_CHECKING:
    from PIL import Image

    from fiftyone_resclip.evaluation.comparison import Comparison
    from fiftyone_resclip.evaluation.results import SemanticEvaluationResults

    Handler = Callable[..., Any]

#: How many rows or bars most parts have at most, how many confusions are listed, and how many classes the matrix has.
ROWS, CONFUSIONS, CLASSES = 15, 10, 30
_SCALES = {"pixels": "pixels", "by row": "share of the true class", "by column": "share of the predicted class"}
_PLOT = {"displaylogo": False, "displayModeBar": True}  # a list of buttons would freeze the App
_PER_LINE = 3


def headline(panel: types.Object, results: SemanticEvaluationResults) -> None:
    """Shows the metrics, the number of images, and what was ignored or changed in the count."""
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
    panel.md(f"{figures} (in %, over {counted(results.images, 'image')})", name="headline")
    notes = results.notes()
    if notes:
        more = f"\n\nand {len(notes) - ROWS} more" if len(notes) > ROWS else ""
        lines = "\n".join(f"- {verbatim(note)}" for note in notes[:ROWS])
        panel.md(f"Ignored or changed in the count:\n{lines}{more}", name="notes")


def top_confusions(panel: types.Object, results: SemanticEvaluationResults, on_row: Handler) -> None:
    """Shows a table of the confusions with the most pixels; its rows lead to their images."""
    from fiftyone_resclip.evaluation.browsing import top_confusions as found

    scrolls = {"sx": {"overscrollBehavior": "auto"}}  # else the wheel stops at the table
    look = {"table": {"sx": {"minWidth": 0}}, "tableContainer": scrolls}
    table = types.TableView(on_click_row=on_row, componentsProps=look)
    for key, label in (("truth", "Class"), ("predicted", "is taken for"), ("share", "share"), ("pixels", "pixels")):
        table.add_column(key, label=label)
    table.add_row_action("show", on_row, label="Show", icon="image_search", tooltip="Show its images, worst first")
    rows = [
        {
            "id": number,
            "truth": row.truth,
            "predicted": row.predicted,
            "share": f"{100 * row.share:.1f} %",
            "pixels": f"{row.pixels:,}",
        }
        for number, row in enumerate(found(results, CONFUSIONS))
    ]
    if rows:
        panel.md("**Confusions with the most pixels**", name="top_title")
        panel.list(f"top_{results.key}", types.Object(), default=rows, view=table)


def matrix(
    panel: types.Object, results: SemanticEvaluationResults, state: Mapping[str, Any], on_cell: Handler, on_change: Handler
) -> None:
    """Shows the confusion matrix of the classes that are confused the most."""
    from fiftyone_resclip.drawing import plots
    from fiftyone_resclip.evaluation.browsing import most_confused, scaled
    from fiftyone_resclip.evaluation.matching import UNLABELLED

    scale = types.DropdownView()
    for value, label in _SCALES.items():
        scale.add_choice(value, label=label)
    panel.enum("scale", list(_SCALES), default="pixels", label="Confusions as", view=scale, on_change=on_change)
    panel.bool("diagonal", default=False, label="Show correct pixels, too", on_change=on_change)
    chosen, names = most_confused(results, CLASSES), results.class_names
    if len(chosen) < len(names):
        panel.md(f"The {len(chosen)} classes of {len(names)} that are confused the most:", name="limited")
    values = scaled(results, state.get("scale") or "pixels", bool(state.get("diagonal")))[chosen][:, [*chosen, -1]]
    rows = [names[index] for index in chosen]
    figure = plots.matrix(rows, (*rows, UNLABELLED), values, ("true", "predicted"))
    height = 220 + 22 * len(rows)
    panel.plot("confusions", data=figure.data, layout=figure.layout, config=_PLOT, on_click=on_cell, height=height)


def classes(panel: types.Object, results: SemanticEvaluationResults, search: str, on_class: Handler, on_change: Handler) -> None:
    """Shows the IoU of each class, worst first, and a search among the names."""
    from fiftyone_resclip.evaluation.browsing import worst_first

    known = worst_first(results)
    found = [(name, value) for name, value in known.items() if search.lower() in name.lower()]
    if len(known) > ROWS:
        panel.str("search", label="Search a class", default="", on_change=on_change)
    bars(panel, "iou", results, dict(found[:ROWS]), "IoU in %, worst first", on_class)
    if len(found) > ROWS:
        panel.md(f"and {len(found) - ROWS} classes that are better; search to see one of them", name="more_classes")


def bars(
    panel: types.Object, name: str, results: SemanticEvaluationResults, values: Mapping[str, float], title: str, on_click: Handler
) -> None:
    """Draws a bar for each class; values are in percent."""
    from fiftyone_resclip.drawing import plots

    colour_of = class_colours(root_dataset_of(results.samples), results.class_names, results.config.gt_field)
    colours, notes = [colour_of[each] for each in values], [f"{value:.1f}" for value in values.values()]
    figure = plots.bars([*values], [value / 100 for value in values.values()], colours, notes, title)
    height = 60 + 26 * max(len(values), 1)
    panel.plot(name, data=figure.data, layout=figure.layout, config=_PLOT, on_click=on_click, height=height)


def worst_images(
    panel: types.Object, results: SemanticEvaluationResults, name: str, on_picture: Handler, on_all: Handler
) -> None:
    """Shows the images that are worst on a class, with their wrong pixels painted."""
    pictures = _thumbnails(results, name)
    if not pictures:
        return
    panel.md(f"**Worst images of {verbatim(name)}**, wrong pixels in red", name="worst_title")
    for line in range(0, len(pictures), _PER_LINE):
        row = types.Object()
        for number, (sample_id, pixels, data) in enumerate(pictures[line : line + _PER_LINE], start=line):
            view = types.ImageView(
                width="100%",
                alt=f"{pixels:,} wrong pixels",
                operator=on_picture,
                params={"sample": sample_id, "y": name},
                label=f"{pixels:,} px",
            )
            row.str(f"picture_{number}_{sample_id}", default=data, view=view)
        panel.define_property(f"pictures_{line}", row, view=types.GridView(orientation="horizontal", gap=2))
    panel.btn("all_worst", label="Show all wrong images", on_click=on_all, params={"y": name}, variant="outlined")


def _stored(results: SemanticEvaluationResults, name: str) -> tuple[Any, ...]:
    """Tells apart what thumbnails are drawn from."""
    return dataset_id(root_dataset_of(results.samples)), results.key, _time(results), name


@cached(LRUCache(32), key=_stored, lock=Lock())
def _thumbnails(results: SemanticEvaluationResults, name: str) -> list[tuple[str, int, str]]:
    """Draws the worst images of a class once, because a panel renders often."""
    from fiftyone_resclip.evaluation.thumbnails import worst_on

    return [(each.sample_id, each.pixels, _data(each.picture)) for each in worst_on(results, name)]


def _data(picture: Image.Image) -> str:
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"


def background(panel: types.Object, results: SemanticEvaluationResults, on_background: Handler, on_unlabelled: Handler) -> None:
    """Shows how much of each class the background took, and how much of it got no class."""
    from fiftyone_resclip.evaluation.browsing import taken_by_background
    from fiftyone_resclip.evaluation.matching import UNLABELLED

    handlers = {UNLABELLED: ("unlabelled", "Left without a class", on_unlabelled)}
    for taker, losses in taken_by_background(results).items():
        if losses:
            name, text, on_click = handlers.get(taker, ("background", f"{taker} took", on_background))
            told = ", ".join(f"{100 * loss.share:.1f} % of {loss.name}" for loss in losses[:3])
            panel.md(verbatim(f"{text}: {told}"), name=f"{name}_took")
            values = {loss.name: 100 * loss.share for loss in losses[:ROWS]}
            bars(panel, f"{name}_bars", results, values, f"{text}, in % of the class", on_click)


def comparison(panel: types.Object, compared: Comparison, runs: Sequence[SemanticEvaluationResults]) -> None:
    """Shows what changed from the earlier run to the later one, and when both were made."""
    rows = [compared.miou, compared.pixel_accuracy, *compared.classes[:ROWS]]
    cells = [(row.name, f"{row.before:.2f}", f"{row.after:.2f}", f"{row.change:+.2f}") for row in rows]
    cells += [(note, "", "", "") for note in compared.notes]
    earlier, later = (f"{verbatim(str(run.key))} ({_time(run):%Y-%m-%d %H:%M}), {counted(run.images, 'image')}" for run in runs)
    panel.md(table(cells, ("", f"earlier: {earlier}", f"later: {later}", "change")), name="comparison")


def in_order(*runs: SemanticEvaluationResults) -> list[SemanticEvaluationResults]:
    """Returns runs in the order in which they were made."""
    return sorted(runs, key=_time)


def table(rows: Sequence[Sequence[str]], headers: Sequence[str]) -> str:
    """Formats rows as a Markdown table, which shows the cells unchanged."""
    cells = [[verbatim(cell) for cell in row] for row in rows]
    return str(tabulate(cells, headers, tablefmt="github", stralign=None, disable_numparse=True))


def _time(results: SemanticEvaluationResults) -> datetime:
    """When a stored run was made."""
    made: datetime = root_dataset_of(results.samples).get_evaluation_info(results.key).timestamp
    return made
