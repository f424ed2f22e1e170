"""The FiftyOne model through ``dataset.apply_model``: real database, real files."""

from __future__ import annotations

import logging
import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
import torch
from PIL import Image

from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.errors import ConfigError, DatasetError, ImageError, VocabularyError
from fiftyone_resclip.fields.images import read_image, to_network
from fiftyone_resclip.labeling.label import label
from fiftyone_resclip.model import ResCLIPModel, load_model
from fiftyone_resclip.presets import TINY, preset
from fiftyone_resclip.segmenter import ResCLIP
from fiftyone_resclip.vocabulary import Vocabulary
from tests.conftest import CLASSES

MakeDataset = Callable[..., fo.Dataset]


def direct(model: ResCLIPModel, filepath: str) -> np.ndarray:
    image = read_image(filepath)
    segment = model.segmenter.segment([to_network(image, model.segmenter.config)], [(image.height, image.width)])
    return segment[0].labels.numpy() + 1


@pytest.mark.parametrize("num_workers", [0, 2])
def test_mixed_sizes_in_one_batch_get_masks_targets_colours_and_confidence(
    make_dataset: MakeDataset, fast_model: ResCLIPModel, num_workers: int
) -> None:
    dataset = make_dataset(5)
    dataset.apply_model(fast_model, label_field="pred", batch_size=3, num_workers=num_workers)
    for sample in dataset:
        mask = sample.pred.mask
        assert mask.dtype == np.uint8
        assert mask.shape == (read_image(sample.filepath).height, read_image(sample.filepath).width)
        assert (mask == direct(fast_model, sample.filepath)).mean() > 0.999
        assert 0 < sample.pred.confidence <= 1
    dataset.reload()
    assert dataset.mask_targets["pred"] == dict(enumerate(CLASSES, start=1))
    assert dataset.app_config.color_scheme.color_by == "value"
    assert dataset.match(fo.ViewField("pred.confidence") > 0).count() == 5


def test_a_single_batch_gets_its_targets_too(make_dataset: MakeDataset, fast_model: ResCLIPModel) -> None:
    dataset = make_dataset(2)
    dataset.view().apply_model(fast_model, label_field="pred", batch_size=8)
    assert dataset.mask_targets["pred"][1] == "red cloth"


def test_a_dataset_made_anew_gets_its_targets_again(make_dataset: MakeDataset, fast_model: ResCLIPModel) -> None:
    dataset = make_dataset(1)
    for _ in range(2):
        dataset.apply_model(fast_model, label_field="pred")
        assert dataset.mask_targets.pop("pred") == fast_model.mask_targets
        dataset.save()
        dataset.delete_sample_field("pred")


