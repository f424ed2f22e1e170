"""What the tiny model is trained to do."""

from __future__ import annotations

import numpy as np
import open_clip
import pytest
import torch
from torch import Tensor

from benchmarks import tiny_objective as objective
from benchmarks.train_tiny import MODEL_CONFIG, normalise
from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.config import STRATEGIES
from fiftyone_resclip.core.attention import attend
from fiftyone_resclip.core.text import normalised_patches

#: Directions of three phrases.
TEXTS = torch.eye(3)


@pytest.fixture(scope="module")
def model() -> open_clip.CLIP:
    torch.manual_seed(0)
    return open_clip.CLIP(**MODEL_CONFIG).eval()


def test_whole_blocks_of_patches_are_kept() -> None:
    tokens = torch.arange(1 + 12 * 12).view(1, -1, 1).repeat(3, 1, 2)
    kept = objective.BlockDropout(9)(tokens)
    assert kept.shape == (3, 1 + 36, 2) and not kept[:, 0].any()
    rows, columns = (kept[:, 1:, 0] - 1).div(12, rounding_mode="floor"), (kept[:, 1:, 0] - 1) % 12
    for row, column in zip(rows, columns, strict=True):
        blocks = torch.stack([row // 2, column // 2]).unique(dim=1, return_counts=True)[1]
        assert blocks.tolist() == [4] * 9
    assert not torch.equal(kept[0], kept[1])


def loss(patches: Tensor, named: list[bool], unsure: tuple[bool, bool, bool] = (False, False, False)) -> float:
    return float(objective.phrase_loss(patches[None], TEXTS, torch.tensor([named]), torch.tensor([unsure])))


def test_the_patches_are_those_that_dense_prediction_reads(model: open_clip.CLIP) -> None:
    images = torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8)
    reader = objective.PatchReader(model)
    with torch.no_grad():
        model.encode_image(normalise(images))
        alone, attended = reader.read()
        backbone = Backbone(model, open_clip.tokenize)
        trunk = backbone.trunk(backbone.normalise(images), ())
        for found, gathered in (
            (alone, trunk.v),
            (attended, attend(trunk.q, trunk.k, trunk.v, STRATEGIES["naclip"])),
        ):
            expected = normalised_patches(backbone.finish(trunk, gathered, residual_arch=False))
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    assert not torch.allclose(alone, attended, atol=1e-2)


def test_text_is_encoded_as_the_model_does_without_the_padding(model: open_clip.CLIP) -> None:
    class Never(np.random.Generator):
        """Chooses no template."""

        def random(self) -> float:  # type: ignore[override]
            return 1.0

    texts = ["snow", "striped red cloth and blue cloth on asphalt"]
    with torch.no_grad():
        found = objective.encode_text(model, texts, Never(np.random.PCG64(0)))
        torch.testing.assert_close(found, model.encode_text(open_clip.tokenize(texts), normalize=True), atol=1e-5, rtol=0)
        assert not torch.allclose(objective.encode_text(model, texts, np.random.default_rng(0)), found, atol=1e-3)


@pytest.mark.parametrize("equal", [False, True])
def test_equal_captions_are_positives_of_each_other(equal: bool) -> None:
    features = torch.tensor([[1.0, 0.0], [1.0, 0.0]]) if equal else torch.eye(2)
    captions = ["snow", "snow"] if equal else ["snow", "gravel"]
    found = objective.contrastive_loss(features, features, captions, torch.tensor(100.0))
    torch.testing.assert_close(found, torch.tensor(2.0).log() if equal else torch.tensor(0.0), atol=1e-4, rtol=0)


def test_each_patch_must_look_like_one_of_the_phrases_and_each_phrase_must_be_found() -> None:
    right = TEXTS[[0, 0, 0, 1]]
    assert loss(right, [True, True, False]) == pytest.approx(0, abs=1e-3)
    assert loss(TEXTS[[0, 0, 0, 2]], [True, True, False]) > 1  # a patch like a phrase that does not name the picture
    assert loss(TEXTS[[0, 0, 0, 0]], [True, True, False]) > 1  # a phrase that no patch looks like


def test_a_phrase_that_may_be_true_does_not_compete() -> None:
    patches = TEXTS[[0, 0, 2, 0]]
    assert loss(patches, [True, False, False]) > 1
    assert loss(patches, [True, False, False], (False, False, True)) < 1


def test_phrases_that_say_more_or_less_may_be_true() -> None:
    names, named, unsure = objective.questions([["striped red cloth", "snow"], ["red cloth"], ["blue cloth", "gravel"]])
    assert names == ["blue cloth", "gravel", "red cloth", "snow", "striped red cloth"]
    assert named.int().tolist() == [[0, 0, 0, 1, 1], [0, 0, 1, 0, 0], [1, 1, 0, 0, 0]]
    assert unsure.int().tolist() == [[0, 0, 1, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]]
