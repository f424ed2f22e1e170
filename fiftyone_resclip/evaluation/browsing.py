"""Finds the images behind the numbers of an evaluation, worst first, and exports the numbers as text."""

from __future__ import annotations

import csv
import io
import math
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.evaluation.matching import UNLABELLED, background_of
from fiftyone_resclip.evaluation.results import SemanticEvaluationResults

Scale = Literal["pixels", "by row", "by column"]


def scaled(results: SemanticEvaluationResults, scale: Scale, diagonal: bool) -> NDArray[np.float64]:
    """Scales the confusion matrix for display.

    Args:
        results: the results of an evaluation
        scale: numbers of pixels, or shares in [0, 1] of the true class (its row) or of the predicted class (its column)
        diagonal: whether to show correct pixels; shares are computed with them in either case

    Returns:
        ``(C, C + 1)``; NaN in cells that are not shown
    """
    values = results.confusion.astype(np.float64)
    if scale != "pixels":
        whole = values.sum(axis=1 if scale == "by row" else 0, keepdims=True)
        values = np.divide(values, whole, out=np.zeros_like(values), where=whole > 0)
    if not diagonal:
        np.fill_diagonal(values, np.nan)
    return values


class Loss(NamedTuple):
    """The pixels of a class that went to another one.

    Attributes:
        name: the true class
        pixels: number of pixels
        share: their share of the pixels of the class, in [0, 1]
    """

    name: str
    pixels: int
    share: float


def taken_by_background(results: SemanticEvaluationResults) -> dict[str, list[Loss]]:
    """Finds what the background took from the classes.

    Args:
        results: the results of an evaluation

    Returns:
        the classes that lost pixels, largest share first, by what took them: the background class, if the ground truth has one,
        and ``UNLABELLED``, which includes a predicted background that the ground truth does not know
    """
    background, counts = background_of(results.class_names), results.confusion
    columns = {name: number for number, name in enumerate((*results.class_names, UNLABELLED)) if name in (background, UNLABELLED)}
    return {
        taker: sorted(
            (
                Loss(name, int(row[column]), float(row[column] / row.sum()))
                for name, row in zip(results.class_names, counts, strict=True)
                if row[column] and name != background
            ),
            key=lambda loss: -loss.share,
        )
        for taker, column in columns.items()
    }


class Confusion(NamedTuple):
    """Pixels of a class that were taken for another one.

    Attributes:
        truth: the true class
        predicted: the class that was predicted instead, or ``UNLABELLED``
        pixels: number of pixels
        share: their share of the pixels of the true class, in [0, 1]
    """

    truth: str
    predicted: str
    pixels: int
    share: float

    def __str__(self) -> str:
        return f"{self.truth} taken for {self.predicted}: {self.pixels:,} pixels, {100 * self.share:.1f} % of {self.truth}"


def top_confusions(results: SemanticEvaluationResults, most: int) -> list[Confusion]:
    """Lists the confusions with the most pixels, most first.

    Args:
        results: the results of an evaluation
        most: how many to list
    """
    counts, columns = scaled(results, "pixels", diagonal=False), (*results.class_names, UNLABELLED)
    shares = scaled(results, "by row", diagonal=False)
    order = np.argsort(-np.nan_to_num(counts), axis=None, kind="stable")[:most]
    cells = [divmod(int(cell), len(columns)) for cell in order]
    return [
        Confusion(results.class_names[row], columns[column], int(counts[row, column]), float(shares[row, column]))
        for row, column in cells
        if counts[row, column] > 0
    ]


def most_confused(results: SemanticEvaluationResults, most: int) -> list[int]:
    """Returns the positions of the classes that are missed or wrongly predicted at the most pixels, in the order of the classes.

    Args:
        results: the results of an evaluation
        most: how many classes
    """
    return sorted(np.argsort(-_wrong(results), kind="stable")[:most].tolist())


def worst_first(results: SemanticEvaluationResults) -> dict[str, float]:
    """Returns the IoU of each class that occurs, in percent: the lowest first; of equal ones, the one with more wrong pixels."""
    wrong = dict(zip(results.class_names, _wrong(results).tolist(), strict=True))
    known = {name: value for name, value in results.iou.items() if not math.isnan(value)}
    return dict(sorted(known.items(), key=lambda item: (item[1], -wrong[item[0]], item[0])))


def _wrong(results: SemanticEvaluationResults) -> NDArray[np.float64]:
    """Number of pixels at which each class was missed or wrongly predicted."""
    counts = np.nan_to_num(scaled(results, "pixels", diagonal=False))
    wrong: NDArray[np.float64] = counts.sum(axis=1) + counts[:, :-1].sum(axis=0)
    return wrong


def images_of_pair(results: SemanticEvaluationResults, truth: str, predicted: str) -> Any:
    """Returns the images that have pixels in a cell of the confusion matrix, those with the most pixels first.

    Args:
        results: the results of a stored run
        truth: a class of the ground truth
        predicted: the class that was predicted instead, or ``UNLABELLED``

    Returns:
        a FiftyOne view

    Raises:
        DatasetError: if a class is unknown, or the run was not stored
    """
    return results.samples.select([sample for sample, _ in results.images_with(truth, predicted)], ordered=True)


def images_wrong_on(results: SemanticEvaluationResults, name: str) -> Any:
    """Returns the images where a class was missed or wrongly predicted, those with the most such pixels first.

    Args:
        results: the results of a stored run
        name: a class of the ground truth

    Returns:
        a FiftyOne view

    Raises:
        DatasetError: if the class is unknown, or the run was not stored
    """
    return results.samples.select([sample for sample, _ in results.images_wrong_on(name)], ordered=True)


def worst_images(results: SemanticEvaluationResults) -> Any:
    """Returns a view of the images sorted by their own mIoU, lowest first; images without one are left out.

    Raises:
        DatasetError: if the evaluation was not stored
    """
    if results.key is None:
        raise DatasetError("only a stored evaluation knows its images; evaluate with an eval_key")
    field = f"{results.key}_miou"
    return results.samples.exists(field).sort_by(field)


def least_certain_images(results: SemanticEvaluationResults) -> Any:
    """Returns a view of the images sorted by the mean confidence of their prediction, lowest first.

    Args:
        results: the results of an evaluation

    Raises:
        DatasetError: if the predictions have no confidence
    """
    field = f"{results.config.pred_field}.confidence"
    view = results.samples.exists(field)
    if len(view) == 0:
        raise DatasetError(f"the masks in {results.config.pred_field!r} have no confidence")
    return view.sort_by(field)


def as_csv(results: SemanticEvaluationResults) -> str:
    """Formats the metrics of each class and the confusion matrix as comma-separated values."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    columns = (*results.class_names, UNLABELLED)
    writer.writerow(["class", "iou", "dice", "recall", "precision", *(f"taken for {name}" for name in columns)])
    parts = (results.iou, results.dice, results.recall, results.precision)
    for name, row in zip(results.class_names, results.confusion.tolist(), strict=True):
        figures = [part[name] for part in parts]
        writer.writerow([name, *("" if math.isnan(value) else f"{value:.2f}" for value in figures), *row])
    return out.getvalue()
