from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import fiftyone as fo
import fiftyone.operators as foo
import numpy as np
import pytest
from fiftyone.operators.delegated import DelegatedOperationService

from fiftyone_resclip.app import models
from fiftyone_resclip.app.messages import sentence
from fiftyone_resclip.app.operators.segment import Segment
from fiftyone_resclip.app.operators.stop import Stop
from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.errors import ConfigError
from fiftyone_resclip.explore import review, saved_vocabularies
from fiftyone_resclip.labeling import writers
from fiftyone_resclip.labeling.label import label
from fiftyone_resclip.labeling.runs import load_run
from fiftyone_resclip.model import load_model
from fiftyone_resclip.vocabulary import BACKGROUND_WORDS, Vocabulary
from tests.app.conftest import MakeContext, MakeDataset, asked, labels_of, notices, operator

FAST: dict[str, Any] = {"classes": "red cloth, snow", "label_field": "words", "model": "resclip-tiny", "mode": "fast"}


def run(context: Any) -> None:
    for _ in Segment().execute(context):
        pass


def test_it_runs_from_python(installed: None, make_dataset: MakeDataset, tmp_path: Path) -> None:
    dataset = make_dataset(2)
    segment = operator("segment")
    report = segment(dataset[:1], "red cloth, snow", label_field="words", model="resclip-tiny")
    assert report.labelled == 1
    assert dataset.mask_targets["words"] == {1: "red cloth", 2: "snow"}
    again = segment(dataset, ["gravel"], "words", "resclip-tiny", mode="fast", existing="new field", output_dir=str(tmp_path))
    assert again.labelled == 2
    assert dataset.mask_targets["words_2"] == {1: "gravel"}
    assert all(tmp_path in Path(sample.words_2.mask_path).parents for sample in dataset)
    with pytest.raises(ConfigError, match="mode 'fsat' is unknown; did you mean 'fast'"):
        segment(dataset, ["gravel"], model="resclip-tiny", mode="fsat")


def test_progress_then_field_then_summary(make_dataset: MakeDataset, make_context: MakeContext) -> None:
    dataset = make_dataset(5)
    context = make_context(dataset, {"active_fields": ["ground_truth"]}, **FAST)
    run(context)
    names = [name for name, _ in asked(context)]
    assert names == ["show_output"] * 4 + ["reload_dataset", "set_active_fields", "notify", "show_output"]
    shares = [params["results"]["progress"] for _, params in asked(context)[:4]]
    assert shares[0] == shares[1] == 0 and shares == sorted(shares) and shares[-1] == 1
    assert dict(asked(context))["set_active_fields"] == {"fields": ["ground_truth", "words"]}
    assert notices(context)[0][0] == "success"
    assert "5 of 5 images labelled" in notices(context)[0][1]
    assert len(dataset.exists("words")) == 5


def test_stopping_keeps_what_is_done_and_the_run_goes_on_later(make_dataset: MakeDataset, make_context: MakeContext) -> None:
    dataset = make_dataset(30)
    context = make_context(dataset, **FAST)
    steps = Segment().execute(context)
    while not dataset.has_sample_field("words") or not len(dataset.exists("words")):
        next(steps)
    stop = make_context(dataset)
    Stop().execute(stop)
    assert "Stopping 1 run" in notices(stop)[0][1]
    for _ in steps:
        pass
    kept = len(dataset.exists("words"))
    assert 0 < kept < 30
    assert notices(context)[-1][1].startswith(f"Stopped: {kept} of 30 images labelled")
    assert writers.stop_all(dataset) == 0
    later = make_context(dataset, **FAST)
    run(later)
    assert len(dataset.exists("words")) == 30
    assert f"{kept} had a label already" in notices(later)[-1][1]


def test_parts_are_scheduled_one_by_one(make_dataset: MakeDataset, make_context: MakeContext) -> None:
    dataset = make_dataset(6)
    counts = []
    for shard in ("0/2", "1/2"):
        run(make_context(dataset, **FAST, shard=shard))
        counts.append(len(dataset.exists("words")))
    assert 0 < counts[0] < counts[1] == 6


