from __future__ import annotations

import base64
import csv
import io
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from bson import json_util

from fiftyone_resclip.app.panels.error_explorer import ErrorExplorer
from fiftyone_resclip.evaluation.evaluate import evaluate
from fiftyone_resclip.fields import masks
from fiftyone_resclip.labeling.label import label
from fiftyone_resclip.model import ResCLIPModel
from tests.app.conftest import MakeContext, MakeDataset, asked, notices

NAMES = {1: "a", 2: "b", 3: "c"}


@pytest.fixture
def dataset() -> Any:
    dataset = fo.Dataset()
    dataset.mask_targets = {"gt": NAMES, "pred": NAMES, "other": NAMES}
    rows = [([[1, 1, 1, 2]], [[1, 2, 1, 2]]), ([[1, 1, 1, 2]], [[2, 2, 2, 1]]), ([[2, 2, 3, 3]], [[2, 2, 3, 0]])]
    for index, (truth, prediction) in enumerate(rows):
        sample = fo.Sample(f"/nowhere/{index}.png")
        for field, mask in (("gt", truth), ("pred", prediction), ("other", truth)):
            sample[field] = fo.Segmentation(mask=np.array(mask, np.uint8), confidence=index / 10)
        dataset.add_sample(sample)
    evaluate(dataset, "other", "gt", "before")
    evaluate(dataset, "pred", "gt", "ev")
    yield dataset
    dataset.delete()


@pytest.fixture
def make_panel(make_context: MakeContext) -> Any:
    def make(view: Any, params: dict[str, Any] | None = None, **state: Any) -> Any:
        return make_context(view, None, panel_id="errors", panel_state=state, **(params or {}))

    return make


def shown(context: Any) -> dict[str, Any]:
    return dict(ErrorExplorer().render(context).type.properties)


def ids_of_view(dataset: fo.Dataset, context: Any) -> list[str]:
    stages = next(params["view"] for name, params in asked(context) if name == "set_view")
    view = fo.core.view.DatasetView._build(dataset, json_util.loads(json_util.dumps(stages)))
    return list(view.values("id"))


def test_it_shows_the_latest_run_in_figures(dataset: fo.Dataset, make_panel: Any) -> None:
    parts = shown(make_panel(dataset))
    assert "problem" not in parts
    result = dataset.load_evaluation_results("ev")
    assert f"mIoU **{result.miou:.2f}**" in parts["headline"].default
    bars = parts["iou"].view.data[0]
    assert dict(zip(bars["y"], bars["x"], strict=True)) == {n: pytest.approx(v, abs=0.01) for n, v in result.iou.items()}
    cells = parts["confusions"].view.data[0]
    assert cells["z"] == [[None, 4, 0, 0], [1, None, 0, 0], [0, 0, None, 1]]
    shares = shown(make_panel(dataset, scale="by row", diagonal=True))["confusions"].view.data[0]["z"]
    assert shares[0] == [pytest.approx(2 / 6, abs=1e-4), pytest.approx(4 / 6, abs=1e-4), 0, 0]


def test_a_cell_opens_its_images_worst_first_with_that_pair_drawn(
    dataset: fo.Dataset, make_panel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fo.config, "default_dataset_dir", str(tmp_path))
    first, second, third = dataset.values("id")
    context = make_panel(dataset, {"x": "b", "y": "a"}, eval_key="ev")
    ErrorExplorer().on_cell(context)
    assert ids_of_view(dataset, context) == [second, first]
    assert ("set_active_fields", {"fields": ["ev_errors"]}) in asked(context)
    drawn = [masks.read_mask(dataset[i].ev_errors).tolist() for i in (first, second)]
    assert drawn == [[[0, 1, 0, 0]], [[1, 1, 1, 0]]]
    assert dataset.mask_targets["ev_errors"] == {1: "a taken for b"}
    empty = make_panel(dataset, {"x": "c", "y": "a"}, eval_key="ev")
    ErrorExplorer().on_cell(empty)
    assert notices(empty) == [("info", "No images: a taken for c")]
    by_class = make_panel(dataset, {"x": 1.0, "y": "c"}, eval_key="ev")
    ErrorExplorer().on_class(by_class)
    assert ids_of_view(dataset, by_class) == [third]
    assert dataset.mask_targets["ev_errors"][1] == "right"


