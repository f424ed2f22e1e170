from __future__ import annotations

from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest

from fiftyone_resclip.app import models
from fiftyone_resclip.app.forms import method, words
from fiftyone_resclip.app.panels.playground import Playground
from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.clip.text_cache import text_features
from fiftyone_resclip.config import ResCLIPConfig
from fiftyone_resclip.errors import ConfigError
from fiftyone_resclip.evidence.learning import learn
from fiftyone_resclip.evidence.lessons import save_lesson
from fiftyone_resclip.explore import saved_vocabularies
from fiftyone_resclip.fields import masks
from fiftyone_resclip.labeling.label import label
from fiftyone_resclip.labeling.recipe import vocabulary_of
from fiftyone_resclip.labeling.runs import latest_run
from fiftyone_resclip.model import load_model
from fiftyone_resclip.presets import MODES, default_config
from fiftyone_resclip.vocabulary import Vocabulary
from tests.app.conftest import MakeContext, MakeDataset, asked, notices
from tests.conftest import CLASSES
from tests.explore.test_layers import decoded


@pytest.fixture
def make_panel(make_context: MakeContext) -> Any:
    """Builds contexts of the panel; what is not a request or a parameter is a value of the form."""

    def make(view: Any, request: dict[str, Any] | None = None, params: dict[str, Any] | None = None, **form: Any) -> Any:
        values = {"model": "resclip-tiny", **form}
        state = {"panel_id": "words", "panel_state": {"form": values}}
        return make_context(view, request, **{**state, "form": values, "index": 0, **(params or {})})

    return make


def parts(context: Any) -> dict[str, Any]:
    return dict(Playground().render(context).type.properties)


def form_of(context: Any) -> dict[str, Any]:
    return dict(parts(context)["form"].type.properties)


def sent_mask(answer: dict[str, Any]) -> list[list[str]]:
    layer = answer["layers"]["classes"]
    names = np.array([entry["name"] for entry in layer["entries"]])
    return names[decoded(layer)].tolist()  # type: ignore[no-any-return]


def test_it_opens_with_a_model_that_needs_no_download_and_a_hint(make_dataset: MakeDataset, make_panel: Any) -> None:
    dataset = make_dataset(1)
    answer = Playground().on_read(make_panel(dataset, model=None))
    assert answer["path"] == dataset.first().filepath and "Type classes" in answer["hint"] and "layers" not in answer
    assert form_of(make_panel(dataset, model=None))["model"].type.values[0] == "resclip-vit-b-16"
    waiting = make_panel(dataset, model="resclip-vit-b-16", classes="snow")
    assert Playground().on_read(waiting)["hint"] == "resclip-vit-b-16 is not on this machine yet."
    assert "download" in form_of(waiting) and "download" not in form_of(make_panel(dataset))


def test_the_mask_is_that_of_labelling_at_the_size_of_the_image(make_dataset: MakeDataset, make_panel: Any) -> None:
    dataset = make_dataset(1, sizes=((300, 400),))
    settings = {"mode": "fast", "tune": True, "min_area": 0.04, "prob_threshold": 0.15}
    answer = Playground().on_read(make_panel(dataset, classes=", ".join(CLASSES), **settings))
    model = load_model("resclip-tiny", CLASSES, sfr=None, min_area=0.04, prob_threshold=0.15, device="cpu")
    label(dataset, model, "pred", progress=False)
    targets = {0: "no class", **dataset.mask_targets["pred"]}
    expected = [[targets[value] for value in row] for row in masks.read_mask(dataset.first().pred).tolist()]
    assert np.shape(expected) == (300, 400) and sent_mask(answer) == expected
    assert answer["unlabelled"] == np.mean(np.array(expected) == "no class") > 0


def test_other_words_need_no_other_run_of_the_trunk_and_a_click_shows_attention(
    make_dataset: MakeDataset, make_panel: Any
) -> None:
    dataset = make_dataset(1)
    first = Playground().on_read(make_panel(dataset, classes="cloth, snow"))
    runs = models.playground("resclip-tiny").trunks.runs
    other = Playground().on_read(make_panel(dataset, classes="red cloth, gravel", tune=True, sfr_mix=0.2))
    assert models.playground("resclip-tiny").trunks.runs == runs
    assert {row["name"] for row in other["shares"]} == {"red cloth", "gravel"} != {row["name"] for row in first["shares"]}
    clicked = make_panel(dataset, None, {"x": 0.3, "y": 0.6}, classes="cloth, snow")
    assert [drawn["title"] for drawn in Playground().on_point(clicked)["maps"]][-1] == "last block"


