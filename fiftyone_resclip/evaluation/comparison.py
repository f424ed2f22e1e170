"""Compares two evaluations: what got better or worse, class by class and sample by sample."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from tabulate import tabulate

from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.evaluation.results import SemanticEvaluationResults
from fiftyone_resclip.fields.private import dataset_of


class Difference(NamedTuple):
    """One metric in both runs, in percent; NaN where a run does not have it.

    Attributes:
        name: name of the class or metric, or id of the sample
        before: value in the first run
        after: value in the second run
    """

    name: str
    before: float
    after: float

    @property
    def change(self) -> float:
        """Second value minus the first, in percentage points; NaN if either is missing."""
        return self.after - self.before


@dataclass(frozen=True)
class Comparison:
    """What changed from one run to another.

    Attributes:
        miou: of the whole collection
        pixel_accuracy: of the whole collection
        classes: IoU by class, greatest change first; classes that only one run has are at the end
        samples: mIoU by sample id, greatest loss first; samples that only one run has are at the end
        notes: other differences between the runs, which may also explain a change
    """

    miou: Difference
    pixel_accuracy: Difference
    classes: tuple[Difference, ...]
    samples: tuple[Difference, ...]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        rows = [
            (row.name, f"{row.before:.2f}", "->", f"{row.after:.2f}", f"{row.change:+.2f}")
            for row in (self.miou, self.pixel_accuracy, *self.classes)
        ]
        table = tabulate(rows, tablefmt="plain", colalign=("left", *["right"] * 4), disable_numparse=True)
        return "\n".join([table, *self.notes])


def compare(before: SemanticEvaluationResults, after: SemanticEvaluationResults) -> Comparison:
    """Compares two runs.

    Args:
        before: the first run, stored under an eval key
        after: the second run, stored under an eval key

    Returns:
        the comparison

    Raises:
        DatasetError: if a run has no eval key, or the runs are from different datasets
    """
    if before.key is None or after.key is None:
        raise DatasetError("both runs must be stored to compare their samples; evaluate with an eval_key")
    if dataset_of(before.samples).name != dataset_of(after.samples).name:
        names = f"{dataset_of(before.samples).name!r} and {dataset_of(after.samples).name!r}"
        raise DatasetError(f"both runs must be from the same dataset, but are from {names}")
    classes = _differences(before.iou, after.iou)
    samples = _differences(_by_sample(before), _by_sample(after))
    return Comparison(
        Difference("mIoU", before.miou, after.miou),
        Difference("pixel accuracy", before.pixel_accuracy, after.pixel_accuracy),
        tuple(sorted(classes, key=lambda row: (math.isnan(row.change), -abs(row.change)))),
        tuple(sorted(samples, key=lambda row: (math.isnan(row.change), row.change))),
        tuple(_other_differences(before, after)),
    )


def _other_differences(before: SemanticEvaluationResults, after: SemanticEvaluationResults) -> list[str]:
    notes = [
        f"the runs differ in {name}: {getattr(before.config, name)} and {getattr(after.config, name)}"
        for name in ("gt_field", "ignore_index", "mapping", "include_background")
        if getattr(before.config, name) != getattr(after.config, name)
    ]
    if set(before.samples.values("id")) != set(after.samples.values("id")):
        notes.append(f"the runs cover different samples: {before.images} and {after.images} images")
    return notes


def _differences(before: dict[str, float], after: dict[str, float]) -> list[Difference]:
    return [Difference(name, before.get(name, math.nan), after.get(name, math.nan)) for name in {**before, **after}]


def _by_sample(results: Any) -> dict[str, float]:
    ids, values = results.samples.values(["id", f"{results.key}_miou"])
    percent = 100 / results.details.get("whole_miou", 1)
    return {sample: math.nan if value is None else percent * value for sample, value in zip(ids, values, strict=True)}