def test_a_closed_browser_ends_the_run_and_frees_the_model(make_dataset: MakeDataset, make_context: MakeContext) -> None:
    dataset = make_dataset(30)
    steps = Segment().execute(make_context(dataset, **FAST))
    for _ in range(3):
        next(steps)
    steps.close()  # as the server does when the browser is closed
    assert writers.stop_all(dataset) == 0
    assert 0 < models.in_turn(lambda: len(dataset.exists("words"))) < 30


def test_a_delegated_run_reports_progress_and_labels(installed: None, make_dataset: MakeDataset) -> None:
    dataset = make_dataset(2)
    foo.execute_operator(
        "@fiftyone-resclip/resclip/segment", {"dataset": dataset, "params": dict(FAST), "request_delegation": True}
    )
    service = DelegatedOperationService()
    queued = service.list_operations(dataset_name=dataset.name)
    service.execute_queued_operations(dataset_name=dataset.name)
    done = service.get(queued[-1].id)
    assert done.run_state == "completed", done.result
    assert done.status.progress == 1
    assert len(dataset.exists("words")) == 2


def test_a_mistake_reaches_the_user_as_one_sentence(make_dataset: MakeDataset, make_context: MakeContext) -> None:
    dataset = make_dataset(1)
    for change, message in (
        ({"classes": "road, road"}, "each class must occur once, but 'road' is there twice; remove one"),
        ({"classes": ""}, "classes must name at least one class, but got none; pass classes=['road', 'sky', ...]"),
        ({"label_field": "filepath"}, "must hold Segmentation labels or be new"),
        ({"mode": "fsat"}, "mode 'fsat' is unknown; did you mean 'fast'?"),
        ({"tune": True, "prob_threshold": 7}, "prob_threshold must be in [0, 1], but got 7"),
    ):
        context = make_context(dataset, **{**FAST, **change})
        run(context)
        assert [variant for variant, _ in notices(context)] == ["error"]
        assert message in notices(context)[0][1]
    assert not dataset.has_sample_field("words")


def test_an_unforeseen_failure_is_a_sentence_too(caplog: pytest.LogCaptureFixture) -> None:
    said = sentence(RuntimeError("CUDA out of\nmemory"))
    assert said == "unexpected error (RuntimeError: CUDA out of memory); see the server's log"
    assert "Failed in the App" in caplog.text


def test_the_form_says_what_will_run(make_dataset: MakeDataset, make_context: MakeContext) -> None:
    dataset = make_dataset(3)
    shown = labels_of(Segment().resolve_input(make_context(dataset, **FAST)))
    assert shown["preview"] == "3 images will be labelled into 'words'. 2 classes, 2 phrases."
    shown = labels_of(Segment().resolve_input(make_context(dataset, **FAST, estimate=True)))
    assert " s on cpu (" in shown["preview"]
    run(make_context(dataset[:1], **FAST))
    shown = labels_of(Segment().resolve_input(make_context(dataset, **FAST)))
    assert shown["preview"].startswith("2 images will be labelled into 'words'; 1 that have a mask are left alone.")
    shown = labels_of(Segment().resolve_input(make_context(dataset, **FAST, existing="new field")))
    assert shown["preview"].startswith("3 images will be labelled into 'words_2'.")
    form = Segment().resolve_input(make_context(dataset, **{**FAST, "classes": "road, road"}))
    assert form.type.properties["problem"].invalid
    assert "'road' is there twice" in form.type.properties["problem"].view.label
    empty = labels_of(Segment().resolve_input(make_context(dataset)))
    assert "problem" not in empty  # an empty form is not an error
    waiting = Segment().resolve_input(make_context(dataset, **{**FAST, "model": "resclip-vit-b-16"}, estimate=True))
    assert "no estimate yet: resclip-vit-b-16 will be downloaded" in labels_of(waiting)["preview"]