def test_it_shows_the_open_the_selected_or_any_sample_of_the_view(make_dataset: MakeDataset, make_panel: Any) -> None:
    dataset = make_dataset(3)
    ids = dataset.values("id")

    def shown(request: dict[str, Any], index: int) -> tuple[str, int, int]:
        answer = Playground().on_read(make_panel(dataset, request, {"index": index}))
        return answer["id"], answer["index"], answer["count"]

    assert shown({}, 0) == (ids[0], 0, 3)
    assert shown({}, 2) == (ids[2], 2, 3)
    assert shown({}, 7) == (ids[2], 2, 3)
    assert shown({"selected": ids[1:]}, 1) == (ids[2], 1, 2)
    assert shown({"selected": ids[1:], "current_sample": ids[0]}, 1) == (ids[0], 0, 1)
    empty = Playground().on_read(make_panel(dataset.match({"filepath": "nothing"})))
    assert empty == {"problem": "the view has no images; remove a filter"}


def test_the_component_is_told_when_other_samples_can_be_shown(make_dataset: MakeDataset, make_panel: Any) -> None:
    dataset = make_dataset(2)
    requests = [(dataset, {}), (dataset.limit(1), {}), (dataset, {"selected": dataset.values("id")[:1]})]
    scopes = [parts(make_panel(view, request))["reading"].view.to_json()["scope"] for view, request in requests]
    assert len({*scopes}) == 3
    assert parts(make_panel(dataset))["reading"].view.to_json()["scope"] == scopes[0]


def test_words_go_from_the_grid_to_the_modal_and_back(make_dataset: MakeDataset, make_panel: Any) -> None:
    dataset = make_dataset(2)
    Playground().on_read(make_panel(dataset, classes="cloth, snow"))
    modal = make_panel(dataset, {"current_sample": dataset.last().id})
    Playground().on_load(modal)
    assert dict(asked(modal))["patch_panel_state"]["state"] == {"form": {"model": "resclip-tiny", "classes": "cloth, snow"}}
    Playground().on_read(make_panel(dataset, {"current_sample": dataset.last().id}, classes="gravel"))
    grid = make_panel(dataset, classes="cloth, snow")
    Playground().on_change_current_sample(grid)
    assert dict(asked(grid))["patch_panel_state"]["state"]["form"]["classes"] == "gravel"
    typing = make_panel(dataset, classes="gravel, sn")
    Playground().on_change_current_sample(typing)
    assert asked(typing) == []  # what nobody has read yet is not written over
    same = make_panel(dataset, classes="gravel")
    Playground().on_load(same)
    assert asked(same) == []
    other = make_panel(make_dataset(1))
    Playground().on_load(other)
    assert asked(other) == []


def test_mistakes_and_videos_are_declined_in_a_sentence(make_dataset: MakeDataset, make_panel: Any) -> None:
    dataset = make_dataset(1)
    assert "'road' is there twice" in Playground().on_read(make_panel(dataset, classes="road, road"))["problem"]
    videos = fo.Dataset()
    videos.add_sample(fo.Sample("/nowhere/a.mp4"))
    problem = Playground().on_read(make_panel(videos, classes="road"))["problem"]
    assert "shows images, but this sample has type 'video'" in problem
    videos.delete()


def test_a_slice_of_a_group_is_shown(make_dataset: MakeDataset, make_panel: Any) -> None:
    dataset = fo.Dataset()
    dataset.add_group_field("group", default="left")
    group = fo.Group()
    files = []
    for sample, name in zip(make_dataset(2), ("left", "right"), strict=True):
        dataset.add_sample(fo.Sample(sample.filepath, group=group.element(name)))
        files.append(sample.filepath)
    right = dataset.select_group_slices("right").first().id
    requests = ({"group_slice": "left"}, {"group_slice": "right"}, {"group_slice": "right", "current_sample": right})
    paths = [Playground().on_read(make_panel(dataset, request))["path"] for request in requests]
    assert paths == [files[0], files[1], files[1]]
    dataset.delete()


def test_two_hundred_classes_and_one(make_dataset: MakeDataset, make_panel: Any) -> None:
    dataset = make_dataset(1)
    many = ", ".join(f"thing {number}" for number in range(200))
    answer = Playground().on_read(make_panel(dataset, classes=many, mode="fast"))
    assert len(answer["shares"]) == 12 and answer["more"] == 188
    answer = Playground().on_read(make_panel(dataset, classes="snow"))
    assert [row["share"] for row in answer["shares"]] == [1.0] and answer["more"] == 0


