from __future__ import annotations

import base64
import csv
import io
import re
import threading
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from bson import json_util
from PIL import Image, ImageColor

from fiftyone_resclip.app.panels.error_explorer import ErrorExplorer
from fiftyone_resclip.evaluation.error_masks import COLOURS
from fiftyone_resclip.evaluation.evaluate import evaluate
from fiftyone_resclip.evidence.learning import learn
from fiftyone_resclip.evidence.lessons import save_lesson
from fiftyone_resclip.fields import masks
from fiftyone_resclip.labeling.label import label
from fiftyone_resclip.model import ResCLIPModel, load_model
from fiftyone_resclip.segmenter import ResCLIP
from tests.app.conftest import MakeContext, MakeDataset, asked, notices, until
from tests.conftest import CLASSES

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
    assert cells["customdata"] == [[None, 4, None, None], [1, None, None, None], [None, None, None, 1]]
    shares = shown(make_panel(dataset, scale="by row", diagonal=True))["confusions"].view.data[0]["customdata"]
    assert shares[0] == [pytest.approx(2 / 6, abs=1e-4), pytest.approx(4 / 6, abs=1e-4), None, None]
    assert "over 3 images" in parts["headline"].default
    assert list(bars["y"]) == sorted(result.iou, key=lambda name: result.iou[name])  # worst first


def test_the_table_of_confusions_leads_to_their_images(
    dataset: fo.Dataset, make_panel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fo.config, "default_dataset_dir", str(tmp_path))
    first, second, third = dataset.values("id")
    table = shown(make_panel(dataset))["top_ev"]
    assert [tuple(row[key] for key in ("truth", "predicted", "share", "pixels")) for row in table.default] == [
        ("a", "b", "66.7 %", "4"), ("b", "a", "25.0 %", "1"), ("c", "(unlabelled)", "50.0 %", "1")
    ]  # fmt: skip
    assert [action.name for action in table.view.row_actions] == ["show"]
    for row, ids in enumerate(([second, first], [second], [third])):
        context = make_panel(dataset, {"row": row}, eval_key="ev")
        ErrorExplorer().on_confusion(context)
        assert ids_of_view(dataset, context) == ids
    dataset.reload()
    group = next(group for group in dataset.app_config.sidebar_groups if group.name == "ev")
    assert {"ev_miou", "ev_errors"} <= set(group.paths)
    back = make_panel(dataset)
    back.request_params["active_fields"] = ["gt", "ev_errors"]
    ErrorExplorer().on_all(back)
    assert [name for name, _ in asked(back)] == [
        "clear_view", "set_active_fields", "set_color_scheme", "patch_panel_state"
    ]  # fmt: skip
    assert dict(asked(back))["set_active_fields"] == {"fields": ["gt", "pred"]}


def test_it_follows_the_newest_run_but_keeps_a_choice(dataset: fo.Dataset, make_panel: Any) -> None:
    opened = make_panel(dataset)
    ErrorExplorer().on_load(opened)
    assert opened.panel_state["eval_key"] == "ev"
    chosen = {"newest": "ev", "eval_key": "before"}
    kept = make_panel(dataset, **chosen)
    ErrorExplorer().show_again(kept)
    assert kept.panel_state["eval_key"] == "before"
    evaluate(dataset, "pred", "gt", "newer")
    followed = make_panel(dataset, **chosen)
    ErrorExplorer().show_again(followed)
    assert followed.panel_state["eval_key"] == "newer"
    given = make_panel(dataset, eval_key="ev")  # as after *ResCLIP: evaluate*
    ErrorExplorer().on_load(given)
    assert given.panel_state["eval_key"] == "ev"