def test_each_source_of_words_gives_its_classes(make_dataset: MakeDataset, make_context: MakeContext, tmp_path: Path) -> None:
    dataset = make_dataset(1)
    dataset.default_classes = ["cloth", "snow"]
    (tmp_path / "words.txt").write_text("ground: snow, gravel\nred cloth\n")
    saved_vocabularies.save("mine", Vocabulary.parse("blue cloth\nground: gravel, asphalt"))
    for number, (params, expected) in enumerate(
        (
            ({"words_from": "file", "class_file": str(tmp_path / "words.txt")}, ["ground", "red cloth"]),
            ({"words_from": "field", "class_field": "ground_truth"}, list(dataset.mask_targets["ground_truth"].values())),
            ({"words_from": "dataset"}, ["cloth", "snow"]),
            ({"words_from": "saved", "vocabulary": "mine"}, ["blue cloth", "ground"]),
            ({"classes": "snow", "background": "26 words of VOC"}, ["snow", "background"]),
            ({"classes": "snow", "background": "own words", "background_words": "cloth, gravel"}, ["snow", "background"]),
        )
    ):
        context = make_context(dataset, **{"model": "resclip-tiny", "mode": "fast", "label_field": f"f{number}", **params})
        assert "problem" not in labels_of(Segment().resolve_input(context))
        run(context)
        dataset.reload()
        assert list(dataset.mask_targets[f"f{number}"].values()) == expected, notices(context)


def test_thresholds_reach_the_masks(make_dataset: MakeDataset, make_context: MakeContext) -> None:
    dataset = make_dataset(1)
    words = "plain cloth, striped cloth, dotted cloth, checked cloth"
    run(make_context(dataset, **{**FAST, "classes": words}, tune=True, prob_threshold=0.9))
    assert (dataset.first().words.mask == 0).any()  # unlabelled
    run(make_context(dataset, **{**FAST, "mode": "full", "label_field": "low"}, tune=True, sfr_mix=0.1, draft_threshold=0.9))
    wanted = load_model("resclip-tiny", "red cloth, snow", sfr={"mix": 0.1, "threshold": 0.9}, device="cpu")
    label(dataset, wanted, "wanted", progress=False)
    assert (dataset.first().low.mask == dataset.first().wanted.mask).all()


def test_groups_are_labelled_by_slice(make_dataset: MakeDataset, make_context: MakeContext) -> None:
    scenes = make_dataset(4)
    dataset = fo.Dataset()
    dataset.add_group_field("group", default="left")
    for first, second in (scenes[:2], scenes[2:]):
        group = fo.Group()
        dataset.add_samples(
            [fo.Sample(s.filepath, group=group.element(name)) for s, name in ((first, "left"), (second, "right"))]
        )
    form = Segment().resolve_input(make_context(dataset, {"group_slice": "right"}, **FAST))
    assert form.type.properties["group_slice"].type.values == ["left", "right", "all slices of images"]
    assert labels_of(form)["preview"].startswith("2 images")
    run(make_context(dataset, {"group_slice": "right"}, **FAST))
    flat = dataset.select_group_slices()
    assert {s.group.name for s in flat.exists("words")} == {"right"}
    run(make_context(dataset, **FAST, group_slice="all slices of images"))
    assert len(flat.exists("words")) == 4
    dataset.delete()


