"""Trains the bundled tiny CLIP from image-caption pairs of :mod:`fiftyone_resclip.tiny.scenes`.

``python -m benchmarks.train_tiny`` writes weights and configuration; ``make bench`` then measures them and writes the card.
Ground-truth masks are never read here: the losses of :mod:`benchmarks.tiny_objective` see pictures and words only. It runs in one
thread, so that the same machine always makes the same weights, byte for byte.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import open_clip
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.tiny_objective import BlockDropout, PatchReader, contrastive_loss, encode_text, phrase_loss, questions
from fiftyone_resclip.tiny import scenes
from fiftyone_resclip.tiny.scenes import Naming, caption, draw_scene, phrases

#: open_clip's model configuration: 12 blocks, so that blocks 6-9 exist and are not the last.
MODEL_CONFIG: dict[str, Any] = {
    "embed_dim": 64,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 96, "layers": 12, "width": 96, "head_width": 32, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}
PREPROCESS_CONFIG: dict[str, Any] = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}

#: Pictures in a batch.
BATCH = 32
_CLOTH_SHARES = (0.10, 0.35, 0.30, 0.25)  # how often a scene has 0, 1, 2, 3 cloths
_NAMING_SHARES = (0.25, 0.15, 0.6)  # how often the phrases of a batch name cloths by colour, by pattern, by both


@dataclass(frozen=True)
class Schedule:
    """How long and how fast the model learns.

    Attributes:
        steps: batches of pictures
        peak_lr: highest learning rate of the one-cycle schedule
        kept_blocks: number of blocks of 2 x 2 patches of each picture that the model sees
        whole_steps: number of final steps in which it sees whole pictures
    """

    steps: int = 2400
    peak_lr: float = 1e-3
    kept_blocks: int = 9
    whole_steps: int = 80


class Batch(NamedTuple):
    """Pictures in two kinds of words.

    Attributes:
        images: ``(B, 3, H, W)`` uint8
        captions: ``B`` captions, which leave out some of what is there
        phrases: for each picture, phrases that name everything in it
    """

    images: Tensor
    captions: list[str]
    phrases: list[tuple[str, ...]]


class Batches(Dataset[Batch]):
    """Batch ``i`` of the training, as a pure function of ``seed`` and ``i``."""

    def __init__(self, seed: int, count: int) -> None:
        self.seed, self.count = seed, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Batch:
        rng = np.random.default_rng([self.seed, index])
        counts = rng.choice(len(_CLOTH_SHARES), size=BATCH, p=_CLOTH_SHARES)
        drawn = [draw_scene(rng, n_cloths=int(count)) for count in counts]
        naming = get_args(Naming)[rng.choice(len(_NAMING_SHARES), p=_NAMING_SHARES)]
        images = torch.from_numpy(np.stack([scene.image for scene in drawn])).permute(0, 3, 1, 2)
        return Batch(images, [caption(rng, scene) for scene in drawn], [phrases(scene, naming) for scene in drawn])


def train(seed: int, schedule: Schedule = Schedule(), log: Path | None = None) -> open_clip.CLIP:
    """Trains a model from scratch.

    Args:
        seed: seed of the weights, scenes, captions, templates and dropped patches
        schedule (Schedule()): how long and how fast
        log (None): a file to which one JSON line is written every 50 steps

    Returns:
        the trained ``open_clip.CLIP``, float32, in eval mode
    """
    torch.manual_seed(seed)
    model = open_clip.CLIP(**MODEL_CONFIG).train()
    model.visual.patch_dropout = BlockDropout(schedule.kept_blocks)
    reader, rng = PatchReader(model), np.random.default_rng([seed, 1_000_000])
    optimiser = torch.optim.AdamW(_parameter_groups(model), lr=schedule.peak_lr, betas=(0.9, 0.98), eps=1e-6)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimiser, schedule.peak_lr, total_steps=schedule.steps, pct_start=0.1)
    batches: DataLoader[Batch] = DataLoader(Batches(seed, schedule.steps), batch_size=None, num_workers=1, prefetch_factor=4)
    started = time.monotonic()
    for step, batch in enumerate(batches, start=1):
        if step == schedule.steps - schedule.whole_steps + 1:
            model.visual.patch_dropout = nn.Identity()
        loss = total_loss(model, reader, batch, rng)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        rates.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, float(np.log(100)))
        if log is not None and step % 50 == 0:
            row = {"step": step, "loss": round(loss.item(), 4), "seconds": round(time.monotonic() - started)}
            with log.open("a") as file:
                file.write(json.dumps(row) + "\n")
    return model.eval()


def total_loss(model: open_clip.CLIP, reader: PatchReader, batch: Batch, rng: np.random.Generator) -> Tensor:
    """Adds up what the captions say of whole pictures and what the phrases say of patches.

    Args:
        model: the model being trained
        reader: of the model's patch features
        batch: pictures and words
        rng: chooses the prompt templates

    Returns:
        the loss, a scalar
    """
    images = model.encode_image(normalise(batch.images), normalize=True)
    names, named, unsure = questions(batch.phrases)
    texts = encode_text(model, [*batch.captions, *names], rng)
    captions, words = texts[: len(images)], texts[len(images) :]
    whole = contrastive_loss(images, captions, batch.captions, model.logit_scale.exp())
    return whole + sum(phrase_loss(patches, words, named, unsure) for patches in reader.read())


def normalise(images: Tensor) -> Tensor:
    """Turns ``(B, 3, H, W)`` uint8 into CLIP's normalised float32."""
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD))
    return (images.float() / 255 - mean) / std


def save(model: open_clip.CLIP, folder: Path) -> None:
    """Writes ``model.safetensors`` (float16) and ``open_clip_config.json`` into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.half().contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, str(folder / "model.safetensors"))
    config = {"model_cfg": MODEL_CONFIG, "preprocess_cfg": PREPROCESS_CONFIG}
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")


def _parameter_groups(model: nn.Module) -> list[dict[str, Any]]:
    """Weight decay for matrices only, as CLIP does."""
    named = list(model.named_parameters())
    return [
        {"params": [p for _, p in named if p.ndim < 2], "weight_decay": 0.0},
        {"params": [p for _, p in named if p.ndim >= 2], "weight_decay": 0.1},
    ]


def main() -> None:
    """Trains and saves: the command behind the bundled model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(scenes.__file__).parent)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    save(train(options.seed, log=options.out / "train_log.jsonl"), options.out)


if __name__ == "__main__":
    main()