def test_the_worst_images_of_a_class_are_pictures_that_open_them(
    make_dataset: MakeDataset, make_panel: Any, fast_model: ResCLIPModel
) -> None:
    scenes = make_dataset(8)
    label(scenes, fast_model, "resclip", progress=False)
    results = evaluate(scenes, "resclip", "ground_truth", "ev")
    clicked = make_panel(scenes, {"x": 1.0, "y": "snow"})
    ErrorExplorer().on_class(clicked)
    assert clicked.panel_state["class_name"] == "snow"
    parts = shown(make_panel(scenes, class_name="snow"))
    rows = [parts[name] for name in parts if name.startswith("pictures_")]
    pictures = [picture for row in rows for picture in row.type.properties.values()]
    expected = results.images_wrong_on("snow")[:6]
    assert [(each.view.to_json()["params"]["sample"], each.view.label) for each in pictures] == [
        (sample, f"{pixels:,} px") for sample, pixels in expected
    ]
    content = base64.b64decode(pictures[0].default.removeprefix("data:image/jpeg;base64,"))
    with Image.open(io.BytesIO(content)) as picture:
        values = np.asarray(picture.convert("RGB")).astype(int)
    red = (np.abs(values - ImageColor.getrgb(COLOURS["wrong"])).sum(axis=2) < 100).mean()  # JPEG mixes colours at borders
    sample = scenes[expected[0][0]]
    assert red == pytest.approx(expected[0][1] / masks.read_mask(sample.ground_truth).size, abs=0.03)
    opened = make_panel(scenes, {"sample": sample.id, "y": "snow"})
    ErrorExplorer().on_picture(opened)
    assert ("open_sample", sample.id) in [(name, params.get("id")) for name, params in asked(opened)]
    scenes.reload()
    assert scenes[sample.id]["ev_errors"] is not None


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
    by_class = make_panel(dataset, {"y": "c"}, eval_key="ev")
    ErrorExplorer().on_class_images(by_class)
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
    table = parts["comparison"].default
    assert f"| mIoU | 100.00 | {100 + change:.2f} | {change:+.2f} |" in table
    assert re.search(r"earlier: before \(\d{4}-\d\d-\d\d \d\d:\d\d\), 3 images \| later: ev ", table)
    assert shown(make_panel(dataset, eval_key="before", compare_key="ev"))["comparison"].default == table
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
    assert shown(context)["count_words"].view.label == "Count in 3 images of the view"
    ErrorExplorer().on_words(context)
    table = words_table(context)
    assert table.startswith("On 3 images:")
    assert "| snow | snow | snow |" in table
    assert notices(context) == []


def words_table(context: Any) -> str:
    """Waits until the words are counted and returns what the panel shows."""
    until(lambda: "counting" not in shown(context))
    return str(shown(context)["taken"].default)


