"""Compares labelling with and without the list of classes that is written beside each mask.

``python -m benchmarks.summary FILE`` labels generated JPEGs of two megapixels both ways in turn, and writes the ratios as JSON.
The processors' time counts all threads of the process; the time on the clock also has the database's work in it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch

from benchmarks.pipeline import PHOTOS_HW, dataset_of, large_model, photographs, tiny_model
from fiftyone_resclip.doors import own_database
from fiftyone_resclip.labeling.label import label
from fiftyone_resclip.model import ResCLIPModel
from fiftyone_resclip.published.provenance import provenance


class Cost(NamedTuple):
    """What labelling took, in seconds."""

    clock: float
    processors: float


def cost(model: ResCLIPModel, paths: Sequence[Path], output_dir: Path | None, *, summary: bool) -> Cost:
    """Labels photographs in a new dataset.

    Args:
        model: the model
        paths: the photographs
        output_dir: folder for the masks; ``None`` for the database
        summary: whether to write the list of classes, too
    """
    with dataset_of(paths) as dataset:
        began = time.perf_counter(), time.process_time()
        label(dataset, model, output_dir=output_dir, summary=summary, progress=False)
        return Cost(time.perf_counter() - began[0], time.process_time() - began[1])


def measure(model: ResCLIPModel, paths: Sequence[Path], rounds: int) -> dict[str, dict[str, float]]:
    """Measures both ways in turn, and in turn which comes first, since the processors' speed drifts.

    Args:
        model: the model
        paths: the photographs
        rounds: number of pairs

    Returns:
        for masks on ``disk`` and in the ``database`` the medians of the ratios with / without, on the ``clock`` and of the
        ``processors``
    """
    result = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind, output_dir in (("disk", Path(folder)), ("database", None)):
            cost(model, paths[:2], output_dir, summary=True)
            pairs = []
            for number in range(rounds):
                ways = (True, False) if number % 2 else (False, True)
                costs = {way: cost(model, paths, output_dir, summary=way) for way in ways}
                pairs.append((costs[True].clock / costs[False].clock, costs[True].processors / costs[False].processors))
            clock, processors = (round(median(values), 3) for values in zip(*pairs, strict=True))
            result[kind] = {"clock": clock, "processors": processors}
    return result


def main() -> None:
    """Measures and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large", action="store_true", help="also with ViT-B/16 shapes, which takes long on a CPU")
    options = parser.parse_args()
    own_database.use()
    torch.set_num_threads(1)
    origin, cases = provenance(), []
    with tempfile.TemporaryDirectory() as folder:
        paths = photographs(Path(folder), options.images)
        for model in (tiny_model(), *([large_model()] if options.large else [])):
            case = {"model": model.segmenter.backbone.name, **measure(model, paths, options.rounds)}
            print(case, flush=True)
            cases.append(case)
    about = {"images": options.images, "photo_hw": list(PHOTOS_HW[0]), "rounds": options.rounds, "network_threads": 1}
    options.file.write_text(json.dumps({**origin, **about, "cases": cases}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
