"""Measures a GPU: speed, memory and labels in each precision, PAMR's kernel, and the compiled trunk.

``python -m benchmarks.gpu FILE`` takes a few minutes and writes the results as JSON. It needs torch, open_clip, psutil and this
package, no FiftyOne. Times are ratios to the plain forward of open_clip's image tower in the same precision; weights are random.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, get_args
from unittest.mock import patch

import torch

from benchmarks import speed
from benchmarks.cases import ARCHITECTURE, CASES
from benchmarks.timing import seconds
from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.config import Precision
from fiftyone_resclip.core import kernels
from fiftyone_resclip.core.kernels import gathered_pamr
from fiftyone_resclip.published.provenance import provenance

_CASES = [name for name, case in CASES.items() if case.mode in ("full", "fast") and not (case.phrases or case.is_textured)]


def agreement(name: str, backbone: Backbone, precision: Precision) -> float:
    """Returns the share of pixels that are labelled as in float32.

    Args:
        name: a key of :data:`benchmarks.cases.CASES`
        backbone: the weights
        precision: of the network
    """
    case = CASES[name]
    labels = [
        case.segmenter(backbone, each).segment([case.image], [case.photo_hw], mean_only=True)[0].labels
        for each in ("float32", precision)
    ]
    return round(float((labels[0] == labels[1]).float().mean()), 6)


def kernel_ratio(backbone: Backbone, rounds: int) -> float | None:
    """Times PAMR with Triton's kernel against PAMR by shifted views; ``None`` where the kernel does not run."""
    if backbone.device.type != "cuda" or not gathered_pamr.triton_works(backbone.device):
        return None
    case = CASES["voc21-like"]
    pixels = backbone.normalise(case.image[None])
    scores = torch.randn(1, len(case.vocabulary.flat_phrases), *case.image_hw, device=backbone.device)
    refine = partial(kernels.refine, scores, pixels)

    def shifted() -> None:
        with patch.object(gathered_pamr, "triton_works", return_value=False):
            refine()

    for run in (refine, shifted):
        run()
    return round(median(1 / (seconds(shifted) / seconds(refine)) for _ in range(rounds)), 3)


def compiled_ratio(name: str, backbone: Backbone, rounds: int) -> float:
    """Times a prediction with the compiled trunk against the same without; ``backbone`` stays compiled."""
    case = CASES[name]
    run = partial(case.segmenter(backbone, "bfloat16").segment, [case.image], [case.photo_hw], mean_only=True)
    run()
    plain = median(seconds(run) for _ in range(rounds))
    backbone.compile()
    run()
    return round(median(seconds(run) for _ in range(rounds)) / plain, 3)


def measure(backbone: Backbone, rounds: int, names: list[str]) -> dict[str, Any]:
    """Makes all measurements.

    Args:
        backbone: the weights, on the device to measure; its trunk is compiled at the end
        rounds: number of times everything runs
        names: keys of :data:`benchmarks.cases.CASES`

    Returns:
        plain JSON values
    """
    cases = []
    for precision in get_args(Precision):
        for name in names:
            labels = agreement(name, backbone, precision)
            row = {"precision": precision, **speed.measure(name, backbone, precision, rounds), "labels_as_in_float32": labels}
            cases.append(row)
            print(precision, name, row["ratio_to_plain"], labels, flush=True)
    return {
        "kernel_of_pamr_over_shifted_views": kernel_ratio(backbone, rounds),
        "compiled_over_plain": compiled_ratio(names[0], backbone, rounds),
        "cases": cases,
    }


def main() -> None:
    """Measures and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    figures = measure(Backbone.random(ARCHITECTURE, 0, options.device), options.rounds, _CASES)
    content = {"architecture": ARCHITECTURE, "rounds": options.rounds, **provenance(options.device), **figures}
    options.file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
