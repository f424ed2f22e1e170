"""Compares what a user of the App waits for with loading the same CLIP by open_clip alone.

``python -m benchmarks.latency FILE`` writes the ratios as JSON. Each figure comes from a fresh process that has imported
FiftyOne, as the App's server has, and that finds no remembered texts. ViT-B/16 has random weights, in a folder as open_clip
saves them.

- segment: until the first mask is saved, of four photographs of two megapixels and three classes
- words: until there is the mask of one of these photographs
- cold: the first time, so that the weights are loaded, too; warm: a second field, or one word more
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import open_clip
import torch
from safetensors.torch import save_file

from benchmarks.cases import ARCHITECTURE
from benchmarks.latency_process import KINDS
from benchmarks.pipeline import photographs
from fiftyone_resclip.published.provenance import provenance

_PHOTOGRAPHS = 4


def save_clip(folder: Path, architecture: str = ARCHITECTURE) -> None:
    """Saves a CLIP with random weights as open_clip does."""
    torch.manual_seed(0)
    config = {"model_cfg": open_clip.get_model_config(architecture), "preprocess_cfg": {}}
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(open_clip.create_model(architecture).state_dict(), folder / "open_clip_model.safetensors")


def in_fresh_process(kind: str, clip: Path, photos: Path) -> dict[str, float]:
    """Returns the seconds of one of ``KINDS``, by case."""
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-m", "benchmarks.latency_process", kind, str(clip), str(photos)]
        environment = os.environ | {"FIFTYONE_RESCLIP_CACHE": cache}
        run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    seconds: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return seconds


def ratios(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Divides each case by open_clip alone in the same round; returns medians over the rounds."""
    names = [name for name in rounds[0] if name != "open_clip"]
    return {name: round(median(each[name] / each["open_clip"] for each in rounds), 2) for name in names}


def measure(rounds: int) -> dict[str, float]:
    """Measures all kinds in turn, ``rounds`` times; returns ratios to open_clip alone."""
    measured = []
    with tempfile.TemporaryDirectory() as folder:
        clip, photos = Path(folder) / "clip", Path(folder) / "photos"
        save_clip(clip)
        photographs(photos, _PHOTOGRAPHS)
        for _ in range(rounds):
            measured.append({name: value for kind in KINDS for name, value in in_fresh_process(kind, clip, photos).items()})
            print(measured[-1], flush=True)
    return ratios(measured)


def main() -> None:
    """Measures and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    origin = {**provenance(), "model": ARCHITECTURE, "rounds": options.rounds, "threads": torch.get_num_threads()}
    over = measure(options.rounds)
    options.file.write_text(json.dumps({**origin, "over_open_clip_alone": over}, indent=2) + "\n", encoding="utf-8")
    print(over)


if __name__ == "__main__":
    main()
