"""Measures what each kind of evidence does for the masks of the tiny model, on scenes that nobody trained or tuned with.

``python -m benchmarks.evidence FILE`` writes the results as JSON. The masks are made by ``resclip.learn`` and ``resclip.label``
and judged by ``resclip.evaluate``, as users do it. The numbers say nothing about photographs.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any
from unittest.mock import patch

import fiftyone as fo
import numpy as np
import torch
from tabulate import tabulate
from torch import Tensor

import fiftyone_resclip as resclip
from benchmarks.evidence_scenes import PARTIAL_TRUTHS, REGIONS, TRUTHS, make_dataset
from benchmarks.rival_estimators import ClosedForm, HeadPerImage, MeansOfAnImage, Support
from fiftyone_resclip.clip.trunk_cache import CachedBackbone
from fiftyone_resclip.core.teaching import Teacher
from fiftyone_resclip.core.windows import Box
from fiftyone_resclip.doors import own_database
from fiftyone_resclip.evaluation.results import SemanticEvaluationResults
from fiftyone_resclip.model import ResCLIPModel
from fiftyone_resclip.presets import MODES
from fiftyone_resclip.published.provenance import provenance
from fiftyone_resclip.segmenter import ResCLIP
from fiftyone_resclip.tiny.scenes import COLOUR_CLASSES, COLOURS_AND_GROUNDS

#: Numbers of the first scenes. The model's card, the demo and the tuning of defaults used lower ones; training draws others.
FIRST_EXAMPLE, FIRST_TEST = 20_000, 30_000
EXAMPLES = (1, 2, 4, 8, 16)
#: The number of examples, and the regions, when all evidence comes together.
TOGETHER = (8, "small_pieces")
BOUNDARY = 0.02

#: Of the draws, how many the head for each image gets: it is trained for seconds where others take milliseconds.
HEAD_DRAWS = 3

_SEED = 0
_CLOTHS = "six colours, the rest is background"
_COMPLETE = "six colours and three grounds"


class RememberedPatches(ResCLIP):
    """The method, which computes the patches of each image once, although many draws learn from it."""

    def __init__(self, method: ResCLIP) -> None:
        self.__dict__.update(vars(method))
        self._known: dict[bytes, list[tuple[Box, Tensor]]] = {}

    def features(self, image: Tensor) -> list[tuple[Box, Tensor]]:
        """Returns the patches; see :meth:`ResCLIP.features`."""
        key = image.numpy().tobytes()
        if key not in self._known:
            self._known[key] = super().features(image)
        return self._known[key]


@dataclass
class Trial:
    """A model, scenes to learn from and scenes to be judged by.

    Attributes:
        name: of its classes
        model: knows the words alone
        pool: examples and unlabelled images
        test: other images
        truth: field of the ground truth
    """

    name: str
    model: ResCLIPModel
    pool: fo.Dataset
    test: fo.Dataset
    truth: str

    def __post_init__(self) -> None:
        self._learner = ResCLIPModel(RememberedPatches(self.model.segmenter))
        self._backbone = CachedBackbone(self.model.segmenter.backbone, budget_mib=1024)
        self._taught: dict[tuple[Any, ...], ResCLIPModel] = {}

    def judged(self, model: ResCLIPModel, regions: str | None, present: str | None, fast: bool) -> SemanticEvaluationResults:
        """Labels the test scenes and evaluates them; the trunk runs once for all models."""
        cached = copy(model.segmenter)
        cached.backbone = self._backbone
        if fast:
            cached.config = cached.config.varied(MODES["fast"].settings)
        resclip.label(self.test, ResCLIPModel(cached), "pred", overwrite=True, regions=regions, present=present, progress=False)
        has_background = "background" in TRUTHS[self.truth]  # it counts against the cloths, not in the mean
        return resclip.evaluate(
            self.test, "pred", self.truth, include_background=not has_background, boundary=BOUNDARY, progress=False
        )

    def taught(self, count: int, draws: int, estimator: type[Teacher] = Teacher, *, partly: bool = False) -> list[ResCLIPModel]:
        """Returns a model for each draw of ``count`` examples. Larger draws contain the smaller ones.

        Args:
            count: number of examples
            draws: number of draws
            estimator (Teacher): what learns from them
            partly (False): whether the examples show only some of the classes, in turn
        """
        return [self._taught_by(self._drawn(draw)[:count], self._field(draw, partly), estimator) for draw in range(draws)]

    def heads(self, count: int, draws: int, *, partly: bool = False) -> list[ResCLIPModel]:
        """Returns what :meth:`taught` does, but each image is labelled by a head of its own."""
        return [ResCLIPModel(HeadPerImage(self.model.segmenter, self._support(count, draw, partly))) for draw in range(draws)]

    def _support(self, count: int, draw: int, partly: bool) -> Support:
        field = self._field(draw, partly)
        means = [self._taught_by([example], field, MeansOfAnImage, 0).taught for example in self._drawn(draw)[:count]]
        return Support.of([taught.correction for taught in means if taught is not None])

    def _drawn(self, draw: int) -> list[str]:
        ids = np.array(self.pool.values("id"))
        return [str(each) for each in np.random.default_rng([_SEED, draw]).permutation(ids)]

    def _field(self, draw: int, partly: bool) -> str:
        return [*PARTIAL_TRUTHS][draw % len(PARTIAL_TRUTHS)] if partly else self.truth

    def _taught_by(self, examples: Sequence[str], field: str, estimator: type[Teacher], unlabelled: int = 200) -> ResCLIPModel:
        key = (*examples, field, estimator)
        if key not in self._taught:
            chosen = self.pool.select(list(examples))
            with patch("fiftyone_resclip.evidence.learning.Teacher", estimator):
                self._taught[key] = resclip.learn(self._learner, chosen, field, unlabelled=unlabelled, progress=False)
        return self._taught[key]

    def case(
        self,
        evidence: str,
        models: Sequence[ResCLIPModel] | None = None,
        *,
        regions: str | None = None,
        present: str | None = None,
        fast: bool = False,
        **facts: Any,
    ) -> dict[str, Any]:
        """Measures a row of the table, in percent.

        Args:
            evidence: what the row is called
            models (None): one for each draw of examples; by default the one that knows the words alone
            regions (None): field of regions
            present (None): field of the classes in an image
            fast (False): whether to use RCS alone, not the whole method
            **facts: what else the row says

        Returns:
            plain JSON values
        """
        results = [self.judged(model, regions, present, fast) for model in models or [self.model]]
        mious, borders = ([getattr(result, name) for result in results] for name in ("miou", "boundary_miou"))
        figures = {"miou": mean(mious), "lowest": min(mious), "highest": max(mious), "boundary_iou": mean(borders)}
        rounded = {name: round(value, 2) for name, value in figures.items()}
        print(f"{self.name}: {evidence}: {rounded}", flush=True)
        return {"classes": self.name, "evidence": evidence, "draws": len(results), **rounded, **facts}


def cases_of_complete_classes(trial: Trial, draws: int, counts: Sequence[int] = EXAMPLES) -> Iterator[dict[str, Any]]:
    """Measures each kind of evidence where the classes cover the whole picture, alone and together."""
    count, regions = TOGETHER
    taught = f"words + {_images(count)}"
    yield trial.case("words alone")
    for number in counts:
        yield trial.case(f"words + {_images(number)}", trial.taught(number, draws))
    for field in REGIONS:
        yield trial.case(f"words + regions ({_spoken(field)})", regions=field)
    for field in REGIONS:
        yield trial.case(f"{taught} + regions ({_spoken(field)})", trial.taught(count, draws), regions=field)
    yield trial.case("words + presence", present="names")
    yield trial.case(f"{taught} + presence", trial.taught(count, draws), present="names")
    yield trial.case(
        f"{taught} + presence + regions ({_spoken(regions)})", trial.taught(count, draws), regions=regions, present="names"
    )


def cases_of_estimators(trial: Trial, draws: int, counts: Sequence[int] = EXAMPLES) -> Iterator[dict[str, Any]]:
    """Compares our estimator with those of others, where the examples show all classes and where they show only six of nine.

    All of them learn from the same examples and unlabelled images, and label with RCS alone, which takes less time.
    """
    learners: Mapping[str, Callable[[int, bool], list[ResCLIPModel]]] = {
        "ours": lambda count, partly: trial.taught(count, draws, partly=partly),
        "closed form": lambda count, partly: trial.taught(count, draws, ClosedForm, partly=partly),
        "head for each image": lambda count, partly: trial.heads(count, min(draws, HEAD_DRAWS), partly=partly),
    }
    yield trial.case("words alone, RCS only", fast=True, estimator="none: words alone", examples=0, partly=False)
    for partly in (False, True):
        for estimator, learn in learners.items():
            for count in counts:
                evidence = f"{estimator}, {_images(count)} of {'six of nine' if partly else 'all'} classes"
                facts: dict[str, Any] = {"estimator": estimator, "examples": count, "partly": partly}
                yield trial.case(evidence, learn(count, partly), fast=True, **facts)


def cases_of_background(trial: Trial, without: Trial, draws: int) -> Iterator[dict[str, Any]]:
    """Measures evidence where the classes are only the cloths.

    Args:
        trial: its model has ``background="auto"``
        without: the same classes and no background
        draws: number of draws of examples
    """
    (count, regions), words = TOGETHER, "words + background"
    taught = f"{words} + {_images(count)}"
    yield without.case("words alone")
    yield trial.case(words)
    yield trial.case(taught, trial.taught(count, draws))
    yield trial.case(f"{words} + presence", present="names")
    yield trial.case(f"{words} + regions ({_spoken(regions)})", regions=regions)
    yield trial.case(
        f"{taught} + presence + regions ({_spoken(regions)})", trial.taught(count, draws), regions=regions, present="names"
    )


def _images(count: int) -> str:
    return f"{count} example{'s' * (count > 1)}"


def _spoken(field: str) -> str:
    return field.replace("_", " ")


def table(cases: Sequence[Mapping[str, Any]]) -> str:
    """Turns the results into the Markdown tables of ``docs/EVIDENCE.md``: one of kinds of evidence, and one of estimators.

    Args:
        cases: rows of :meth:`Trial.case`

    Returns:
        their lines
    """
    headers = ["classes", "evidence", "mIoU", "lowest to highest of the draws", "boundary IoU"]
    rows = [
        [case["classes"], case["evidence"], f"{case['miou']:.1f}", _spread(case), f"{case['boundary_iou']:.1f}"]
        for case in cases
        if "estimator" not in case
    ]
    return f"{_github(rows, headers)}\n\n{_table_of_estimators([case for case in cases if 'estimator' in case])}"


def _table_of_estimators(cases: Sequence[Mapping[str, Any]]) -> str:
    words, learned = cases[0], cases[1:]
    counts = sorted({case["examples"] for case in learned})
    cells = {(case["partly"], case["estimator"], case["examples"]): _cell(case) for case in learned}
    rows = [
        ["six of nine" if partly else "all", estimator, draws, *(cells[partly, estimator, count] for count in counts)]
        for partly, estimator, draws in dict.fromkeys((case["partly"], case["estimator"], case["draws"]) for case in learned)
    ]
    without = ["", words["estimator"], "", *[f"{words['miou']:.1f}"] * len(counts)]
    return _github([without, *rows], ["classes in the examples", "estimator", "draws", *map(_images, counts)])


def _cell(case: Mapping[str, Any]) -> str:
    return f"{case['miou']:.1f} ({case['lowest']:.1f} to {case['highest']:.1f})"


def _github(rows: Sequence[Sequence[object]], headers: Sequence[str]) -> str:
    return str(tabulate(rows, headers, tablefmt="github", disable_numparse=True))


def _spread(case: Mapping[str, Any]) -> str:
    return f"{case['lowest']:.1f} to {case['highest']:.1f}" if case["draws"] > 1 else ""


def measure(folder: Path, pool: int, test: int, draws: int, counts: Sequence[int] = EXAMPLES) -> list[dict[str, Any]]:
    """Measures everything.

    Args:
        folder: where the scenes go
        pool: number of scenes to learn from
        test: number of scenes to judge by
        draws: number of draws of examples
        counts (EXAMPLES): numbers of examples

    Returns:
        the rows of the table
    """
    scenes = make_dataset(folder, FIRST_EXAMPLE, pool), make_dataset(folder, FIRST_TEST, test)

    def trial(name: str, truth: str, classes: Sequence[str], background: str | None = None) -> Trial:
        model = resclip.load_model("resclip-tiny", classes, background=background, device="cpu")
        return Trial(name, model, *scenes, truth)

    try:
        complete = trial(_COMPLETE, "truth", COLOURS_AND_GROUNDS)
        rows = [*cases_of_complete_classes(complete, draws, counts), *cases_of_estimators(complete, draws, counts)]
        with_background, without = (trial(_CLOTHS, "cloths", COLOUR_CLASSES, words) for words in ("auto", None))
        return [*rows, *cases_of_background(with_background, without, draws)]
    finally:
        for dataset in scenes:
            dataset.delete()


def main() -> None:
    """Measures and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--pool", type=int, default=200)
    parser.add_argument("--test", type=int, default=40)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--examples", type=int, nargs="+", default=EXAMPLES)
    options = parser.parse_args()
    torch.set_num_threads(1)
    origin = provenance()
    own_database.use()
    with tempfile.TemporaryDirectory() as folder:
        cases = measure(Path(folder), options.pool, options.test, options.draws, options.examples)
    about = {"model": "resclip-tiny", "pool": options.pool, "test": options.test, "boundary": BOUNDARY}
    options.file.write_text(json.dumps({**origin, **about, "cases": cases}, indent=2) + "\n", encoding="utf-8")
    print(table(cases))


if __name__ == "__main__":
    main()