def test_words_are_saved_and_handed_to_segment(make_dataset: MakeDataset, make_panel: Any) -> None:
    dataset = make_dataset(1)
    context = make_panel(dataset, classes="car: car, taxi\nsky", name="streets", tune=True, prob_threshold=0.4, mode="fast")
    Playground().on_save(context)
    assert saved_vocabularies.load("streets").phrases == (("car", "taxi"), ("sky",))
    Playground().on_apply(context)
    request = dict(asked(context))["prompt_user_for_operation"]
    assert request["operator_uri"] == "@fiftyone-resclip/resclip/segment"
    assert request["params"] == {
        "classes": "car: car, taxi\nsky", "model": "resclip-tiny", "mode": "fast", "tune": True, "prob_threshold": 0.4,
        "existing": "new field",
    }  # fmt: skip
    nameless = make_panel(dataset, classes="sky")
    Playground().on_save(nameless)
    assert notices(nameless) == [("error", "a saved vocabulary needs a name, but the name is empty")]


def test_new_words_are_added_to_the_last_run_and_only_they_are_encoded(
    make_dataset: MakeDataset, make_panel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_dataset(1)
    context = make_panel(dataset, classes="puddle, snow")
    Playground().on_add(context)
    assert notices(context)[0][0] == "error" and "no labelling run" in notices(context)[0][1]
    model = load_model("resclip-tiny", {"cloth": ["cloth"], "rest": ["snow"]}, background="rest", sfr=None, min_area=0.1)
    label(dataset, model, "pred", progress=False)
    Playground().on_add(context)
    params = dict(asked(context))["prompt_user_for_operation"]["params"]
    vocabulary = words.read(params, dataset)
    assert vocabulary.class_names == ("cloth", "puddle", "background") and vocabulary.phrases[-1] == ("snow",)
    name, settings = method.read(params)
    assert (name, default_config(name).varied(settings)) == ("resclip-tiny", model.segmenter.config)
    encoded: list[str] = []
    encode = Backbone.encode_text
    monkeypatch.setattr(Backbone, "encode_text", lambda self, texts, **rest: encoded.extend(texts) or encode(self, texts, **rest))
    text_features(models.in_turn(lambda: models.backbone("resclip-tiny")), vocabulary.flat_phrases)
    assert set(encoded) <= {"puddle"}


@pytest.mark.parametrize("mode", MODES)
def test_the_form_gets_back_the_settings_of_a_run(mode: str) -> None:
    config = default_config("resclip-tiny").varied({**MODES[mode].settings, "prob_threshold": 0.25})
    name, settings = method.read(method.written("resclip-tiny", config.to_dict()))
    assert isinstance(config, ResCLIPConfig) and default_config(name).varied(settings) == config
    with pytest.raises(ConfigError, match="model 'mine' is unknown"):
        method.written("mine", config.to_dict())


def test_the_latest_run_is_the_one_that_started_last(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(1)
    assert latest_run(dataset) is None
    for field, classes in (("first", ["snow"]), ("second", ["snow", "gravel"])):
        label(dataset, load_model("resclip-tiny", classes, sfr=None, device="cpu"), field, progress=False)
    run = latest_run(dataset)
    assert run is not None and vocabulary_of(run.recipe) == Vocabulary.parse(["snow", "gravel"])


def test_a_saved_lesson_changes_the_mask_and_is_handed_to_segment(
    make_dataset: MakeDataset, make_panel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIFTYONE_RESCLIP_LESSONS", str(tmp_path))
    dataset, state = make_dataset(3), {"classes": ", ".join(CLASSES), "mode": "fast"}
    model = load_model("resclip-tiny", CLASSES, sfr=None, device="cpu")
    save_lesson("scenes", learn(model, dataset, "ground_truth", strength=3).taught)
    alone, taught = make_panel(dataset, **state), make_panel(dataset, **state, learn_from="saved:scenes")
    assert form_of(alone)["learn_from"].type.values == ["nothing", "saved:scenes"]
    assert sent_mask(Playground().on_read(alone)) != sent_mask(Playground().on_read(taught))
    Playground().on_apply(taught)
    params = dict(asked(taught))["prompt_user_for_operation"]["params"]
    assert (params["learn_from"], params["evidence"]) == ("saved:scenes", True)
    other = Playground().on_read(make_panel(dataset, **{**state, "mode": "sclip"}, learn_from="saved:scenes"))
    assert "other settings of the last block" in other["problem"]


def test_words_chosen_for_the_background_are_shown(make_dataset: MakeDataset, make_panel: Any) -> None:
    (note,) = Playground().on_read(make_panel(make_dataset(1), classes="red cloth", mode="fast", background="auto"))["notes"]
    assert note.startswith("Words chosen for the background: ") and note.count(",") > 10
