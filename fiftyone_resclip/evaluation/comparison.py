"""Two evaluations side by side, as data: what got better, class by class and sample by sample."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.evaluation.results import SemanticEvaluationResults
from fiftyone_resclip.fields.private import dataset_of


class Difference(NamedTuple):
    """One figure in both runs, in percent; NaN where a run does not have it.

    Attributes:
        name: of the class, or id of the sample
        before: in the first run
        after: in the second run
    """

    name: str
    before: float
    after: float

    @property
    def change(self) -> float:
        """How much better the second is, in percentage points; NaN if it can't be told."""
        return self.after - self.before


@dataclass(frozen=True)
class Comparison:
    """What changed from one run to another.

    Attributes:
        miou: of the whole collection
        pixel_accuracy: of the whole collection
        classes: IoU by class, greatest change first, classes of one run only at the end
        samples: mIoU by sample id, greatest loss first; samples of one run only at the end
        notes: what else differs between the runs, so that a change may not be the prediction's
    """

    miou: Difference
    pixel_accuracy: Difference
    classes: tuple[Difference, ...]
    samples: tuple[Difference, ...]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        rows = [self.miou, self.pixel_accuracy, *self.classes]
        width = max(len(row.name) for row in rows)
        lines = [f"{row.name:<{width}}  {row.before:6.2f} -> {row.after:6.2f}  {row.change:+6.2f}" for row in rows]
        return "\n".join([*lines, *self.notes])


def compare(before: SemanticEvaluationResults, after: SemanticEvaluationResults) -> Comparison:
    """Compares two runs.

    Args:
        before: the first run, kept under an eval key
        after: the second run, kept under an eval key

    Returns:
        the comparison

    Raises:
        DatasetError: if a run has no eval key, or they are of different datasets
    """
    if before.key is None or after.key is None:
        raise DatasetError("both runs must have been kept, so that samples can be compared; evaluate with an eval_key")
    if dataset_of(before.samples).name != dataset_of(after.samples).name:
        names = f"{dataset_of(before.samples).name!r} and {dataset_of(after.samples).name!r}"
        raise DatasetError(f"both runs must be of one dataset, but are of {names}")
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
        notes.append(f"the runs are of different samples: {before.images} and {after.images} images")
    return notes


def _differences(before: dict[str, float], after: dict[str, float]) -> list[Difference]:
    return [Difference(name, before.get(name, math.nan), after.get(name, math.nan)) for name in {**before, **after}]


def _by_sample(results: Any) -> dict[str, float]:
    ids, values = results.samples.values(["id", f"{results.key}_miou"])
    return {sample: math.nan if value is None else 100 * value for sample, value in zip(ids, values, strict=True)}
