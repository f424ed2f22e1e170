"""Embeddings of whole images and prompts: open_clip's own numbers, in FiftyOne's own functions."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import fiftyone.brain as fob
import fiftyone.core.models as fom
import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize

from fiftyone_resclip.errors import ImageError
from fiftyone_resclip.fields.images import read_image
from fiftyone_resclip.model import ResCLIPModel
from tests.conftest import CLASSES

MakeDataset = Callable[..., fo.Dataset]
TINY_FOLDER = Path(__file__).parents[1] / "fiftyone_resclip" / "tiny"


def of_open_clip(paths: list[str]) -> np.ndarray:
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{TINY_FOLDER}")
    with torch.inference_mode():
        return normalize(model.eval().encode_image(torch.stack([preprocess(read_image(path)) for path in paths])), dim=-1).numpy()


def test_fiftyone_knows_what_the_model_can_do(fast_model: ResCLIPModel) -> None:
    assert isinstance(fast_model, fom.EmbeddingsMixin)
    assert isinstance(fast_model, fom.PromptMixin)
    assert fast_model.has_embeddings and fast_model.can_embed_prompts and not fast_model.has_logits


@pytest.mark.parametrize("batch_size", [None, 3])
def test_embeddings_are_those_of_open_clip(make_dataset: MakeDataset, fast_model: ResCLIPModel, batch_size: int | None) -> None:
    dataset = make_dataset(4)
    found = dataset.compute_embeddings(fast_model, batch_size=batch_size)
    np.testing.assert_allclose(found, of_open_clip(dataset.values("filepath")), atol=1e-5)
    dataset.compute_embeddings(fast_model, embeddings_field="embedding", num_workers=2, batch_size=batch_size)
    np.testing.assert_allclose(np.stack(dataset.values("embedding")), found, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_arrays_patches_and_files_get_the_same_embedding(make_dataset: MakeDataset, fast_model: ResCLIPModel) -> None:
    dataset = make_dataset(2)
    dataset.set_values("whole", [fo.Detections(detections=[fo.Detection(bounding_box=[0, 0, 1, 1])])] * 2)
    expected = dataset.compute_embeddings(fast_model)
    arrays = [np.asarray(read_image(path)) for path in dataset.values("filepath")]
    np.testing.assert_allclose(fast_model.embed_all(arrays), expected, atol=1e-6)
    np.testing.assert_array_equal(fast_model.get_embeddings(), fast_model.embed_all(arrays))
    np.testing.assert_allclose(fast_model.embed(arrays[0]), expected[0], atol=1e-6)
    patches = dataset.compute_patch_embeddings(fast_model, "whole")
    np.testing.assert_allclose([patches[sample][0] for sample in dataset.values("id")], expected, atol=1e-6)


def test_prompts_are_one_sentence_each_as_in_fiftyones_own_model(fast_model: ResCLIPModel) -> None:
    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{TINY_FOLDER}")
    tokens = open_clip.get_tokenizer(f"local-dir:{TINY_FOLDER}")([f"A photo of {name}" for name in ("red cloth", "snow")])
    with torch.inference_mode():
        expected = normalize(model.eval().encode_text(tokens), dim=-1).numpy()
    np.testing.assert_allclose(fast_model.embed_prompts(("red cloth", "snow")), expected, atol=1e-5)
    np.testing.assert_allclose(fast_model.embed_prompt("snow"), expected[1], atol=1e-5)


def test_the_classes_and_the_method_play_no_part(make_dataset: MakeDataset, fast_model: ResCLIPModel) -> None:
    from fiftyone_resclip.model import load_model

    dataset = make_dataset(1)
    other = load_model("resclip-tiny", ["a house"], preset_name="voc21", device="cpu")
    np.testing.assert_array_equal(dataset.compute_embeddings(other), dataset.compute_embeddings(fast_model))
    assert dataset.compute_embeddings(other).shape == (1, 64)
    assert other.build_get_item().config.window is None  # afterwards, images are read for masks again
    assert other.predict(other.build_get_item()({"filepath": dataset.first().filepath})).mask.shape == (96, 128)


def test_a_broken_file_costs_its_own_embedding_only(
    make_dataset: MakeDataset, fast_model: ResCLIPModel, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = make_dataset(4)
    broken = Path(dataset.skip(1).first().filepath)
    broken.write_bytes(b"nothing")
    fast_model.failures.clear()
    with caplog.at_level(logging.WARNING, logger="fiftyone_resclip"):
        dataset.compute_embeddings(fast_model, embeddings_field="embedding", batch_size=4)
    assert [value is not None for value in dataset.values("embedding")] == [True, False, True, True]
    assert list(fast_model.failures) == [str(broken)]
    assert str(broken) in caplog.text
    in_memory = dataset.compute_embeddings(fast_model)
    assert [value is not None for value in in_memory] == [True, False, True, True]
    with pytest.raises(ImageError, match="must be a readable image"):
        dataset.compute_embeddings(fast_model, embeddings_field="embedding", skip_failures=False)


def test_thin_images_are_refused_and_photographs_are_turned(fast_model: ResCLIPModel, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.radial_gradient("L").resize((128, 64)).convert("RGB").save(tmp_path / "turned.jpg", exif=exif)
    Image.new("RGB", (5000, 1)).save(tmp_path / "thin.png")
    dataset = fo.Dataset()
    dataset.add_samples([fo.Sample(str(tmp_path / name)) for name in ("turned.jpg", "thin.png")])
    turned, thin = dataset.compute_embeddings(fast_model)
    np.testing.assert_allclose(turned, of_open_clip([str(tmp_path / "turned.jpg")])[0], atol=1e-5)
    assert thin is None
    dataset.delete()


def test_search_by_words_and_visualization(make_dataset: MakeDataset, fast_model: ResCLIPModel) -> None:
    dataset = make_dataset(24)
    index = fob.compute_similarity(dataset, model=fast_model, brain_key="by_words", backend="sklearn")
    for word in ("red cloth", "snow"):
        value = CLASSES.index(word) + 1
        has_it = [value in sample.ground_truth.get_mask() for sample in dataset.sort_by_similarity(word, brain_key="by_words")]
        expected = sum(has_it)
        assert sum(has_it[:expected]) >= 0.7 * expected > 2
    assert index.total_index_size == 24
    points = fob.compute_visualization(dataset, model=fast_model, method="pca", brain_key="points").points
    assert points.shape == (24, 2)
    assert np.isfinite(points).all()
