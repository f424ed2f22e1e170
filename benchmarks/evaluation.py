"""Measures how much faster our evaluation is than FiftyOne's, including loading the masks, side by side in one run.

``python -m benchmarks.evaluation FILE`` writes the results as JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
from PIL import Image

from benchmarks.memory import resident_mib
from benchmarks.timing import seconds
from fiftyone_resclip.doors import own_database
from fiftyone_resclip.evaluation.evaluate import evaluate
from fiftyone_resclip.evaluation.method import WORKERS
from fiftyone_resclip.published.provenance import provenance

_SIZE, _CLASSES = (683, 512), 150
_TARGETS = {value: f"class {value}" for value in range(_CLASSES)}  # consecutive values from 0, which scikit-learn counts fastest
_FIELDS = ("prediction", "truth")


def draw_pair(index: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Draws a ground truth of patches and a prediction that is wrong in some of them, ``(512, 683)`` uint8."""
    rng = np.random.default_rng(index)
    coarse = rng.integers(0, _CLASSES, (12, 16), dtype=np.uint8)
    other = np.where(rng.random(coarse.shape) < 0.4, rng.integers(0, _CLASSES, coarse.shape, dtype=np.uint8), coarse)
    truth, prediction = (np.asarray(Image.fromarray(m).resize(_SIZE, Image.Resampling.NEAREST)) for m in (coarse, other))
    return truth, np.roll(prediction, 5, axis=1)


def make_dataset(folder: Path, n_images: int, on_disk: bool) -> fo.Dataset:
    """Makes a dataset of generated masks, in files or in the database."""
    dataset = fo.Dataset()
    samples = []
    for index in range(n_images):
        labels = {}
        for field, mask in zip(("truth", "prediction"), draw_pair(index), strict=True):
            path = folder / f"{field}-{index}.png"
            if on_disk:
                Image.fromarray(mask).save(path)
            labels[field] = fo.Segmentation(mask_path=str(path)) if on_disk else fo.Segmentation(mask=mask)
        samples.append(fo.Sample(str(folder / f"{index}.jpg"), **labels))
    dataset.add_samples(samples, progress=False)
    dataset.mask_targets = dict.fromkeys(_FIELDS, _TARGETS)
    return dataset


def ratio(dataset: fo.Dataset, repeats: int, targets: dict[int, str] | None = _TARGETS) -> float:
    """Times both evaluations in turn.

    Args:
        dataset: from :func:`make_dataset`
        repeats: number of rounds
        targets: mask targets for FiftyOne's ``simple``; without them, as by default, it first searches the masks for values

    Returns:
        the median of the ratios, ``simple`` over ours
    """

    def simple() -> None:
        dataset.evaluate_segmentations(*_FIELDS, mask_targets=targets, method="simple", progress=False)

    def ours() -> None:
        evaluate(dataset, *_FIELDS, progress=False)

    return statistics.median(seconds(simple) / seconds(ours) for _ in range(repeats))


def memory_growth_mib(folder: Path, n_images: int) -> float:
    """Evaluates a dataset of many images and returns how much memory grew between the first tenth and the end."""
    dataset = make_dataset(folder, n_images, on_disk=True)
    seen: list[float] = []

    def progress(bar: Any) -> None:
        seen.append(resident_mib())

    try:
        evaluate(dataset, *_FIELDS, progress=progress)
    finally:
        dataset.delete()
    return seen[-1] - seen[len(seen) // 10]


def main() -> None:
    """Measures and writes the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    own_database.use()
    origin, cases = provenance(), []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for case, on_disk in (("masks on disk", True), ("masks in the database", False)):
            dataset = make_dataset(folder, options.images, on_disk)
            told, by_default = (round(ratio(dataset, options.repeats, targets), 1) for targets in (_TARGETS, None))
            cases.append({"case": case, "ratio_to_simple": told, "ratio_to_simple_without_targets": by_default})
            dataset.delete()
            print(f"{case}: {told} times as fast as FiftyOne's simple, {by_default} times if that is not told the values")
        growth = memory_growth_mib(folder, 10 * options.images) if sys.platform == "linux" else None
    figures = {
        **origin,
        "fiftyone": fo.__version__,
        "image_hw": _SIZE[::-1],
        "classes": _CLASSES,
        "images": options.images,
        "workers": WORKERS,
        "cases": cases,
        "memory_growth_mib": None if growth is None else round(growth, 1),
        "memory_images": 10 * options.images,
    }
    options.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