def test_worst_and_least_certain_images_come_first(
    dataset: fo.Dataset, make_panel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fo.config, "default_dataset_dir", str(tmp_path))
    first, second, third = dataset.values("id")
    worst, uncertain = make_panel(dataset, eval_key="ev"), make_panel(dataset, eval_key="ev")
    ErrorExplorer().on_worst(worst)
    assert ids_of_view(dataset, worst) == [second, first, third]
    ErrorExplorer().on_uncertain(uncertain)
    assert ids_of_view(dataset, uncertain) == [first, second, third]


def test_two_runs_are_compared(dataset: fo.Dataset, make_panel: Any) -> None:
    first, second, third = dataset.values("id")
    parts = shown(make_panel(dataset, eval_key="ev", compare_key="before"))
    change = dataset.load_evaluation_results("ev").miou - 100
    assert f"| mIoU | 100.00 | {100 + change:.2f} | {change:+.2f} |" in parts["comparison"].default
    context = make_panel(dataset, eval_key="ev", compare_key="before")
    ErrorExplorer().on_lost(context)
    assert ids_of_view(dataset, context) == [second, first, third]


def test_the_figures_can_be_taken_away(dataset: fo.Dataset, make_panel: Any) -> None:
    context = make_panel(dataset, eval_key="ev")
    ErrorExplorer().on_csv(context)
    params = next(params for name, params in asked(context) if name == "browser_download")
    assert params["filename"] == "ev.csv"
    rows = list(csv.DictReader(io.StringIO(base64.b64decode(params["url"].split(",")[1]).decode())))
    assert [row["class"] for row in rows] == ["a", "b", "c"]
    assert (rows[0]["taken for b"], rows[2]["taken for (unlabelled)"]) == ("4", "1")
    assert float(rows[2]["iou"]) == 50.0


def test_words_that_take_pixels_are_counted(make_dataset: MakeDataset, make_panel: Any, fast_model: ResCLIPModel) -> None:
    scenes = make_dataset(3)
    label(scenes, fast_model, "resclip", progress=False)
    evaluate(scenes, "resclip", "ground_truth", "ev")
    state = {
        "eval_key": "ev",
        "by_words": True,
        "model": "resclip-tiny",
        "mode": "fast",
        "classes": "cloth: red cloth, blue cloth\nsnow\ngravel",
    }
    context = make_panel(scenes, **state)
    assert "count_words" in shown(context)
    ErrorExplorer().on_words(context)
    table = context.panel_state["taken"]
    assert table.startswith("On 3 images:")
    assert "| snow | snow | snow |" in table
    assert notices(context) == []


def test_without_a_run_or_with_one_that_went_it_says_so(dataset: fo.Dataset, make_panel: Any) -> None:
    assert "no longer exists" in shown(make_panel(dataset, eval_key="gone"))["problem"].view.label
    dataset.delete_evaluations()
    assert "There is no evaluation yet" in shown(make_panel(dataset))["hint"].default


def test_one_class_and_two_hundred_are_shown(make_panel: Any) -> None:
    for count in (1, 200):
        names = {value: f"class {value}" for value in range(1, count + 1)}
        dataset = fo.Dataset()
        dataset.mask_targets = {"gt": names, "pred": names}
        mask = np.arange(1, count + 1, dtype=np.uint8)[None]
        dataset.add_sample(fo.Sample("/nowhere/a.png", gt=fo.Segmentation(mask=mask), pred=fo.Segmentation(mask=mask)))
        evaluate(dataset, "pred", "gt", "ev")
        parts = shown(make_panel(dataset))
        assert "problem" not in parts
        assert len(parts["confusions"].view.data[0]["z"]) == count
        dataset.delete()
