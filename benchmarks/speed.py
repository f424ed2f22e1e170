"""Compares the method with a plain forward pass of open_clip's image tower over the same crops, in the same batches.

``python -m benchmarks.speed FILE`` writes the results as JSON and prints them as a table. With ``--case`` only some cases are
measured; the others in the file stay. It needs torch, open_clip, psutil and this package, no FiftyOne;
``--device cuda --precision bfloat16`` measures a GPU.
"""

from __future__ import annotations

import argparse
import copy
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, get_args

import torch
from tabulate import tabulate
from torch import Tensor, nn

from benchmarks.cases import ARCHITECTURE, CASES
from benchmarks.memory import peak_mib, reset_peak, resident_mib
from benchmarks.stages import calls_of, stage_clock
from benchmarks.timing import seconds
from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.config import Precision
from fiftyone_resclip.published.provenance import provenance

_PHRASES = 4
#: The number of images that :func:`fiftyone_resclip.label` passes to a GPU at once.
_GPU_IMAGES = 16


def plain_forward(backbone: Backbone, batches: Sequence[Tensor], precision: Precision) -> Callable[[], None]:
    """Prepares the reference: open_clip's image tower over batches of crops.

    Args:
        backbone: the backbone with the tower; a position table for the crops' grid, made beforehand, replaces its own
        batches: normalised crops, ``(B, 3, H, W)``, each batch of one size
        precision: of the network

    Returns:
        a function that runs it once
    """
    towers = [_tower_for(backbone, pixels) for pixels in batches]

    def run() -> None:
        half = torch.autocast(backbone.device.type, getattr(torch, precision), enabled=precision != "float32")
        with torch.inference_mode(), half:
            for tower, pixels in zip(towers, batches, strict=True):
                tower(pixels)

    return run


def _tower_for(backbone: Backbone, pixels: Tensor) -> Any:
    tower: Any = copy.copy(backbone.model.visual)
    patches = (pixels.shape[2] // backbone.patch_px) * (pixels.shape[3] // backbone.patch_px)
    positions = torch.zeros(1 + patches, tower.positional_embedding.shape[1], device=pixels.device)
    tower._parameters = {**tower._parameters, "positional_embedding": nn.Parameter(positions, requires_grad=False)}
    return tower


def measure(name: str, backbone: Backbone, precision: Precision, rounds: int) -> dict[str, Any]:
    """Measures the speed of one case.

    Args:
        name: a key of :data:`CASES`
        backbone: the weights
        precision: of the network, for both sides
        rounds: number of times both run, in turn

    Returns:
        plain JSON values; ``stage_shares`` are of the method's own time, ``mask_hw`` is the size of the result. Words are encoded
        once for all images, so the time to encode a phrase in its 80 templates is listed separately
    """
    case = CASES[name]
    segmenter, image = case.segmenter(backbone, precision), case.image
    ours = partial(segmenter.segment, [image], [case.photo_hw], mean_only=True)  # what a mask needs
    ours()  # on a GPU, the first run finds out how large batches may be
    with calls_of(Backbone, "trunk") as calls:
        ours()
    batches = [pixels for pixels, *_ in calls]
    plain = plain_forward(backbone, batches, precision)
    plain()
    pairs = [(seconds(plain), seconds(ours)) for _ in range(rounds)]
    with stage_clock() as stages:
        total = sum(seconds(ours) for _ in range(rounds))
    phrases = segmenter.vocabulary.flat_phrases[:_PHRASES]
    text = seconds(partial(backbone.encode_text, phrases)) / len(phrases)
    shares = {stage: round(spent / total, 4) for stage, spent in stages.items()}
    figures = {
        "case": name,
        "image_hw": list(case.image_hw),
        "mask_hw": list(case.photo_hw),
        "classes": len(segmenter.vocabulary.class_names),
        "phrases": len(segmenter.text_features),
        "batches": [list(pixels.shape) for pixels in batches],
        "ratio_to_plain": round(median(own / other for other, own in pairs), 3),
        "text_of_a_phrase_to_plain": round(text / median(other for other, _ in pairs), 3),
        "stage_shares": shares | {"rest": round(1 - sum(shares.values()), 4)},
    }
    if backbone.device.type == "cuda":  # on a CPU that others also use, only ratios are meaningful
        figures["peak_memory_mib"] = _gpu_peak_mib(ours)
        many = partial(segmenter.segment, [image] * _GPU_IMAGES, [case.photo_hw] * _GPU_IMAGES, mean_only=True)
        many()
        figures["images_at_once"] = _GPU_IMAGES
        figures["images_per_second"] = round(_GPU_IMAGES / median(seconds(many) for _ in range(rounds)), 2)
    return figures


def _gpu_peak_mib(work: Callable[[], Any]) -> float:
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    work()
    return round((torch.cuda.max_memory_allocated() - before) / 2**20, 1)


def peak_memory(name: str, plain_shapes: Sequence[Sequence[int]] = ()) -> float:
    """Measures in this process, which must be fresh, how far memory rises above the weights in a first prediction.

    Args:
        name: a key of :data:`CASES`
        plain_shapes (()): if given, the plain forward of batches of these shapes is measured instead

    Returns:
        MiB
    """
    case = CASES[name]
    backbone = Backbone.random(ARCHITECTURE, seed=0)
    segmenter, image = case.segmenter(backbone, "float32"), case.image
    # libraries load on first use; their memory is not the method's
    backbone.trunk(torch.zeros(1, 3, backbone.patch_px, backbone.patch_px))
    before = resident_mib()
    reset_peak()
    if plain_shapes:
        plain_forward(backbone, [torch.zeros(*shape) for shape in plain_shapes], "float32")()
    else:
        segmenter.segment([image], [case.photo_hw], mean_only=True)
    return peak_mib() - before


def _in_fresh_process(name: str, plain_shapes: Sequence[Sequence[int]] = ()) -> float:
    command = [sys.executable, "-m", "benchmarks.speed", "--peak-memory", name, "--plain", json.dumps(plain_shapes)]
    return round(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout), 1)


