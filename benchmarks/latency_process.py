"""What :mod:`benchmarks.latency` runs in a fresh process.

``python -m benchmarks.latency_process KIND CLIP PHOTOS`` prints seconds. At its start only FiftyOne is imported, as in the App's
server; torch and open_clip are not.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import fiftyone as fo

from fiftyone_resclip.app import models
from fiftyone_resclip.doors import own_database
from fiftyone_resclip.vocabulary import Vocabulary

_WORDS, _MORE = ("cloth", "stone", "grass"), "wood"


def clip_alone(clip: str, photos: Sequence[str]) -> Iterator[tuple[str, Callable[[], object]]]:
    """Imports open_clip and loads the weights."""

    def load() -> None:
        import open_clip

        open_clip.create_model(f"local-dir:{clip}")

    yield "open_clip", load


def segment(clip: str, photos: Sequence[str]) -> Iterator[tuple[str, Callable[[], object]]]:
    """Fills a field, and then another."""
    dataset = fo.Dataset()
    dataset.add_samples([fo.Sample(path) for path in photos], progress=False)

    def fill(field: str) -> None:
        from fiftyone_resclip.labeling.label import iter_label

        model = models.in_turn(lambda: models.model(clip, {}, Vocabulary.parse(_WORDS)))
        if not any(report.labelled for report in models.by_turns(iter_label(dataset, model, field))):
            raise RuntimeError("no masks were saved")

    yield "segment, cold", lambda: fill("cold")
    yield "segment, warm", lambda: fill("warm")


def words(clip: str, photos: Sequence[str]) -> Iterator[tuple[str, Callable[[], object]]]:
    """Makes the mask of the first words, and then of one word more."""

    def read(classes: Sequence[str]) -> None:
        models.in_turn(lambda: models.playground(clip).read(photos[0], Vocabulary.parse(classes)))

    yield "words, cold", lambda: read(_WORDS)
    yield "words, warm", lambda: read((*_WORDS, _MORE))


KINDS = {"open_clip": clip_alone, "segment": segment, "words": words}


def timed(steps: Iterator[tuple[str, Callable[[], object]]]) -> dict[str, float]:
    """Runs named steps one after the other, and returns the seconds of each."""
    seconds = {}
    for name, step in steps:
        began = time.perf_counter()
        step()
        seconds[name] = time.perf_counter() - began
    return seconds


if __name__ == "__main__":
    kind, clip, folder = sys.argv[1:]
    own_database.use()
    print(json.dumps(timed(KINDS[kind](clip, sorted(map(str, Path(folder).iterdir()))))))
