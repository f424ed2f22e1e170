"""``resclip.learn`` on real files: what it gains on held-out scenes, what it refuses and what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
import torch
from PIL import Image

import fiftyone_resclip as resclip
from fiftyone_resclip.core.teaching import DEFAULT_STRENGTH
from fiftyone_resclip.errors import ConfigError, DatasetError
from fiftyone_resclip.evidence.learning import LEAST_TO_TRY
from fiftyone_resclip.explore import review
from fiftyone_resclip.fields import masks, schema
from fiftyone_resclip.model import ResCLIPModel
from fiftyone_resclip.tiny.scenes import COLOURS_AND_GROUNDS, class_map, dense_scene
from fiftyone_resclip.vocabulary import Vocabulary

N_EXAMPLES, N_OTHERS = 5, 10


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> fo.Dataset:
    folder, dataset = tmp_path_factory.mktemp("scenes"), fo.Dataset()
    schema.declare_field(dataset, "truth", schema.mask_targets(Vocabulary.parse(list(COLOURS_AND_GROUNDS))))
    for index in range(N_EXAMPLES + N_OTHERS):
        scene = dense_scene(70_000 + index)
        path = folder / f"{index:02d}.png"
        Image.fromarray(scene.image).save(path)
        dataset.add_sample(fo.Sample(str(path), truth=fo.Segmentation(mask=class_map(scene, COLOURS_AND_GROUNDS))))
    return dataset


@pytest.fixture(scope="module")
def model() -> ResCLIPModel:
    return resclip.load_model("resclip-tiny", COLOURS_AND_GROUNDS, sfr=None, device="cpu")


@pytest.fixture(scope="module")
def taught(model: ResCLIPModel, scenes: fo.Dataset) -> ResCLIPModel:
    return resclip.learn(model, scenes.limit(N_EXAMPLES), "truth")


def images(samples: Any) -> list[torch.Tensor]:
    return [torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1) for path in samples.values("filepath")]


def test_examples_make_the_masks_of_other_images_better(model: ResCLIPModel, taught: ResCLIPModel, scenes: fo.Dataset) -> None:
    others = scenes.skip(N_EXAMPLES)
    for name, each in (("words", model), ("taught", taught)):
        resclip.label(others, each, name)
    before, after = (resclip.evaluate(others, name, "truth", progress=False).miou for name in ("words", "taught"))
    assert after > before + 2
    scenes.delete_sample_fields(["words", "taught"])


def test_it_says_what_it_learned(taught: ResCLIPModel, scenes: fo.Dataset) -> None:
    story = taught.taught
    assert story is not None
    assert story.sample_ids == tuple(scenes.limit(N_EXAMPLES).values("id"))
    assert story.unlabelled == N_OTHERS and story.skipped == {} and story.unknown == ()
    assert story.strength in story.scores and story.scores[story.strength] >= story.scores[DEFAULT_STRENGTH]
    shown = [set(np.unique(sample.truth.mask)) for sample in scenes.limit(N_EXAMPLES)]
    for value, name in enumerate(COLOURS_AND_GROUNDS, start=1):
        assert story.examples[name] <= sum(value in values for values in shown)
    assert f"{N_EXAMPLES} examples of" in str(story) and f"{N_OTHERS} unlabelled images" in str(story)


def test_no_examples_and_no_strength_leave_the_words_alone(model: ResCLIPModel, scenes: fo.Dataset) -> None:
    pixels = images(scenes.limit(1))
    expected = model.segmenter.segment(pixels)[0]
    for same in (
        resclip.learn(model, scenes.limit(0), "truth", unlabelled=0),
        resclip.learn(model, scenes.limit(2), "truth", unlabelled=0, strength=0),
        resclip.learn(model, scenes.limit(2), "truth", unlabelled=3),  # too few images to be safe
    ):
        assert same.taught is not None and same.taught.strength in (0, DEFAULT_STRENGTH)
        assert torch.equal(same.segmenter.segment(pixels)[0].labels, expected.labels)


def test_masks_that_words_made_count_although_nothing_agrees_with_them_better(model: ResCLIPModel, scenes: fo.Dataset) -> None:
    some = scenes.limit(LEAST_TO_TRY)
    resclip.label(some, model, "made")
    review.mark(scenes, "made", some.values("id"), "keep")
    review.copy_kept(scenes, "made", "kept")
    for field in ("made", "kept"):
        story = resclip.learn(model, some, field, unlabelled=8).taught
        assert story is not None and story.strength == DEFAULT_STRENGTH and story.scores == {}
    resclip.delete_run(scenes, "made")
    scenes.delete_sample_fields(["kept", "made_review", "made_reviewed_id"])


def test_learning_again_replaces_what_was_learned(taught: ResCLIPModel, model: ResCLIPModel, scenes: fo.Dataset) -> None:
    few = scenes.limit(3)
    again, fresh = (resclip.learn(each, few, "truth", unlabelled=5, strength=1) for each in (taught, model))
    assert again.taught is not None and fresh.taught is not None
    assert torch.equal(again.taught.correction.weights, fresh.taught.correction.weights)


def test_the_order_of_samples_does_not_matter(model: ResCLIPModel, scenes: fo.Dataset) -> None:
    few = scenes.limit(3)
    one, other = (
        resclip.learn(model, view, "truth", unlabelled=scenes.skip(N_EXAMPLES), strength=1)
        for view in (few, few.sort_by("id", reverse=True))
    )
    assert one.taught is not None and other.taught is not None
    assert torch.equal(one.taught.correction.weights, other.taught.correction.weights)


def test_masks_of_any_size_teach_the_same_and_those_of_other_proportions_are_named(
    model: ResCLIPModel, scenes: fo.Dataset, tmp_path: Path
) -> None:
    dataset = scenes.limit(3).clone()
    whole = resclip.learn(model, dataset, "truth", unlabelled=0, strength=1)
    for sample in dataset:
        doubled = sample.truth.mask.repeat(2, 0).repeat(2, 1)
        masks.write_mask(doubled, tmp_path / f"{sample.id}.png")
        sample["truth"] = fo.Segmentation(mask_path=str(tmp_path / f"{sample.id}.png"))
        sample.save()
    double = resclip.learn(model, dataset, "truth", unlabelled=0, strength=1)
    assert whole.taught is not None and double.taught is not None
    torch.testing.assert_close(double.taught.correction.weights, whole.taught.correction.weights)
    last = dataset.last()
    last["truth"] = fo.Segmentation(mask=np.ones((50, 50), np.uint8))
    last.save()
    skipped = resclip.learn(model, dataset, "truth", unlabelled=0, strength=1).taught
    assert skipped is not None
    assert list(skipped.skipped) == [last.filepath] and "proportions" in str(skipped)
    assert len(skipped.sample_ids) == 2


def test_what_is_no_example_is_refused(model: ResCLIPModel, scenes: fo.Dataset) -> None:
    dataset = scenes.limit(2).clone()
    dataset.set_values("truth.mask", [np.full((144, 192), 255, np.uint8)] * 2)
    with pytest.raises(DatasetError, match="none of the examples can be used: .*void or of other classes"):
        resclip.learn(model, dataset, "truth", unlabelled=0)
    dataset.mask_targets = {"truth": {1: "cat", 2: "dog"}}
    with pytest.raises(DatasetError, match=r"'truth' must share class names with the model, but has \['cat', 'dog'\]"):
        resclip.learn(model, dataset, "truth")
    dataset.mask_targets = {"truth": {1: "snow", 2: "dog"}}
    dataset.set_values("truth.mask", [np.full((144, 192), 1, np.uint8)] * 2)
    story = resclip.learn(model, dataset, "truth", unlabelled=0, strength=1).taught
    assert story is not None and story.unknown == ("dog",) and "no class is called dog" in str(story)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"samples": "scenes"}, DatasetError, "samples must be a FiftyOne dataset or view, but got str"),
        ({"label_field": "nothing"}, DatasetError, "field 'nothing' is unknown"),
        ({"label_field": "filepath"}, DatasetError, "must hold Segmentation labels"),
        ({"strength": -1}, ConfigError, "strength must be 'auto' or a number of at least 0, but got -1"),
        ({"strength": "strong"}, ConfigError, "strength must be"),
        ({"strength": float("nan")}, ConfigError, "strength must be"),
        ({"unlabelled": -1}, ConfigError, "unlabelled must be a number of images of at least 0"),
        ({"unlabelled": "all"}, DatasetError, "unlabelled must be a FiftyOne dataset or view, but got str"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(
    model: ResCLIPModel, scenes: fo.Dataset, arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        resclip.learn(model, **{"samples": scenes, "label_field": "truth", **arguments})


def test_features_that_are_not_numbers_are_named(model: ResCLIPModel, scenes: fo.Dataset, monkeypatch: Any) -> None:
    original = type(model.segmenter).tokens
    monkeypatch.setattr(type(model.segmenter), "tokens", lambda *args, **kwargs: original(*args, **kwargs) * float("nan"))
    with pytest.raises(DatasetError, match="must be finite numbers"):
        resclip.learn(model, scenes.limit(1), "truth", unlabelled=0)


def test_masks_of_one_teaching_are_not_mixed_with_those_of_another(
    model: ResCLIPModel, taught: ResCLIPModel, scenes: fo.Dataset
) -> None:
    dataset = scenes.limit(2).clone()
    resclip.label(dataset.limit(1), model, "pred")
    with pytest.raises(DatasetError, match="examples"):
        resclip.label(dataset, taught, "pred")
