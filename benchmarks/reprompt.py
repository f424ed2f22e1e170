"""Compares the time for new words on an image that was already processed with the time for the first words on it.

``python -m benchmarks.reprompt FILE`` writes the results as JSON. Each round has an image and words that no round
before had; the two times of a ratio come from the same round.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
from PIL import Image

from benchmarks.timing import seconds
from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.config import ResCLIPConfig
from fiftyone_resclip.explore.playground import Playground
from fiftyone_resclip.presets import MODES, preset
from fiftyone_resclip.published.provenance import provenance
from fiftyone_resclip.vocabulary import Vocabulary

ARCHITECTURE, SEED = "ViT-B-16-quickgelu", 0
IMAGE_HW = (480, 640)
CLASSES = 8

#: What is done after the first words in the mode ``fast``; the last two need no new text.
STEPS = ("one_word_changed", "every_word_changed", "threshold_and_mix_changed", "sfr_switched_on")


def measure(backbone: Backbone, config: ResCLIPConfig, rounds: int, image_hw: tuple[int, int]) -> dict[str, Any]:
    """Times the first words and the steps after them.

    Args:
        backbone: the frozen CLIP
        config: the settings to start from
        rounds: number of rounds
        image_hw: height and width of the image

    Returns:
        for each of :data:`STEPS` the median ratio of its time to that of the first words
    """
    found = [_round(backbone, config, number, image_hw) for number in range(rounds)]
    return {
        f"{step}_over_first": round(median(steps[index] / first for first, steps in found), 3) for index, step in enumerate(STEPS)
    }


def _round(backbone: Backbone, config: ResCLIPConfig, number: int, image_hw: tuple[int, int]) -> tuple[float, list[float]]:
    """Returns the seconds for the first words and for each step after them, on a new image with new words."""
    playground, fast, full = Playground(backbone, config), MODES["fast"].settings, MODES["full"].settings
    words = [f"thing {number} {index}" for index in range(2 * CLASSES + 1)]
    first, changed, other = words[:CLASSES], [*words[1:CLASSES], words[2 * CLASSES]], words[CLASSES : 2 * CLASSES]
    varied = {"prob_threshold": 0.3, "rcs": {"mix": 0.5}}
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, FIFTYONE_RESCLIP_CACHE=folder):
        path = str(Path(folder) / "image.png")
        noise = np.random.default_rng([SEED, number]).integers(0, 256, (*image_hw, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
        start = seconds(lambda: playground.read(path, Vocabulary.parse(first), fast))
        runs = playground.trunks.runs
        steps = [
            seconds(lambda: playground.read(path, Vocabulary.parse(changed), fast)),
            seconds(lambda: playground.read(path, Vocabulary.parse(other), fast)),
            seconds(lambda: playground.read(path, Vocabulary.parse(other), {**fast, **varied})),
            seconds(lambda: playground.read(path, Vocabulary.parse(other), {**full, **varied})),
        ]
    assert playground.trunks.runs == runs, "the trunk ran again"
    return start, steps


def main() -> None:
    """Measures with seeded random weights and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    origin = provenance()
    backbone, config = Backbone.random(ARCHITECTURE, SEED), preset("ade20k")
    _round(backbone, config, options.rounds, IMAGE_HW)  # warms up
    setting = {"architecture": ARCHITECTURE, "weights": f"random, seed {SEED}", "image_hw": IMAGE_HW, "classes": CLASSES}
    figures = {**setting, "rounds": options.rounds, **measure(backbone, config, options.rounds, IMAGE_HW)}
    options.file.write_text(json.dumps({**origin, **figures}, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
