"""The bundled model is what its card says; measured on scenes that training has never drawn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import train_tiny as train
from benchmarks.tiny import dense, zero_shot
from fiftyone_resclip import tiny as package
from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.demo import METHODS
from fiftyone_resclip.evaluation import metrics
from fiftyone_resclip.tiny.scenes import COLOUR_CLASSES

FOLDER = Path(package.__file__).parent
BENCHMARK = FOLDER.parents[1] / "benchmarks" / "results" / "tiny.json"


def test_it_names_single_cloths(tiny: Backbone) -> None:
    assert zero_shot(tiny, n_images=240)["all"] >= 88  # the card's figure is over more images


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


def test_training_sees_pictures_and_words_only_and_is_reproducible() -> None:
    batches = train.Batches(1, 2)
    images, captions, phrases = batches[0]
    assert images.shape == (train.BATCH, 3, 96, 96)
    assert images.dtype == torch.uint8
    assert len(captions) == len(phrases) == train.BATCH
    assert torch.equal(images, batches[0].images)
    assert not torch.equal(images, batches[1].images)


def test_training_learns_and_saves_and_makes_the_same_bytes_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "BATCH", 4)
    schedule = train.Schedule(steps=2, whole_steps=1)
    model = train.train(3, schedule)
    train.save(model, tmp_path / "first")
    again = Backbone.load(str(tmp_path / "first"), device="cpu")
    assert torch.equal(again.model.visual.proj, model.visual.proj.half().float())
    train.save(train.train(3, schedule), tmp_path / "second")
    first, second = ((tmp_path / run / "model.safetensors").read_bytes() for run in ("first", "second"))
    assert first == second
