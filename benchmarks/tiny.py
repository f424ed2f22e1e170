"""Evaluates the tiny CLIP on scenes it has never seen: zero-shot classification and dense mIoU.

``python -m benchmarks.tiny FILE`` writes the results as JSON, and the model's card beside its weights.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.train_tiny import BATCH, Schedule
from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.config import Precision, ResCLIPConfig
from fiftyone_resclip.demo import METHODS
from fiftyone_resclip.evaluation import metrics
from fiftyone_resclip.presets import TINY
from fiftyone_resclip.published.provenance import provenance
from fiftyone_resclip.segmenter import ResCLIP
from fiftyone_resclip.tiny import scenes
from fiftyone_resclip.tiny.scenes import (
    ALL_CLOTHS,
    COLOUR_CLASSES,
    COLOURS_AND_GROUNDS,
    NEVER_NAMED,
    PAIR_CLASSES,
    Scene,
    class_map,
    dense_scene,
    held_out_scene,
)
from fiftyone_resclip.vocabulary import Vocabulary

_TINY = Path(scenes.__file__).parent
_ZERO_SHOT_IMAGES, _DENSE_IMAGES = 960, 100


def zero_shot(backbone: Backbone, n_images: int = _ZERO_SHOT_IMAGES) -> dict[str, float]:
    """Names single cloths among all 24 colour-pattern pairs, by whole-image features.

    Args:
        backbone: the tiny model
        n_images (960): held-out 96x96 scenes

    Returns:
        accuracy in percent: ``all``, ``named`` pairs and ``never_named`` pairs
    """
    scenes = [held_out_scene(index, (96, 96), 1) for index in range(n_images)]
    text = backbone.encode_text([cloth.name for cloth in ALL_CLOTHS])
    with torch.inference_mode():
        features = torch.cat([backbone.model.encode_image(backbone.normalise(_tensor(scene)[None])) for scene in scenes])
    guesses = (features @ text.T).argmax(dim=1).tolist()
    right = np.array([ALL_CLOTHS[guess] == scene.cloths[0] for guess, scene in zip(guesses, scenes, strict=True)])
    held_back = np.array([(scene.cloths[0].pattern, scene.cloths[0].colour) in NEVER_NAMED for scene in scenes])
    groups = {"all": right, "named": right[~held_back], "never_named": right[held_back]}
    return {name: round(100 * float(group.mean()), 2) for name, group in groups.items()}


def dense(
    backbone: Backbone, config: ResCLIPConfig, class_names: Sequence[str], n_images: int = _DENSE_IMAGES
) -> metrics.Confusion:
    """Segments held-out scenes and counts the pixels.

    Args:
        backbone: the tiny model
        config: the method
        class_names: words for the classes; regions that none of them names are void
        n_images (100): held-out 144x192 scenes with 2 to 5 cloths

    Returns:
        the confusion matrix, ``(C, C + 1)``
    """
    segmenter = ResCLIP(backbone, Vocabulary.parse(list(class_names)), config)
    total = np.zeros((len(class_names), len(class_names) + 1), dtype=np.int64)
    for index in range(n_images):
        scene = dense_scene(index)
        prediction = segmenter.segment([_tensor(scene)])[0].labels.cpu().numpy()
        truth = class_map(scene, class_names).astype(np.int64) - 1
        total += metrics.confusion_matrix(truth, prediction, len(class_names))
    return total


def agreement(backbone: Backbone, precision: Precision, n_images: int = 20) -> float:
    """Compares the full method in a lower precision with float32.

    Args:
        backbone: the tiny model
        precision: of the network
        n_images (20): held-out scenes

    Returns:
        share of pixels with the same label, in percent
    """
    scenes = [_tensor(dense_scene(index)) for index in range(n_images)]
    vocabulary = Vocabulary.parse(list(COLOURS_AND_GROUNDS))
    full, half = (ResCLIP(backbone, vocabulary, replace(TINY, precision=p)).segment(scenes) for p in ("float32", precision))
    same = [float((a.labels == b.labels).float().mean()) for a, b in zip(full, half, strict=True)]
    return round(100 * float(np.mean(same)), 3)


def report(backbone: Backbone) -> dict[str, Any]:
    """Measures everything the card states, in percent."""
    pairs = metrics.iou(dense(backbone, METHODS["NACLIP"], PAIR_CLASSES))
    never = np.array([(cloth.pattern, cloth.colour) in NEVER_NAMED for cloth in ALL_CLOTHS])
    cloths = pairs[: len(ALL_CLOTHS)]
    return {
        "parameters": sum(parameter.numel() for parameter in backbone.model.parameters()),
        "zero_shot_accuracy": zero_shot(backbone),
        "miou_colours": {name: _percent(dense(backbone, config, COLOUR_CLASSES)) for name, config in METHODS.items()},
        "miou_colours_and_grounds": {
            name: _percent(dense(backbone, config, COLOURS_AND_GROUNDS)) for name, config in METHODS.items()
        },
        "miou_pairs_naclip": {"named": _mean(cloths[~never]), "never_named": _mean(cloths[never])},
        "label_agreement_with_float32": {name: agreement(backbone, name) for name in ("bfloat16", "float16")},
    }


def _percent(confusion: metrics.Confusion) -> float:
    return round(100 * metrics.miou(confusion), 2)


def _mean(values: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    return round(100 * float(np.nanmean(values)), 2)


def _tensor(scene: Scene) -> Tensor:
    return torch.from_numpy(scene.image).permute(2, 0, 1)


def card(report: Mapping[str, Any]) -> str:
    """Writes the text of the model card from :func:`report`."""
    colours, grounds, naming, pairs = (
        report[key] for key in ("miou_colours", "miou_colours_and_grounds", "zero_shot_accuracy", "miou_pairs_naclip")
    )
    template = (Path(__file__).parent / "card_template.md").read_text(encoding="utf-8")
    return template.format(
        parameters=report["parameters"] / 1e6,
        batch=BATCH,
        schedule=Schedule(),
        never=", ".join(sorted(f"{pattern} {colour}" for pattern, colour in NEVER_NAMED)),
        zero_shot_images=_ZERO_SHOT_IMAGES,
        dense_images=_DENSE_IMAGES,
        rows="\n".join(f"| {name} | {colours[name]:.1f} | {grounds[name]:.1f} |" for name in METHODS),
        pairs_named=pairs["named"],
        pairs_never=pairs["never_named"],
        **naming,
    )


def main() -> None:
    """Measures the bundled model; writes the results and the model card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    backbone = Backbone.load("resclip-tiny", device="cpu")
    figures = {**provenance(), **report(backbone)}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    (_TINY / "CARD.md").write_text(card(figures), encoding="utf-8")
    print(card(figures))


if __name__ == "__main__":
    main()