def test_counting_words_shows_how_far_it_is_and_stops(
    make_dataset: MakeDataset, make_panel: Any, fast_model: ResCLIPModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes, permits = make_dataset(5), threading.Semaphore(0)
    label(scenes, fast_model, "resclip", progress=False)
    evaluate(scenes, "resclip", "ground_truth", "ev")
    opened = make_panel(scenes, {"value": True}, by_words=True)
    ErrorExplorer().on_by_words(opened)
    assert opened.panel_state["classes"].splitlines() == [f"{name}: {name}" for name in CLASSES]
    assert opened.panel_state["model"] == "resclip-tiny"
    typed = make_panel(scenes, {"value": True}, by_words=True, classes="cat")
    ErrorExplorer().on_by_words(typed)
    assert typed.panel_state["classes"] == "cat"
    segment = ResCLIP.segment

    def held(*arguments: Any) -> Any:
        assert permits.acquire(timeout=300)
        return segment(*arguments)

    monkeypatch.setattr(ResCLIP, "segment", held)
    context = make_panel(scenes, **opened.panel_state, mode="fast")
    ErrorExplorer().on_words(context)
    permits.release(2)
    until(lambda: shown(context)["counting"].view.label.startswith("2 of 5 images"))
    ErrorExplorer().on_stop_words(context)
    permits.release(10)
    assert re.match("On [234] images:", words_table(context))


def test_it_shows_what_background_took_from_whom(make_panel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fo.config, "default_dataset_dir", str(tmp_path))
    dataset = fo.Dataset()
    names = {1: "car", 2: "road", 3: "Background"}
    dataset.mask_targets = {"gt": names, "pred": names}
    rows = [([[1, 1, 1, 1]], [[1, 3, 3, 0]]), ([[2, 2, 3, 3]], [[2, 2, 2, 3]]), ([[2, 2, 1, 1]], [[2, 3, 1, 1]])]
    for index, (truth, prediction) in enumerate(rows):
        labels = {"gt": truth, "pred": prediction}
        masks_of = {field: fo.Segmentation(mask=np.array(mask, np.uint8)) for field, mask in labels.items()}
        dataset.add_sample(fo.Sample(f"/nowhere/{index}.png", **masks_of))
    evaluate(dataset, "pred", "gt", "ev")
    parts = shown(make_panel(dataset))
    assert parts["background_took"].default == "Background took: 33.3 % of car, 25.0 % of road"
    bars = parts["background_bars"].view.data[0]
    assert dict(zip(bars["y"], bars["x"], strict=True)) == {"car": 33.33, "road": 25.0}
    assert parts["unlabelled_took"].default == "Left without a class: 16.7 % of car"
    first, _, third = dataset.values("id")
    for handler, clicked, ids in (("on_background", "road", [third]), ("on_unlabelled", "car", [first])):
        context = make_panel(dataset, {"x": 1.0, "y": clicked}, eval_key="ev")
        getattr(ErrorExplorer(), handler)(context)
        assert ids_of_view(dataset, context) == ids
    dataset.delete()


def test_the_words_of_the_background_and_a_lesson_count_in_the_table(
    make_dataset: MakeDataset, make_panel: Any, fast_model: ResCLIPModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIFTYONE_RESCLIP_LESSONS", str(tmp_path))
    scenes = make_dataset(4)
    label(scenes, fast_model, "resclip", progress=False)
    evaluate(scenes, "resclip", "ground_truth", "ev")
    state = {"eval_key": "ev", "by_words": True, "model": "resclip-tiny", "mode": "fast", "classes": "red cloth, blue cloth"}
    assert "learn_from" not in shown(make_panel(scenes, **state))
    taught = learn(
        load_model("resclip-tiny", "red cloth, blue cloth", sfr=None, device="cpu"), scenes, "ground_truth", strength=3
    )
    save_lesson("scenes", taught.taught)
    assert shown(make_panel(scenes, **state))["learn_from"].type.values == ["nothing", "saved:scenes"]
    tables = []
    for chosen in ("nothing", "saved:scenes"):
        background = {"background": "own words", "background_words": "snow, gravel", "learn_from": chosen}
        context = make_panel(scenes, **state, **background)
        ErrorExplorer().on_words(context)
        assert notices(context) == []
        tables.append(words_table(context))
    assert tables[0] != tables[1]
    assert "| class" in tables[0] and "taken by background" in tables[0] and re.search(r"\| (snow|gravel) \d+\.\d %", tables[0])
    other = make_panel(scenes, **{**state, "mode": "sclip"}, learn_from="saved:scenes")
    ErrorExplorer().on_words(other)
    until(lambda: "counting" not in shown(other))
    assert "other settings of the last block" in shown(other)["count_failed"].view.label


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
        assert len(parts["confusions"].view.data[0]["z"]) == min(count, 30)
        assert len(parts["iou"].view.data[0]["y"]) == min(count, 15)
        if count > 30:
            assert parts["limited"].default == "The 30 classes of 200 that are confused the most:"
            found = shown(make_panel(dataset, search="SS 20"))["iou"].view.data[0]["y"]
            assert sorted(found) == ["class 20", "class 200"]
        dataset.delete()
