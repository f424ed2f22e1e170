from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
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
from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.errors import ConfigError
from fiftyone_resclip.evidence.learning import learn
from fiftyone_resclip.evidence.lessons import list_lessons, save_lesson
from fiftyone_resclip.explore import review, saved_vocabularies
from fiftyone_resclip.labeling import writers
from fiftyone_resclip.labeling.label import label
from fiftyone_resclip.labeling.runs import load_run
from fiftyone_resclip.model import load_model
from fiftyone_resclip.vocabulary import BACKGROUND_WORDS, Vocabulary
from tests.app.conftest import MakeContext, MakeDataset, labels_of, notices, operator

FAST: dict[str, Any] = {"classes": "red cloth, snow", "label_field": "words", "model": "resclip-tiny", "mode": "fast"}


def run(context: Any) -> Any:
    return Segment().execute(context)


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


def test_a_program_gets_the_outcome_when_the_run_has_ended(make_dataset: MakeDataset, make_context: MakeContext) -> None:
    dataset = make_dataset(5)
    context = make_context(dataset, {"active_fields": ["ground_truth"]}, **FAST)
    outcome = run(context)
    assert outcome["label_field"] == "words" and outcome["report"].startswith("5 of 5 images labelled")
    assert notices(context) == []
    assert len(dataset.exists("words")) == 5


def test_parts_are_scheduled_one_by_one(make_dataset: MakeDataset, make_context: MakeContext) -> None:
    dataset = make_dataset(16)  # ids are random, and so is the part of each: few enough could all be in one
    counts = []
    for shard in ("0/2", "1/2"):
        run(make_context(dataset, **FAST, shard=shard))
        counts.append(len(dataset.exists("words")))
    assert 0 < counts[0] < counts[1] == 16


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


def test_a_delegated_run_that_is_stopped_is_not_completed(installed: None, make_dataset: MakeDataset) -> None:
    dataset = make_dataset(12)
    request = {"dataset": dataset, "params": dict(FAST), "request_delegation": True}
    foo.execute_operator("@fiftyone-resclip/resclip/segment", request)
    service = DelegatedOperationService()
    queued = service.list_operations(dataset_name=dataset.name)
    told = writers.Presence.tell
    with patch.object(writers.Presence, "tell", lambda presence, progress: told(presence, progress) or progress.done > 0):
        service.execute_queued_operations(dataset_name=dataset.name)
    stopped = service.get(queued[-1].id)
    assert stopped.run_state == "failed"
    assert "of 12 images labelled" in stopped.result.error and "stopped; to go on" in stopped.result.error
    assert 0 < len(dataset.exists("words")) < 12


