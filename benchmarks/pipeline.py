"""Compares labelling, from image files to saved masks, with the network's work alone.

``python -m benchmarks.pipeline FILE`` generates photo-sized JPEGs, labels them and writes the results as JSON. The
bundled tiny CLIP is the hard case: the less a network does, the less there is to hide behind. ViT-B/16 has random weights.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import fiftyone as fo
import numpy as np
import torch
from PIL import Image
from tabulate import tabulate

from benchmarks.cases import ARCHITECTURE
from benchmarks.memory import resident_mib
from benchmarks.timing import seconds
from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.core.labels import LabelMap
from fiftyone_resclip.doors import own_database
from fiftyone_resclip.fields.readers import Unreadable
from fiftyone_resclip.labeling.batches import LabelingReport
from fiftyone_resclip.labeling.label import label
from fiftyone_resclip.model import ResCLIPModel, load_model, make_model
from fiftyone_resclip.presets import default_config
from fiftyone_resclip.published.provenance import provenance
from fiftyone_resclip.tiny.scenes import COLOURS_AND_GROUNDS, draw_scene
from fiftyone_resclip.vocabulary import Vocabulary

#: Height and width of the photographs: two megapixels, and what a camera takes.
PHOTOS_HW = (1200, 1600), (3000, 4000)
_DIFFERENT = 20
_BATCH = 4


def photographs(folder: Path, count: int, photo_hw: tuple[int, int] = PHOTOS_HW[0]) -> list[Path]:
    """Writes generated scenes as JPEGs.

    Args:
        folder: folder for the files
        count: number of files; after the first twenty they repeat
        photo_hw ((1200, 1600)): height and width of each

    Returns:
        the files
    """
    folder.mkdir(exist_ok=True)
    paths = [folder / f"photo-{index:04d}.jpg" for index in range(count)]
    for index, path in enumerate(paths):
        if index < _DIFFERENT:
            scene = draw_scene(np.random.default_rng(index), photo_hw, 5)
            Image.fromarray(scene.image).save(path, quality=90)
        else:
            path.write_bytes(paths[index % _DIFFERENT].read_bytes())
    return paths


def compute_seconds(model: ResCLIPModel, paths: Sequence[Path]) -> float:
    """Times the network's work alone, on images that have been read before, in the batches of :func:`labeling.label`."""
    read = model.build_get_item()
    pictures = [read({"filepath": str(path)}) for path in paths[:_DIFFERENT]]

    def compute() -> None:
        for first in range(0, len(paths), _BATCH):
            model.label_maps([pictures[index % _DIFFERENT] for index in range(first, min(first + _BATCH, len(paths)))])

    return seconds(compute)


class Run(NamedTuple):
    """A whole run of :func:`labeling.label`.

    Attributes:
        seconds: from the first image to the last mask
        busy: share of that time in which the network was working
        growth_mib: growth of the process's memory after the first quarter of the run
    """

    seconds: float
    busy: float
    growth_mib: float


class _Clocked(ResCLIPModel):
    """Adds up the time in which the network is working."""

    seconds = 0.0

    def label_maps(self, args: Sequence[Any], *, whole: bool = False) -> list[LabelMap | Unreadable]:
        label_maps: list[LabelMap | Unreadable] = []
        self.seconds += seconds(lambda: label_maps.extend(ResCLIPModel.label_maps(self, args, whole=whole)))
        return label_maps


