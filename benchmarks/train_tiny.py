"""Trains the bundled tiny CLIP from image-caption pairs of :mod:`fiftyone_resclip.tiny.scenes`.

``python -m benchmarks.train_tiny`` writes weights and configuration; ``make bench`` then measures them and writes the card.
Ground-truth masks are never read here: the loss sees pictures and captions only.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from fiftyone_resclip.tiny import scenes
from fiftyone_resclip.tiny.scenes import caption, draw_scene

#: open_clip's model configuration: 12 blocks, so that blocks 6-9 exist and are not the last.
MODEL_CONFIG: dict[str, Any] = {
    "embed_dim": 64,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 96, "layers": 12, "width": 96, "head_width": 32, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}
PREPROCESS_CONFIG: dict[str, Any] = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}

_BATCH = 64
_PATCH_DROPOUT = 0.5


@dataclass(frozen=True)
class Stage:
    """One part of the training, with its own optimiser.

    Attributes:
        steps: batches of 64 pairs
        cycle_steps: length of the one-cycle schedule, of which the first ``steps`` are run
        peak_lr: highest learning rate
        cloth_shares: how often a scene has 0, 1, 2, 3 cloths
        two_grounds_share: how often the ground has two kinds
        ground_share: how often a caption names the ground
        reset_share: how often the last block gets a fresh class token
        whole_steps: number of final steps in which no patches are dropped
    """

    steps: int
    cycle_steps: int
    peak_lr: float
    cloth_shares: tuple[float, float, float, float]
    two_grounds_share: float
    ground_share: float
    reset_share: float
    whole_steps: int


#: The first stage teaches the model to name things, the second to locate them.
STAGES: tuple[Stage, ...] = (
    Stage(2000, 3600, 1e-3, (0.03, 0.40, 0.32, 0.25), two_grounds_share=0.0, ground_share=0.5, reset_share=0.0, whole_steps=0),
    Stage(900, 900, 5e-4, (0.10, 0.35, 0.30, 0.25), two_grounds_share=0.35, ground_share=0.7, reset_share=0.5, whole_steps=100),
)


class Pairs(Dataset[tuple[Tensor, list[str]]]):
    """Batch ``i`` of a stage's image-caption pairs, as a pure function of ``seed`` and ``i``."""

    def __init__(self, seed: Sequence[int], stage: Stage) -> None:
        self.seed, self.stage = tuple(seed), stage

    def __len__(self) -> int:
        return self.stage.steps

    def __getitem__(self, index: int) -> tuple[Tensor, list[str]]:
        rng, stage = np.random.default_rng([*self.seed, index]), self.stage
        counts = rng.choice(len(stage.cloth_shares), size=_BATCH, p=stage.cloth_shares)
        scenes = [draw_scene(rng, n_cloths=int(n), two_grounds_share=stage.two_grounds_share) for n in counts]
        images = np.stack([scene.image for scene in scenes])
        return torch.from_numpy(images).permute(0, 3, 1, 2), [caption(rng, scene, stage.ground_share) for scene in scenes]


def train(seed: int, stages: Sequence[Stage] = STAGES, log: Path | None = None) -> open_clip.CLIP:
    """Trains a model from scratch.

    Args:
        seed: seed of the weights, scenes, captions and templates
        stages (STAGES): the stages, in order
        log (None): a file to which one JSON line is written every 50 steps

    Returns:
        the trained ``open_clip.CLIP``, float32, in eval mode
    """
    torch.manual_seed(seed)
    model = open_clip.CLIP(**_with_patch_dropout(_PATCH_DROPOUT)).train()
    for number, stage in enumerate(stages):
        run_stage(model, stage, (seed, number), log)
    return model.eval()


def run_stage(model: open_clip.CLIP, stage: Stage, seed: Sequence[int], log: Path | None = None) -> None:
    """Trains ``model`` in place for one stage; see :func:`train`."""
    rng = np.random.default_rng([*seed, 1_000_000])
    optimiser = torch.optim.AdamW(_parameter_groups(model), lr=stage.peak_lr, betas=(0.9, 0.98), eps=1e-6)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=stage.peak_lr, total_steps=stage.cycle_steps, pct_start=0.1)
    loader: DataLoader[tuple[Tensor, list[str]]] = DataLoader(
        Pairs(seed, stage), batch_size=None, num_workers=1, prefetch_factor=4
    )
    hook = _reset_class_token(model.visual, stage.reset_share)
    started = time.monotonic()
    for step, (images, captions) in enumerate(loader, start=1):
        if step == stage.steps - stage.whole_steps + 1:
            model.visual.patch_dropout = nn.Identity()
        loss = contrastive_loss(model, images, captions, rng)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, float(np.log(100)))
        if log is not None and step % 50 == 0:
            row = {"step": step, "loss": round(loss.item(), 4), "seconds": round(time.monotonic() - started)}
            with log.open("a") as file:
                file.write(json.dumps(row) + "\n")
    hook.remove()


def contrastive_loss(model: open_clip.CLIP, images: Tensor, captions: list[str], rng: np.random.Generator) -> Tensor:
    """CLIP's symmetric loss; pairs with equal captions count as positives of each other.

    Half of the captions are put into one of OpenAI's prompt templates, as they will be when the model is used.

    Args:
        model: the model being trained
        images: ``(B, 3, H, W)`` uint8
        captions: ``B`` captions
        rng: chooses the templates

    Returns:
        the loss, a scalar
    """
    templates = open_clip.OPENAI_IMAGENET_TEMPLATES
    texts = [templates[rng.integers(len(templates))](c) if rng.random() < 0.5 else c for c in captions]
    tokens = open_clip.tokenize(texts)
    image_features = model.encode_image(normalise(images), normalize=True)
    text_features = model.encode_text(tokens, normalize=True)
    logits = model.logit_scale.exp() * image_features @ text_features.T
    target = torch.tensor([[float(a == b) for b in captions] for a in captions])
    target = target / target.sum(dim=1, keepdim=True)
    return (nn.functional.cross_entropy(logits, target) + nn.functional.cross_entropy(logits.T, target)) / 2


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


def _reset_class_token(visual: Any, share: float) -> Any:
    """In a share of the batches, gives the last block a class token that carries no image information.

    It must then gather everything from the patches' values in that block, so that these carry the words' meaning: dense
    predictions are read from them. Returns the hook's handle.
    """

    def forget(block: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        tokens = inputs[0]
        if torch.rand(()) >= share:
            return inputs
        fresh = visual.ln_pre(visual.class_embedding + visual.positional_embedding[0])
        return (torch.cat([fresh.expand(len(tokens), 1, -1), tokens[:, 1:]], dim=1), *inputs[1:])

    return visual.transformer.resblocks[-1].register_forward_pre_hook(forget)


def _with_patch_dropout(share: float) -> dict[str, Any]:
    return {**MODEL_CONFIG, "vision_cfg": {**MODEL_CONFIG["vision_cfg"], "patch_dropout": share}}


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
    options.out.mkdir(parents=True, exist_ok=True)
    save(train(options.seed, log=options.out / "train_log.jsonl"), options.out)


if __name__ == "__main__":
    main()