def test_two_runs_at_once_give_what_each_gives_alone(make_dataset: MakeDataset, make_context: MakeContext) -> None:
    dataset = make_dataset(6)
    jobs = {"a": {"classes": "red cloth, snow", "mode": "fast"}, "b": {"classes": "cloth\nground: gravel, snow", "mode": "full"}}
    contexts = {name: make_context(dataset, **{**FAST, **job, "label_field": f"{name}_together"}) for name, job in jobs.items()}
    threads = [threading.Thread(target=run, args=[context]) for context in contexts.values()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    dataset.reload()
    for name, job in jobs.items():
        run(make_context(dataset, **{**FAST, **job, "label_field": f"{name}_alone"}))
        dataset.reload()
        assert dataset.mask_targets[f"{name}_together"] == dataset.mask_targets[f"{name}_alone"]
        for sample in dataset:
            assert np.array_equal(sample[f"{name}_together"].mask, sample[f"{name}_alone"].mask)


def test_a_model_is_used_by_one_at_a_time() -> None:
    inside: list[str] = []
    seen: list[tuple[str, ...]] = []

    def steps(name: str) -> Any:
        for _ in range(20):
            inside.append(name)
            seen.append(tuple(inside))
            threading.Event().wait(0.001)
            inside.remove(name)
            yield name

    threads = [threading.Thread(target=lambda n=name: list(models.by_turns(steps(n)))) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 40 and max(map(len, seen)) == 1


def test_a_run_that_is_interrupted_is_closed_after_its_step(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    step_runs, in_turn = threading.Event(), models.in_turn

    def steps() -> Iterator[int]:
        try:
            yield 1
            step_runs.set()
            threading.Event().wait(0.2)
            done.append("step")
            yield 2
        finally:
            done.append("closed")

    def left(work: Any) -> Any:
        """Stops waiting for the work, as Ctrl-C does."""
        threading.Thread(target=in_turn, args=(work,)).start()
        assert step_runs.wait(20)
        raise KeyboardInterrupt

    ways = iter([in_turn, left, in_turn])
    monkeypatch.setattr(models, "in_turn", lambda work: next(ways)(work))
    with pytest.raises(KeyboardInterrupt):
        list(models.by_turns(steps()))
    assert done == ["step", "closed"]


def test_whoever_asks_the_network_computes_in_one_thread(make_dataset: MakeDataset, make_context: MakeContext) -> None:
    dataset, computed = make_dataset(3), list[int]()
    trunk = Backbone.trunk

    def noted(*arguments: Any) -> Any:
        computed.append(threading.get_ident())
        return trunk(*arguments)

    with patch.object(Backbone, "trunk", noted):
        for field in ("first", "second"):  # the server answers each request in another thread
            asking = threading.Thread(target=lambda f=field: run(make_context(dataset, **FAST | {"label_field": f})))
            asking.start()
            asking.join()
    assert len(dataset.exists("first")) == len(dataset.exists("second")) == 3
    assert len(computed) >= 2 and len(set(computed)) == 1


def test_saved_vocabularies_come_back() -> None:
    words = Vocabulary.parse("car: car, taxi\nsky").with_background(BACKGROUND_WORDS)
    saved_vocabularies.save("streets", words)
    assert saved_vocabularies.load("streets") == words
    assert "streets" in saved_vocabularies.names()
    saved_vocabularies.delete("streets")
    with pytest.raises(ValueError, match="saved vocabulary 'streets' is unknown"):
        saved_vocabularies.load("streets")
    with pytest.raises(ValueError, match="needs a name"):
        saved_vocabularies.save(" ", words)


def with_evidence(make_dataset: MakeDataset) -> fo.Dataset:
    """Scenes with outlines, with names as tags and as text, and two kept masks in ``first``."""
    dataset = make_dataset(4)
    dataset.add_sample_field("outlines", fo.EmbeddedDocumentField, embedded_doc_type=fo.Segmentation)
    dataset.set_values("outlines", [*[fo.Segmentation(mask=np.ones((8, 8), np.uint8))] * 3, None])
    dataset.set_values("tags", [["snow"], [], ["red_cloth"], ["red cloth", "snow"]])
    dataset.set_values("place", ["snow", "snow", None, "moon"])
    dataset.set_values("boxes", [fo.Detections()] * 4)
    return dataset


def test_the_form_offers_what_the_dataset_knows(make_dataset: MakeDataset, make_context: MakeContext) -> None:
    dataset = with_evidence(make_dataset)
    assert "learn_from" not in labels_of(Segment().resolve_input(make_context(dataset, **FAST)))
    run(make_context(dataset, **FAST))
    dataset.reload()
    review.mark(dataset, "words", dataset.values("id")[:2], "keep")
    form = Segment().resolve_input(make_context(dataset, **FAST, evidence=True)).type.properties
    assert form["learn_from"].type.values == ["nothing", "all:ground_truth", "kept:words", "all:words"]
    assert form["regions"].type.values == ["nothing", "ground_truth", "outlines", "boxes", "words"]
    assert form["present"].type.values == ["nothing", "tags", "place", "boxes"]
    other = {**FAST, "classes": "cat, dog"}
    form = Segment().resolve_input(make_context(dataset, **other, evidence=True)).type.properties
    assert form["learn_from"].type.values == ["nothing"]


def test_evidence_reaches_the_masks_and_the_report(make_dataset: MakeDataset, make_context: MakeContext) -> None:
    dataset = with_evidence(make_dataset)
    chosen = {"evidence": True, "learn_from": "all:ground_truth", "regions": "outlines", "present": "tags"}
    form = labels_of(Segment().resolve_input(make_context(dataset, **FAST, **chosen)))
    assert "problem" not in form and "4 masks of 'ground_truth' teach it first" in form["preview"]
    context = make_context(dataset, **FAST, **chosen)
    run(context)
    assert "1 have no regions; 1 name none of the classes" in notices(context)[-1][1]
    said = str(asked(context)[-1])
    assert asked(context)[-1][0] == "show_output" and "Learned: " in said and "strength" in said
    dataset.reload()
    assert set(np.unique(dataset.first().words.mask)) == {2}  # its tag
    assert all(len(np.unique(sample.words.mask)) == 1 for sample in dataset[:3])  # one region
    recipe = load_run(dataset, "words").recipe
    assert recipe["evidence"] == {"regions": "outlines", "present": "tags"} and "examples" in recipe
    hidden = make_context(dataset, **{**FAST, "label_field": "bare"}, **{**chosen, "evidence": False})
    run(hidden)
    dataset.reload()
    assert not {"evidence", "examples"} & set(load_run(dataset, "bare").recipe)


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"learn_from": "kept:ground_truth"}, "no mask of 'ground_truth' is kept, so there is nothing to learn from"),
        ({"learn_from": "some"}, "learn_from must be 'kept:<field>' or 'all:<field>', but got 'some'"),
        ({"learn_from": "all:tags"}, "must hold Segmentation labels"),
        ({"learn_from": "all:ground_truth", "classes": "cat, dog"}, "must share class names with the model"),
        ({"regions": "boxes_alone"}, "boxes without masks"),
        ({"present": "ground_truth"}, "present must name a field of tags"),
    ],
)
def test_evidence_that_cannot_be_used_is_said_in_a_sentence(
    make_dataset: MakeDataset, make_context: MakeContext, chosen: dict[str, Any], words: str
) -> None:
    dataset = with_evidence(make_dataset)
    box = fo.Detections(detections=[fo.Detection(label="a", bounding_box=[0, 0, 1, 1])])
    dataset.set_values("boxes_alone", [box] * 4)
    context = make_context(dataset, **{**FAST, "evidence": True, **chosen})
    run(context)
    assert [variant for variant, _ in notices(context)] == ["error"] and words in notices(context)[0][1]
    assert not dataset.has_sample_field("words")


def test_words_for_the_background_are_chosen_and_shown(make_dataset: MakeDataset, make_context: MakeContext) -> None:
    dataset = make_dataset(1)
    context = make_context(dataset, **FAST, background="auto")
    run(context)
    dataset.reload()
    assert dataset.mask_targets["words"] == {1: "red cloth", 2: "snow", 3: "background"}
    words = dict(load_run(dataset, "words").recipe["classes"])["background"]
    assert len(words) > 10
    assert f"Words chosen for the background: {', '.join(words)}" in str(asked(context)[-1])