def test_a_broken_file_costs_its_own_label_only(
    make_dataset: MakeDataset, fast_model: ResCLIPModel, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = make_dataset(4)
    _, broken, missing, _ = map(Path, dataset.values("filepath"))
    broken.write_bytes(broken.read_bytes()[:200])
    missing.unlink()
    fast_model.failures.clear()
    with caplog.at_level(logging.WARNING, logger="fiftyone_resclip"):
        dataset.apply_model(fast_model, label_field="pred", batch_size=4)
    assert [confidence is not None for confidence in dataset.values("pred.confidence")] == [True, False, False, True]
    assert set(fast_model.failures) == {str(broken), str(missing)}
    assert all(str(path) in caplog.text for path in (broken, missing))


def test_masks_go_to_disk_and_read_back(make_dataset: MakeDataset, fast_model: ResCLIPModel, tmp_path: Path) -> None:
    dataset = make_dataset(2)
    dataset.apply_model(fast_model, label_field="pred", output_dir=str(tmp_path / "out"))
    for sample in dataset:
        assert sample.pred.mask is None
        assert sample.pred.get_mask().max() <= len(CLASSES)
        assert Path(sample.pred.mask_path).parent == tmp_path / "out"
    assert dataset.mask_targets["pred"]


def test_the_orientation_of_a_photograph_is_that_of_its_mask(
    fast_model: ResCLIPModel, make_dataset: MakeDataset, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    upright = read_image(make_dataset(1).first().filepath)
    upright.rotate(-90, expand=True).save(tmp_path / "turned.png", exif=exif)
    dataset = fo.Dataset()
    dataset.add_samples([fo.Sample(str(tmp_path / "turned.png"))])
    dataset.apply_model(fast_model, label_field="pred")
    assert dataset.first().pred.mask.shape == (upright.height, upright.width)
    dataset.delete()


def test_more_than_255_classes_need_16_bits(make_dataset: MakeDataset, tiny: Backbone) -> None:
    dataset = make_dataset(1)
    words = Vocabulary.parse([f"cloth {i}" for i in range(256)])
    features = torch.nn.functional.normalize(torch.randn(256, 64), dim=1)
    model = ResCLIPModel(ResCLIP(tiny, words, replace(TINY, sfr=None), features))
    dataset.apply_model(model, label_field="pred")
    assert dataset.first().pred.mask.dtype == np.uint16
    assert len(dataset.mask_targets["pred"]) == 256


def test_arrays_are_taken_too_as_frames_of_videos_come(fast_model: ResCLIPModel) -> None:
    label = fast_model.predict(np.full((80, 96, 3), 220, np.uint8))
    assert label is not None
    assert label.mask.shape == (80, 96)
    with pytest.raises(ImageError, match=r"an image must be an \(H, W, 3\) uint8 .*but got an array \(80, 96\)"):
        fast_model.predict(np.zeros((80, 96), np.uint8))


def test_apply_model_does_not_rename_masks_of_other_classes(make_dataset: MakeDataset, fast_model: ResCLIPModel) -> None:
    dataset = make_dataset(3)
    dataset.apply_model(fast_model, label_field="pred")
    before = [sample.pred.mask.copy() for sample in dataset]
    other = load_model("resclip-tiny", ["cloth", "ground"], sfr=None, device="cpu")
    for samples in (dataset[:1], dataset):
        with pytest.raises(DatasetError, match=r"field 'pred' holds masks of other classes \(red cloth, .*; use another field"):
            samples.apply_model(other, label_field="pred")
    assert dataset.mask_targets["pred"] == fast_model.mask_targets
    assert all((sample.pred.mask == mask).all() for sample, mask in zip(dataset, before, strict=True))
    dataset.clear_sample_field("pred")
    dataset[:1].apply_model(other, label_field="pred")
    assert dataset.mask_targets["pred"] == {1: "cloth", 2: "ground"}


def test_apply_model_leaves_the_field_of_a_labelling_run_alone(make_dataset: MakeDataset, fast_model: ResCLIPModel) -> None:
    dataset = make_dataset(2)
    label(dataset[:1], fast_model, "pred")
    with pytest.raises(DatasetError, match=r"field 'pred' belongs to labelling run 'pred'; use label\(\) for it"):
        dataset.apply_model(fast_model, label_field="pred")
    assert dataset.count("pred") == 1


def test_a_confidence_threshold_removes_pixels_and_never_whole_masks(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(2)
    model = load_model("resclip-tiny", CLASSES, device="cpu")
    dataset.apply_model(model, label_field="all")
    picture = model.build_get_item()({"filepath": dataset.first().filepath})
    certain = model.segmenter.segment([picture.pixels], [picture.image_hw])[0].confidence.numpy()
    threshold = float(np.median(certain))
    dataset.apply_model(model, label_field="certain", confidence_thresh=threshold)
    dataset.apply_model(model, label_field="none", confidence_thresh=1.0)
    first = dataset.first()
    np.testing.assert_array_equal(first.certain.mask, np.where(certain >= threshold, first.all.mask, 0))
    assert 0 < (first.certain.mask == 0).mean() < 1
    assert dataset.count("none") == 2
    assert model.config.confidence_thresh is None


def test_apply_model_raises_at_a_broken_file_if_failures_are_not_to_be_skipped(
    make_dataset: MakeDataset, fast_model: ResCLIPModel
) -> None:
    dataset = make_dataset(2)
    Path(dataset.last().filepath).write_bytes(b"nothing")
    with pytest.raises(ImageError, match="must be a readable image"):
        dataset.apply_model(fast_model, label_field="pred", skip_failures=False)
    dataset.apply_model(fast_model, label_field="pred")
    assert dataset.count("pred") == 1


def test_the_reader_of_images_can_be_sent_to_workers(fast_model: ResCLIPModel) -> None:
    assert pickle.loads(pickle.dumps(fast_model.build_get_item())).config == fast_model.segmenter.config


def test_settings_come_from_the_preset_and_the_keywords() -> None:
    model = load_model("resclip-tiny", "red cloth, snow", preset_name="voc21", prob_threshold=0.2, sfr=None, device="cpu")
    config = model.segmenter.config
    assert (config.window, config.prob_threshold, config.sfr, config.rcs) == (None, 0.2, None, preset("voc21").rcs)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, VocabularyError, "classes must name what to look for, but got none"),
        ({"classes": []}, VocabularyError, "at least one class"),
        ({"classes": ["a"], "preset_name": "voc"}, ConfigError, "did you mean 'voc2"),
        ({"classes": ["a"], "strategi": "naclip"}, ConfigError, "did you mean 'strategy'?"),
        ({"classes": ["a"], "prob_threshold": 3}, ConfigError, r"prob_threshold must be a number in \[0, 1\]"),
    ],
)
def test_bad_arguments_are_refused_before_weights_are_loaded(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        load_model("resclip-vit-b-16", **options)


def test_one_image_without_a_dataset(make_dataset: MakeDataset, fast_model: ResCLIPModel) -> None:
    dataset = make_dataset(1)
    dataset.apply_model(fast_model, label_field="pred")
    path, label = dataset.first().filepath, dataset.first().pred
    found = fast_model.segment(path)
    np.testing.assert_array_equal(found.mask, label.mask)
    assert round(float(found.confidence.mean()), 4) == label.confidence
    assert found.class_names == CLASSES
    np.testing.assert_array_equal(fast_model.segment(np.asarray(read_image(path))).mask, found.mask)
    probabilities = found.probabilities()
    assert probabilities.shape == (9, *found.mask.shape)
    np.testing.assert_allclose(probabilities.sum(axis=0), 1, atol=1e-5)
    np.testing.assert_array_equal(probabilities.argmax(axis=0) + 1, found.mask)
    np.testing.assert_allclose(probabilities.max(axis=0), found.confidence, atol=1e-6)
    np.testing.assert_array_equal(found.probabilities("snow", "red cloth"), probabilities[[8, 0]])
    assert re.fullmatch(r"Segmented\(96x128, mean confidence 0\.\d+, \w+.* \d+\.\d%.*\)", repr(found))
    with pytest.raises(VocabularyError, match="did you mean 'snow'"):
        found.probabilities("snwo")


def test_with_synonyms_a_class_is_as_likely_as_its_likeliest_phrase(make_dataset: MakeDataset) -> None:
    model = load_model("resclip-tiny", {"cloth": ["red cloth", "blue cloth"], "ground": "snow"}, sfr=None, device="cpu")
    found = model.segment(Path(make_dataset(1).first().filepath))
    probabilities = found.probabilities()
    assert (probabilities.sum(axis=0) < 1).any()
    np.testing.assert_allclose(probabilities.max(axis=0), found.confidence, atol=1e-6)


def test_one_image_that_can_not_be_read_is_refused(fast_model: ResCLIPModel, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="must be a readable image"):
        fast_model.segment(tmp_path / "none.png")
    with pytest.raises(ImageError, match=r"an image must be an \(H, W, 3\) uint8 .*but got an array \(4, 4\)"):
        fast_model.segment(np.zeros((4, 4), np.uint8))


@pytest.mark.parametrize(
    ("options", "mode"),
    [
        ({}, "full"),
        ({"sfr": None}, "fast"),
        ({"rcs": None}, "own"),
        ({"rcs": None, "sfr": None}, "naclip"),
        ({"rcs": None, "sfr": None, "pamr": {"steps": 10}}, "sharp"),
        ({"rcs": None, "sfr": None, "strategy": "vanilla"}, "vanilla"),
    ],
)
def test_its_repr_says_model_mode_device_and_classes(options: dict[str, Any], mode: str) -> None:
    model = load_model("resclip-tiny", [*CLASSES], device="cpu", **options)
    shown = "red cloth, orange cloth, yellow cloth, green cloth, blue cloth, …"
    assert repr(model) == f"ResCLIPModel('resclip-tiny', mode '{mode}', cpu, 9 classes: {shown})"


def test_logits_can_not_be_stored_as_with_fiftyones_own_semantic_models(
    make_dataset: MakeDataset, fast_model: ResCLIPModel
) -> None:
    dataset = make_dataset(1)
    with pytest.raises(ValueError, match="does not expose logits"):
        dataset.apply_model(fast_model, label_field="pred", store_logits=True)
    assert "pred" not in dataset.get_field_schema()