def test_a_mistake_reaches_the_user_as_one_sentence(make_dataset: MakeDataset, make_context: MakeContext) -> None:
    dataset = make_dataset(1)
    for change, message in (
        ({"classes": "road, road"}, "each class must occur once, but 'road' is there twice; remove one"),
        ({"classes": ""}, "classes must name at least one class, such as 'road, sky', but got none"),
        ({"label_field": "filepath"}, "must hold Segmentation labels or be new"),
        ({"mode": "fsat"}, "mode 'fsat' is unknown; did you mean 'fast'?"),
        ({"tune": True, "prob_threshold": 7}, "prob_threshold must be a number in [0, 1], but got 7"),
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


def test_the_form_says_in_one_sentence_what_will_run(make_dataset: MakeDataset, make_context: MakeContext) -> None:
    dataset = make_dataset(3)
    tiny = "by resclip-tiny, which knows only generated scenes of cloth"
    shown = labels_of(Segment().resolve_input(make_context(dataset, **FAST)))
    assert shown["preview"] == f"3 images → 'words'; replaces nothing; {tiny}; 2 classes"
    shown = labels_of(Segment().resolve_input(make_context(dataset, **FAST, estimate=True)))
    assert " s on cpu (" in shown["preview"]
    run(make_context(dataset[:2], **FAST))
    shown = labels_of(Segment().resolve_input(make_context(dataset, **FAST)))
    assert shown["preview"].startswith("1 image → 'words'; replaces nothing, and leaves 2 masks alone;")
    shown = labels_of(Segment().resolve_input(make_context(dataset, **FAST, existing="new field")))
    assert shown["preview"].startswith("3 images → 'words_2'; replaces nothing;")
    shown = labels_of(Segment().resolve_input(make_context(dataset, **FAST, existing="overwrite")))
    assert shown["preview"].startswith("3 images → 'words'; replaces 2 masks;")
    assert shown["replaces"] == "This replaces 2 masks of 'words'."
    empty = Segment().resolve_input(make_context(dataset)).type.properties
    assert not any(part.invalid for part in empty.values())  # an empty form is not an error


def test_the_form_is_short_until_more_is_asked_for(make_dataset: MakeDataset, make_context: MakeContext) -> None:
    dataset = make_dataset(1)
    form = Segment().resolve_input(make_context(dataset)).type.properties
    assert list(form) == ["words_from", "words", "background", "advanced", "preview"]
    long = Segment().resolve_input(make_context(dataset, advanced=True)).type.properties
    assert {"model", "mode", "tune", "evidence", "label_field", "store", "estimate"} <= set(long)
    assert long["model"].default == "resclip-tiny"  # the ready one
    assert Segment().resolve_placement(make_context(dataset)).view.to_json()["icon"] == Segment().config.icon


def test_the_form_asks_about_masks_that_are_there_in_plain_sight(make_dataset: MakeDataset, make_context: MakeContext) -> None:
    dataset = make_dataset(2)
    for chosen in ({"advanced": True}, {"existing": "new field"}):
        assert "existing" not in Segment().resolve_input(make_context(dataset, **FAST, **chosen)).type.properties
    run(make_context(dataset, **FAST))
    dataset.reload()
    for chosen in ({}, {"existing": "overwrite"}, {"existing": "new field"}):
        form = Segment().resolve_input(make_context(dataset, **FAST, **chosen)).type.properties
        assert form["existing"].view.label == "'words' already has masks"
    assert "existing" not in Segment().resolve_input(make_context(dataset, **{**FAST, "label_field": "new"})).type.properties


def test_words_are_chips_and_names_of_the_dataset_are_offered(make_dataset: MakeDataset, make_context: MakeContext) -> None:
    dataset = make_dataset(1)
    dataset.mask_targets = {"other": {1: "a: b", 7: "Unlabeled", 255: "void"}, "ground_truth": {1: "snow"}}
    dataset.default_classes = ["void", "gravel"]
    saved_vocabularies.save("mine", Vocabulary.parse("pebbles"))
    form = Segment().resolve_input(make_context(dataset)).type.properties
    offered = [(choice.value, choice.label) for choice in form["words"].view.choices]
    assert offered[:3] == [("a\\: b", "a: b"), ("snow", "snow"), ("gravel", "gravel")] and ("pebbles", "pebbles") in offered
    assert not {"void", "Unlabeled"} & {label for _, label in offered}
    chips = ["red cloth", "ground: snow, gravel", "a\\: b"]
    context = make_context(dataset, words=chips, mode="fast")
    run(context)
    dataset.reload()
    assert dataset.mask_targets["resclip"] == {1: "red cloth", 2: "ground", 3: "a: b"}
    text = Segment().resolve_input(make_context(dataset, words=chips, words_from="typed")).type.properties
    assert text["classes"].default == "\n".join(chips)
    assert Segment().resolve_input(make_context(dataset, words_from="field")).type.properties["class_field"].type.values == [
        "other", "ground_truth", "resclip",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("params", "part", "problem"),
    [
        ({"classes": "road, road"}, "classes", "'road' is there twice"),
        ({"classes": "", "words": ["a", "a"]}, "words", "'a' is there twice"),
        ({"classes": "Road, road"}, "classes", "CLIP ignores capitals"),
        ({"classes": "", "words": ["road; car"]}, "words", "has a semicolon; write a comma, or"),
        ({"words_from": "file", "class_file": "words.csv"}, "class_file", "must end in '.txt'"),
        ({"label_field": "a.b"}, "label_field", "but got 'a.b'"),
        ({"label_field": "filepath"}, "label_field", "must hold Segmentation labels or be new"),
        ({"label_field": "used", "classes": "gravel"}, "label_field", "of other classes (red cloth, snow)"),
        ({"label_field": "used", "mode": "full"}, "label_field", "made in another way (settings.sfr"),
        ({"label_field": "ground_truth"}, "label_field", "masks that no labelling run made"),
        ({"label_field": "ground_truth", "existing": "overwrite"}, "confirm_field", "were not made by ResCLIP and would be lost"),
        ({"store": "disk", "output_dir": "/proc/masks"}, "output_dir", "masks can't be written to"),
        ({"store": "disk"}, "output_dir", "masks on disk need a folder"),
        ({"advanced": True, "evidence": True, "learn_from": "kept:used"}, "learn_from", "no mask of 'used' is kept"),
    ],
)
def test_what_the_form_accepts_is_what_runs(
    make_dataset: MakeDataset, make_context: MakeContext, params: dict[str, Any], part: str, problem: str
) -> None:
    dataset = make_dataset(2)
    run(make_context(dataset, **{**FAST, "label_field": "used"}))
    dataset.reload()
    given = {**FAST, "advanced": True, **params}
    form = Segment().resolve_input(make_context(dataset, **given)).type.properties
    assert form[part].invalid and problem in form[part].error_message
    before = dataset.get_field_schema().keys(), [str(sample.ground_truth.mask_path) for sample in dataset]
    context = make_context(dataset, **given)
    run(context)
    dataset.reload()
    assert [variant for variant, _ in notices(context)] == ["error"] and problem in notices(context)[0][1]
    assert (dataset.get_field_schema().keys(), [str(sample.ground_truth.mask_path) for sample in dataset]) == before


def test_masks_of_others_are_replaced_only_if_their_field_is_named_again(
    make_dataset: MakeDataset, make_context: MakeContext
) -> None:
    dataset = make_dataset(2)
    params = {**FAST, "label_field": "ground_truth", "existing": "overwrite"}
    form = Segment().resolve_input(make_context(dataset, **params, confirm_field="ground_truht")).type.properties
    assert form["confirm_field"].invalid
    named = {**params, "confirm_field": "ground_truth"}
    assert not any(p.invalid for p in Segment().resolve_input(make_context(dataset, **named)).type.properties.values())
    run(make_context(dataset, **named))
    dataset.reload()
    assert dataset.mask_targets["ground_truth"] == {1: "red cloth", 2: "snow"}


def test_a_model_that_is_not_at_hand_needs_consent(make_dataset: MakeDataset, make_context: MakeContext) -> None:
    params = {**FAST, "model": "resclip-vit-b-16"}
    form = Segment().resolve_input(make_context(make_dataset(1), **params, estimate=True)).type.properties
    assert form["download"].invalid and "is not on this machine" in form["download"].error_message
    assert "no estimate yet: resclip-vit-b-16 will be downloaded" in form["preview"].view.label
    allowed = Segment().resolve_input(make_context(make_dataset(1), **params, download=True)).type.properties
    assert not any(part.invalid for part in allowed.values())


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
    form = Segment().resolve_input(make_context(dataset, **FAST, advanced=True, evidence=True)).type.properties
    assert form["learn_from"].type.values == ["nothing", "all:ground_truth", "kept:words", "all:words"]
    assert form["regions"].type.values == ["nothing", "ground_truth", "outlines", "boxes", "words"]
    assert form["present"].type.values == ["nothing", "tags", "place", "boxes"]
    other = {**FAST, "classes": "cat, dog"}
    form = Segment().resolve_input(make_context(dataset, **other, advanced=True, evidence=True)).type.properties
    assert form["learn_from"].type.values == ["nothing"]


def test_evidence_reaches_the_masks_and_the_report(make_dataset: MakeDataset, make_context: MakeContext) -> None:
    dataset = with_evidence(make_dataset)
    chosen = {"advanced": True, "evidence": True, "learn_from": "all:ground_truth", "regions": "outlines", "present": "tags"}
    form = labels_of(Segment().resolve_input(make_context(dataset, **FAST, **chosen)))
    assert "problem" not in form
    told = "4 masks of 'ground_truth' will teach it first; with the regions of 'outlines'; only classes named in 'tags'"
    assert told in form["preview"]
    outcome = run(make_context(dataset, **FAST, **chosen))
    assert "1 have no regions; 1 name none of the classes" in outcome["report"]
    (learned,) = outcome["notes"]
    assert learned.startswith("Learned: ") and "strength" in learned
    dataset.reload()
    assert set(np.unique(dataset.first().words.mask)) == {2}  # its tag
    assert all(len(np.unique(sample.words.mask)) == 1 for sample in dataset[:3])  # one region
    recipe = load_run(dataset, "words").recipe
    assert recipe["evidence"] == {"regions": "outlines", "present": "tags"} and "examples" in recipe
    hidden = make_context(dataset, **{**FAST, "label_field": "bare"}, **{**chosen, "evidence": False})
    run(hidden)
    dataset.reload()
    assert not {"evidence", "examples"} & set(load_run(dataset, "bare").recipe)


def test_what_was_learned_is_saved_and_used_later(
    make_dataset: MakeDataset, make_context: MakeContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIFTYONE_RESCLIP_LESSONS", str(tmp_path))
    dataset, learned = (
        make_dataset(4),
        {"advanced": True, "evidence": True, "learn_from": "all:ground_truth", "lesson_name": "scenes"},
    )
    assert "lesson_name" in labels_of(Segment().resolve_input(make_context(dataset, **FAST, **learned)))
    assert "Saved as the lesson 'scenes'" in run(make_context(dataset, **FAST, **learned))["notes"]
    saved = {"advanced": True, "evidence": True, "learn_from": "saved:scenes", "label_field": "later", "lesson_name": "left over"}
    form = (
        Segment().resolve_input(make_context(dataset, **{**FAST, **saved, "classes": "red cloth, gravel, cat"})).type.properties
    )
    assert form["learn_from"].type.values[-1] == "saved:scenes"
    assert "It corrects 1 of 3 classes; these keep their words alone: gravel, cat" in form["lesson"].view.label
    run(make_context(dataset, **{**FAST, **saved}))
    dataset.reload()
    assert load_run(dataset, "later").recipe["examples"] == load_run(dataset, "words").recipe["examples"]
    assert all((sample.later.mask == sample.words.mask).all() for sample in dataset)
    assert list_lessons() == ["scenes"]


@pytest.mark.parametrize(
    ("change", "damage", "words"),
    [
        ({"mode": "sclip"}, {}, "other settings of the last block"),
        ({"tune": True, "rcs_mix": 0.9}, {}, "other settings of the last block, on which features depend: rcs"),
        ({}, {"weights": "others"}, "a model with other weights"),
        ({"learn_from": "saved:gone"}, {}, "lesson 'gone' is unknown"),
    ],
)
def test_a_lesson_of_another_model_is_refused_before_it_runs(
    make_dataset: MakeDataset, make_context: MakeContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any], damage: dict[str, Any], words: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("FIFTYONE_RESCLIP_LESSONS", str(tmp_path))
    dataset = make_dataset(3)
    taught = learn(load_model("resclip-tiny", "red cloth, snow", sfr=None, device="cpu"), dataset, "ground_truth").taught
    save_lesson("scenes", replace(taught, **damage))
    params = {**FAST, "advanced": True, "evidence": True, "learn_from": "saved:scenes", **change}
    form = Segment().resolve_input(make_context(dataset, **params)).type.properties
    assert form["learn_from"].invalid and words in form["learn_from"].error_message
    context = make_context(dataset, **params)
    run(context)
    assert [variant for variant, _ in notices(context)] == ["error"] and words in notices(context)[0][1]
    assert not dataset.has_sample_field("words")


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"learn_from": "kept:ground_truth"}, "no mask of 'ground_truth' is kept, so there is nothing to learn from"),
        ({"learn_from": "some"}, "learn_from must be 'kept:<field>', 'all:<field>' or 'saved:<lesson>', but got 'some'"),
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
    context = make_context(dataset, **{**FAST, "advanced": True, "evidence": True, **chosen})
    run(context)
    assert [variant for variant, _ in notices(context)] == ["error"] and words in notices(context)[0][1]
    assert not dataset.has_sample_field("words")


def test_words_for_the_background_are_chosen_and_shown(make_dataset: MakeDataset, make_context: MakeContext) -> None:
    dataset = make_dataset(1)
    outcome = run(make_context(dataset, **FAST, background="auto"))
    dataset.reload()
    assert dataset.mask_targets["words"] == {1: "red cloth", 2: "snow", 3: "background"}
    words = dict(load_run(dataset, "words").recipe["classes"])["background"]
    assert len(words) > 10
    assert outcome["notes"] == [f"Words chosen for the background: {', '.join(words)}"]
