"""Measures how time and memory grow with phrases, pixels, images and batches.

``python -m benchmarks.growth FILE`` writes the results as JSON; ``--axis`` measures only some of them, and the others in the file
stay. ``--plot PICTURE`` draws what is in the file. Phrases and pixels are timed against the plain forward of the same crops, in
the same rounds; images and batches against another number of images. Weights are random, and there is one thread.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

import torch
from matplotlib import pyplot

from benchmarks.cases import ARCHITECTURE, CASES, Case
from benchmarks.memory import peak_mib, reset_peak, resident_mib
from benchmarks.speed import plain_forward
from benchmarks.stages import calls_of
from benchmarks.timing import seconds
from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.doors import own_database
from fiftyone_resclip.published.provenance import provenance

Row: TypeAlias = dict[str, Any]


def scene(axis: str, size: float, mode: str) -> Case:
    """Returns a case of which one thing is varied.

    Args:
        axis: ``phrases``, or ``megapixels`` of the mask
        size: how many
        mode: a key of :data:`fiftyone_resclip.presets.MODES`
    """
    case = replace(CASES["ade20k-like"], mode=mode)
    if axis == "phrases":
        return replace(case, photo_hw=case.image_hw, phrases=int(size))
    height = round(math.sqrt(size * 1e6 * 3 / 4))
    return replace(case, photo_hw=(height, round(height * 4 / 3)))


def against_plain(case: Case, backbone: Backbone, rounds: int) -> float:
    """Times a prediction against the plain forward of the same crops; returns the median ratio of rounds in which both run."""
    run = partial(case.segmenter(backbone, "float32").segment, [case.image], [case.photo_hw], mean_only=True)
    with calls_of(Backbone, "trunk") as calls:
        run()
    plain = plain_forward(backbone, [pixels for pixels, *_ in calls], "float32")
    plain()
    return round(median(1 / (seconds(plain) / seconds(run)) for _ in range(rounds)), 3)


def peak_memory(case: Case) -> float:
    """Measures in this process, which must be fresh, how far memory rises above the weights in a first prediction, in MiB."""
    backbone = Backbone.random(ARCHITECTURE, 0)
    segmenter, image = case.segmenter(backbone, "float32"), case.image
    backbone.trunk(torch.zeros(1, 3, backbone.patch_px, backbone.patch_px))  # libraries load on first use
    before = resident_mib()
    reset_peak()
    segmenter.segment([image], [case.photo_hw], mean_only=True)
    return round(peak_mib() - before, 1)


def by_case(axis: str, sizes: Sequence[float], rounds: int) -> list[Row]:
    """Measures predictions of the whole method and of RCS alone."""
    backbone, rows = Backbone.random(ARCHITECTURE, 0), []
    for size, mode in product(sizes, ("full", "fast")):
        command = [sys.executable, "-m", "benchmarks.growth", "--memory", axis, str(size), mode]
        memory = float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        ratio = against_plain(scene(axis, size, mode), backbone, rounds)
        rows.append({"axis": axis, "mode": mode, "size": size, "time": ratio, "memory_mib": memory})
        print(rows[-1], flush=True)
    return rows


def by_batch(sizes: Sequence[int], rounds: int) -> list[Row]:
    """Times each of several images that are passed together against one that is passed alone."""
    case = CASES["ade20k-like-fast"]
    segmenter = case.segmenter(Backbone.random(ARCHITECTURE, 0), "float32")

    def each(count: int) -> float:
        return seconds(partial(segmenter.segment, [case.image] * count, [case.photo_hw] * count, mean_only=True)) / count

    each(1)
    return [
        {"axis": "batch", "mode": "fast", "size": size, "time": round(median(each(size) / each(1) for _ in range(rounds)), 3)}
        for size in sizes
    ]


def by_image(sizes: Sequence[int]) -> list[Row]:
    """Labels datasets of small images with the tiny model; times each image against one of the first dataset but one."""
    from benchmarks.pipeline import label_run, photographs, tiny_model

    own_database.use()
    model, found = tiny_model(), {}
    with tempfile.TemporaryDirectory() as folder:
        paths = photographs(Path(folder) / "images", max(sizes), (144, 192))
        label_run(model, paths[: sizes[0]], Path(folder) / "masks")
        for size in sizes:
            run = label_run(model, paths[:size], Path(folder) / "masks")
            found[size] = run.seconds / size, run.growth_mib
    usual = found[sizes[1]][0]
    return [
        {"axis": "images", "mode": "tiny", "size": size, "time": round(each / usual, 3), "memory_mib": round(growth, 1)}
        for size, (each, growth) in found.items()
    ]


def slopes(rows: Sequence[Row]) -> dict[str, float]:
    """Returns by how much the ratio rises with each phrase or megapixel, from the smallest size to the largest."""
    found = {}
    for axis, mode in product(("phrases", "megapixels"), ("full", "fast")):
        own = [row for row in rows if (row["axis"], row["mode"]) == (axis, mode)]
        if len(own) > 1:
            first, *_, last = own
            found[f"{axis}, {mode}"] = round((last["time"] - first["time"]) / (last["size"] - first["size"]), 5)
    return found


def plot(rows: Sequence[Row], file: Path) -> None:
    """Draws time and memory over each axis.

    Args:
        rows: the measurements
        file: the picture to write
    """
    axes = [axis for axis in AXES if any(row["axis"] == axis for row in rows)]
    figure, panels = pyplot.subplots(2, len(axes), figsize=(3.2 * len(axes), 5), squeeze=False, sharex="col")
    for (line, key), (column, axis) in product(enumerate(("time", "memory_mib")), enumerate(axes)):
        panel = panels[line][column]
        for mode in dict.fromkeys(row["mode"] for row in rows if row["axis"] == axis):
            own = [row for row in rows if (row["axis"], row["mode"]) == (axis, mode) and key in row]
            panel.plot([row["size"] for row in own], [row[key] for row in own], marker="o", label=mode)
        panel.set(xscale="log", ylim=(0, None), xlabel=axis if line else "", title="" if line else TITLES[axis])
        if any(key in row for row in rows if row["axis"] == axis):
            panel.legend(frameon=False)
        else:
            panel.axis("off")
            panels[0][column].set_xlabel(axis)
            panels[0][column].tick_params(labelbottom=True)
    panels[0][0].set_ylabel("time")
    panels[1][0].set_ylabel("memory, MiB")
    figure.tight_layout()
    figure.savefig(file, dpi=110)


def main() -> None:
    """Measures and writes the results, or draws them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", help="where the JSON is")
    parser.add_argument("--axis", choices=AXES, action="append", help="only this one; may be repeated")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plot", type=Path, help="the picture to draw, without measuring")
    parser.add_argument("--memory", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.memory:
        axis, size, mode = options.memory
        print(peak_memory(scene(axis, float(size), mode)))
        return
    before = json.loads(options.file.read_text(encoding="utf-8"))["rows"] if options.file.exists() else []
    if options.plot:
        plot(before, options.plot)
        return
    for axis in options.axis or AXES:
        measured = AXES[axis](options.rounds)
        before = [*(row for row in before if row["axis"] != axis), *measured]
        content = {"architecture": ARCHITECTURE, **provenance(), "slopes": slopes(before), "rows": before}
        options.file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


#: What is varied, and the function that measures it in as many rounds.
AXES: Mapping[str, Callable[[int], list[Row]]] = {
    "phrases": partial(by_case, "phrases", (5, 20, 50, 150, 500, 2000)),
    "megapixels": partial(by_case, "megapixels", (0.1, 0.3, 1, 3, 12, 48)),
    "batch": partial(by_batch, (1, 2, 4, 8, 16)),
    "images": lambda _: by_image((10, 100, 1000, 10_000)),
}
TITLES = {
    "phrases": "over plain forward",
    "megapixels": "over plain forward, 150 phrases",
    "batch": "of an image over one alone",
    "images": "of an image over one of 100",
}

if __name__ == "__main__":
    main()
