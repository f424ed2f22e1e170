"""Compares learning from examples with labelling the same images.

``python -m benchmarks.learning_cost FILE`` learns from photographs of 12 megapixels with ViT-B/16 shapes, random weights and 150
classes, and labels them, on one thread; it writes the ratio of the two as JSON, and how much memory learning holds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import torch

from benchmarks.cases import ARCHITECTURE
from benchmarks.memory import peak_mib, reset_peak, resident_mib
from benchmarks.pipeline import PHOTOS_HW, dataset_of, photographs
from benchmarks.timing import seconds
from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.doors import own_database
from fiftyone_resclip.evidence.learning import learn
from fiftyone_resclip.fields.schema import declare_field
from fiftyone_resclip.labeling.label import label
from fiftyone_resclip.model import ResCLIPModel, make_model
from fiftyone_resclip.presets import default_config
from fiftyone_resclip.published.provenance import provenance
from fiftyone_resclip.vocabulary import Vocabulary

_CLASSES = [f"class {number}" for number in range(150)]
_TILE_PX = 250


def measure(model: ResCLIPModel, paths: Sequence[Path]) -> dict[str, Any]:
    """Learns from photographs with tiles of all classes as their masks, then labels the same photographs.

    Args:
        model: the model
        paths: the photographs

    Returns:
        the number of images, seconds of learning over seconds of labelling, and the peak of memory above what was held before
    """
    with dataset_of(paths) as dataset, tempfile.TemporaryDirectory() as folder:
        targets = dict(enumerate(model.segmenter.vocabulary.class_names, start=1))
        declare_field(dataset, "truth", targets)
        tiles = np.random.default_rng(0).permuted(np.arange(192) % len(targets) + 1).astype(np.uint8).reshape(12, 16)
        truth = fo.Segmentation(mask=tiles.repeat(_TILE_PX, axis=0).repeat(_TILE_PX, axis=1))
        truth.export_mask(str(Path(folder) / "truth.png"), update=True)
        dataset.set_values("truth", [truth.copy() for _ in paths], progress=False)
        held = resident_mib()
        reset_peak()
        learning = seconds(lambda: learn(model, dataset, "truth", progress=False))
        peak = peak_mib() - held
        labelling = seconds(lambda: label(dataset, model, output_dir=Path(folder) / "masks", progress=False))
    return {"images": len(paths), "ratio": round(learning / labelling, 3), "peak_mib": round(peak, 1)}


def main() -> None:
    """Measures and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--images", type=int, nargs="+", default=[5, 20], help="numbers of images")
    options = parser.parse_args()
    own_database.use()
    torch.set_num_threads(1)
    model = make_model(Backbone.random(ARCHITECTURE, 0), Vocabulary.parse(_CLASSES), default_config(ARCHITECTURE))
    with tempfile.TemporaryDirectory() as folder:
        paths = photographs(Path(folder), max(options.images), PHOTOS_HW[1])
        measure(model, paths[:2])
        cases = [measure(model, paths[:count]) for count in options.images]
    origin = {**provenance(), "model": ARCHITECTURE, "photo_hw": list(PHOTOS_HW[1]), "classes": len(_CLASSES), "threads": 1}
    options.file.write_text(json.dumps({**origin, "cases": cases}, indent=2) + "\n", encoding="utf-8")
    print(cases)


if __name__ == "__main__":
    main()