def label_run(model: ResCLIPModel, paths: Sequence[Path], output_dir: Path | None) -> Run:
    """Times a whole run.

    Args:
        model: the model
        paths: the images
        output_dir: for masks on disk; ``None`` puts them into the database
    """
    clocked, held = _Clocked(model.segmenter), list[float]()

    def remember(report: LabelingReport) -> None:
        held.append(resident_mib())

    with dataset_of(paths) as dataset:
        wall = seconds(lambda: label(dataset, clocked, output_dir=output_dir, batch_size=_BATCH, progress=remember))
    return Run(wall, clocked.seconds / wall, held[-1] - held[len(held) // 4])


@contextmanager
def dataset_of(paths: Sequence[Path]) -> Iterator[fo.Dataset]:
    """Makes a dataset of images for as long as the block lasts."""
    dataset = fo.Dataset()
    dataset.add_samples([fo.Sample(filepath=str(path)) for path in paths], progress=False)
    try:
        yield dataset
    finally:
        dataset.delete()


def measure(model: ResCLIPModel, paths: Sequence[Path], rounds: int) -> dict[str, dict[str, float]]:
    """Measures labelling with masks on disk and in the database.

    Args:
        model: the model
        paths: the images, from :func:`photographs`
        rounds: number of runs of each; the network alone runs before and after each, since the processors' speed drifts

    Returns:
        for ``disk`` and ``database``: ``efficiency``, compute-only time over wall time; ``busy``, the share of the
        wall time in which the network was working; and the growth of memory
    """
    runs = defaultdict[str, list[tuple[float, Run]]](list)
    with tempfile.TemporaryDirectory() as folder:
        compute_seconds(model, paths[:_DIFFERENT])
        before = compute_seconds(model, paths)
        for _ in range(rounds):
            for kind, output_dir in (("disk", Path(folder)), ("database", None)):
                run, after = label_run(model, paths, output_dir), compute_seconds(model, paths)
                runs[kind].append(((before + after) / 2 / run.seconds, run))
                before = after
    return {
        kind: {
            "efficiency": round(median(efficiency for efficiency, _ in pairs), 3),
            "busy": round(median(run.busy for _, run in pairs), 3),
            "growth_mib": round(max(run.growth_mib for _, run in pairs), 1),
        }
        for kind, pairs in runs.items()
    }


def tiny_model() -> ResCLIPModel:
    """The bundled tiny CLIP on nine classes."""
    return load_model("resclip-tiny", list(COLOURS_AND_GROUNDS), device="cpu")


def large_model() -> ResCLIPModel:
    """ViT-B/16 shapes on the same classes, with the settings that users get."""
    vocabulary = Vocabulary.parse(list(COLOURS_AND_GROUNDS))
    return make_model(Backbone.random(ARCHITECTURE, 0), vocabulary, default_config(ARCHITECTURE))


def table(cases: Sequence[Mapping[str, Any]]) -> str:
    """Turns the results into the Markdown table of the README.

    Args:
        cases: from :func:`measure`, with model and threads

    Returns:
        its lines
    """
    headers = ["photographs", "network", "processors for it", "masks on disk", "masks in the database"]
    rows = [
        [_by(case["photo_hw"]), case["model"], case["network_threads"], *(_cell(case[kind]) for kind in ("disk", "database"))]
        for case in cases
    ]
    return str(tabulate(rows, headers, tablefmt="github", disable_numparse=True))


def _cell(figures: Mapping[str, float]) -> str:
    return f"{figures['efficiency']:.2f}, busy {100 * figures['busy']:.0f} %"


def _by(photo_hw: Sequence[int]) -> str:
    return "x".join(map(str, photo_hw))


def _is_same(case: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(case[key] == other[key] for key in ("photo_hw", "model", "network_threads"))


def main() -> None:
    """Measures and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--network", choices=("resclip-tiny", ARCHITECTURE), help="only this one; other cases in the file stay")
    parser.add_argument("--photo", choices=[*map(_by, PHOTOS_HW)], help="only this size; other cases in the file stay")
    options = parser.parse_args()
    own_database.use()
    origin = provenance()
    all_threads, cases = torch.get_num_threads(), []
    if (options.network or options.photo) and options.file.exists():
        cases = json.loads(options.file.read_text(encoding="utf-8"))["cases"]
    networks = (("resclip-tiny", tiny_model, 1), ("resclip-tiny", tiny_model, all_threads), (ARCHITECTURE, large_model, 1))
    for photo_hw, (name, make, threads) in product(PHOTOS_HW, networks):
        if options.network not in (None, name) or options.photo not in (None, _by(photo_hw)):
            continue
        torch.set_num_threads(threads)
        with tempfile.TemporaryDirectory() as folder:
            figures = measure(make(), photographs(Path(folder), options.images, photo_hw), options.rounds)
        about = {"images": options.images, "rounds": options.rounds, "commit": origin["commit"]}
        case = {"photo_hw": list(photo_hw), "model": name, "network_threads": threads, **figures, **about}
        print(case, flush=True)
        cases = [*(other for other in cases if not _is_same(other, case)), case]
        options.file.write_text(json.dumps({**origin, "cases": cases}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
