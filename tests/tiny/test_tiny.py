"""The bundled model is what its card says; measured on scenes that training has never drawn."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import train_tiny as train
from benchmarks.tiny import dense, zero_shot
from fiftyone_resclip import tiny as package
from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.demo import METHODS
from fiftyone_resclip.evaluation import metrics
from fiftyone_resclip.tiny.scenes import COLOUR_CLASSES

SHORT = replace(train.STAGES[0], steps=1, cycle_steps=2)
FOLDER = Path(package.__file__).parent
BENCHMARK = FOLDER.parents[1] / "benchmarks" / "results" / "tiny.json"


def test_it_names_single_cloths(tiny: Backbone) -> None:
    assert zero_shot(tiny, n_images=240)["all"] >= 94  # the card's figure is over more images


def test_every_self_correlation_strategy_is_well_above_plain_clip(tiny: Backbone) -> None:
    reached = {
        name: metrics.miou(dense(tiny, METHODS[name], COLOUR_CLASSES, 24))
        for name in ("CLIP (vanilla)", "SCLIP", "ClearCLIP", "NACLIP")
    }
    plain = reached.pop("CLIP (vanilla)")
    assert min(reached.values()) > plain + 0.05, reached


def test_it_is_small_and_its_card_states_what_was_measured() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir() if path.is_file()) < 12_000_000
    card, measured = (FOLDER / "CARD.md").read_text(), json.loads(BENCHMARK.read_text())
    for figure in (
        *measured["zero_shot_accuracy"].values(),
        *measured["miou_colours"].values(),
        *measured["miou_pairs_naclip"].values(),
    ):
        assert f"{figure:.1f}" in card
    assert "nothing of photographs" in card


def test_its_configuration_is_the_one_that_training_writes(tmp_path: Path) -> None:
    assert json.loads((FOLDER / "open_clip_config.json").read_text())["model_cfg"] == train.MODEL_CONFIG


def test_training_sees_pictures_and_captions_only_and_is_reproducible() -> None:
    pairs = train.Pairs((1, 0), SHORT)
    images, captions = pairs[0]
    assert images.shape == (64, 3, 96, 96)
    assert images.dtype == torch.uint8
    assert len(captions) == 64
    assert torch.equal(images, pairs[0][0])
    assert not torch.equal(images, pairs[1][0])


@pytest.mark.parametrize("equal", [False, True])
def test_equal_captions_are_positives_of_each_other(equal: bool) -> None:
    class Perfect(torch.nn.Module):
        """Gives both sides the same features, which are far apart unless told otherwise."""

        logit_scale = torch.tensor(5.0)

        def encode_image(self, images: torch.Tensor, normalize: bool) -> torch.Tensor:
            return torch.eye(2) if not equal else torch.tensor([[1.0, 0.0], [1.0, 0.0]])

        encode_text = encode_image

    captions = ["snow", "snow"] if equal else ["snow", "gravel"]
    loss = train.contrastive_loss(Perfect(), torch.zeros(2, 3, 8, 8), captions, np.random.default_rng(0))  # type: ignore[arg-type]
    expected = torch.log(torch.tensor(2.0)) if equal else torch.tensor(0.0)
    torch.testing.assert_close(loss, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_fresh_class_token_leaves_its_picture_to_the_last_block(share: float) -> None:
    model = train.open_clip.CLIP(**train.MODEL_CONFIG).eval()
    hook = train._reset_class_token(model.visual, share)
    seen: list[torch.Tensor] = []
    model.visual.transformer.resblocks[-1].ln_1.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model.encode_image(torch.randn(2, 3, 96, 96))
    hook.remove()
    assert torch.equal(seen[0][0, 0], seen[0][1, 0]) == (share == 1.0)
    assert not torch.equal(seen[0][0, 1:], seen[0][1, 1:])


def test_one_step_of_training_learns_and_saves(tmp_path: Path) -> None:
    torch.manual_seed(0)
    stages = (SHORT, replace(SHORT, reset_share=1.0, whole_steps=1))
    model = train.train(3, stages)
    train.save(model, tmp_path)
    again = Backbone.load(str(tmp_path), device="cpu")
    assert torch.equal(again.model.visual.proj, model.visual.proj.half().float())
    assert torch.equal(train.train(3, stages).visual.proj, model.visual.proj)
