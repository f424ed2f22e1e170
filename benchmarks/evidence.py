"""Measures what each kind of evidence does for the masks of the tiny model, on scenes that nobody trained or tuned with.

``python -m benchmarks.evidence FILE`` writes the results as JSON. The masks are made by ``resclip.learn`` and ``resclip.label``
and judged by ``resclip.evaluate``, as users do it. The numbers say nothing about photographs.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
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
from benchmarks.evidence_scenes import REGIONS, TRUTHS, make_dataset
from benchmarks.rival_estimators import ClosedForm
from fiftyone_resclip.clip.trunk_cache import CachedBackbone
from fiftyone_resclip.core.teaching import Teacher
from fiftyone_resclip.core.windows import Box
from fiftyone_resclip.doors import own_database
from fiftyone_resclip.evaluation.results import SemanticEvaluationResults
from fiftyone_resclip.model import ResCLIPModel
from fiftyone_resclip.published.provenance import provenance
from fiftyone_resclip.segmenter import ResCLIP
from fiftyone_resclip.tiny.scenes import COLOUR_CLASSES, COLOURS_AND_GROUNDS

#: Numbers of the first scenes. The model's card, the demo and the tuning of defaults used lower ones; training draws others.
FIRST_EXAMPLE, FIRST_TEST = 20_000, 30_000
EXAMPLES = (1, 2, 4, 8, 16)
#: The number of examples, and the regions, when all evidence comes together.
TOGETHER = (8, "small_pieces")
BOUNDARY = 0.02

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
        self._taught: dict[tuple[int, int, type[Teacher]], list[ResCLIPModel]] = {}

    def judged(self, model: ResCLIPModel, regions: str | None, present: str | None) -> SemanticEvaluationResults:
        """Labels the test scenes and evaluates them; the trunk runs once for all models."""
        method = model.segmenter
        cached = ResCLIP(self._backbone, method.vocabulary, method.config, method.text_features, method.taught)
        labeller = ResCLIPModel(cached)
        resclip.label(self.test, labeller, "pred", overwrite=True, regions=regions, present=present, progress=False)
        has_background = "background" in TRUTHS[self.truth]  # it counts against the cloths, not in the mean
        return resclip.evaluate(
            self.test, "pred", self.truth, include_background=not has_background, boundary=BOUNDARY, progress=False
        )

    def taught(self, count: int, draws: int, estimator: type[Teacher] = Teacher) -> list[ResCLIPModel]:
        """Returns a model for each draw of ``count`` examples. Larger draws contain the smaller ones."""
        key = count, draws, estimator
        if key not in self._taught:
            ids = np.array(self.pool.values("id"))
            orders = [np.random.default_rng([_SEED, draw]).permutation(ids) for draw in range(draws)]
            with patch("fiftyone_resclip.evidence.learning.Teacher", estimator):
                self._taught[key] = [
                    resclip.learn(self._learner, self.pool.select(order[:count].tolist()), self.truth, progress=False)
                    for order in orders
                ]
        return self._taught[key]

    def case(
        self,
        evidence: str,
        models: Sequence[ResCLIPModel] | None = None,
        *,
        regions: str | None = None,
        present: str | None = None,
    ) -> dict[str, Any]:
        """Measures a row of the table, in percent.

        Args:
            evidence: what the row is called
            models (None): one for each draw of examples; by default the one that knows the words alone
            regions (None): field of regions
            present (None): field of the classes in an image

        Returns:
            plain JSON values
        """
        results = [self.judged(model, regions, present) for model in models or [self.model]]
        mious, borders = ([getattr(result, name) for result in results] for name in ("miou", "boundary_miou"))
        figures = {"miou": mean(mious), "lowest": min(mious), "highest": max(mious), "boundary_iou": mean(borders)}
        rounded = {name: round(value, 2) for name, value in figures.items()}
        print(f"{self.name}: {evidence}: {rounded}", flush=True)
        return {"classes": self.name, "evidence": evidence, "draws": len(results), **rounded}


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
    for number in counts:
        yield trial.case(f"for comparison: closed form, {_images(number)}", trial.taught(number, draws, ClosedForm))


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
    """Turns the results into the Markdown table of ``docs/EVIDENCE.md``.

    Args:
        cases: rows of :meth:`Trial.case`

    Returns:
        its lines
    """
    headers = ["classes", "evidence", "mIoU", "lowest to highest of the draws", "boundary IoU"]
    rows = [
        [case["classes"], case["evidence"], f"{case['miou']:.1f}", _spread(case), f"{case['boundary_iou']:.1f}"] for case in cases
    ]
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
        rows = [*cases_of_complete_classes(trial(_COMPLETE, "truth", COLOURS_AND_GROUNDS), draws, counts)]
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