def table(cases: Sequence[Mapping[str, Any]]) -> str:
    """Turns the results into the Markdown table of the README.

    Args:
        cases: from :func:`measure`, with memory

    Returns:
        its lines
    """
    headers = ["case", "image", "crops", "phrases", "time / plain forward", "trunk", "PAMR", "rest", "memory above weights"]
    return str(tabulate([_row(case) for case in cases], headers, tablefmt="github", disable_numparse=True))


def _row(case: Mapping[str, Any]) -> list[str]:
    trunk, pamr = case["stage_shares"]["trunk"], case["stage_shares"].get("PAMR", 0.0)
    return [
        case["case"],
        "x".join(map(str, case["image_hw"])),
        str(sum(shape[0] for shape in case["batches"])),
        str(case["phrases"]),
        f"{case['ratio_to_plain']:.2f}",
        *(f"{100 * share:.0f} %" for share in (trunk, pamr, 1 - trunk - pamr)),
        f"{case['peak_memory_mib']:.0f} MiB" if "peak_memory_mib" in case else "",
    ]


def _measured_before(file: Path) -> dict[str, dict[str, Any]]:
    """Returns the cases in a results file by name."""
    if not file.exists():
        return {}
    return {figures["case"]: figures for figures in json.loads(file.read_text(encoding="utf-8"))["cases"]}


def main() -> None:
    """Measures and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", help="where the JSON goes")
    parser.add_argument("--case", choices=CASES, action="append", help="only this one; may be repeated")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32", choices=get_args(Precision))
    parser.add_argument("--peak-memory", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--plain", type=json.loads, default=(), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    origin = provenance(options.device)
    if options.peak_memory:
        print(peak_memory(options.peak_memory, options.plain))
        return
    backbone = Backbone.random(ARCHITECTURE, 0, options.device)
    about = {"architecture": ARCHITECTURE, "precision": options.precision, **origin}
    measured = _measured_before(options.file) if options.file and options.case else {}
    for name in options.case or CASES:
        figures = measure(name, backbone, options.precision, options.rounds)
        if options.device == "cpu":
            figures["peak_memory_mib"] = _in_fresh_process(name)
            figures["plain_peak_memory_mib"] = _in_fresh_process(name, figures["batches"])
        measured[name] = {**figures, "rounds": options.rounds, "commit": origin["commit"], "versions": origin["versions"]}
        print(table([figures]).splitlines()[-1], flush=True)
        if options.file:
            content = {**about, "cases": [measured[case] for case in CASES if case in measured]}
            options.file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
