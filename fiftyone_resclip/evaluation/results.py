"""Results of an evaluation: metrics in percent from one confusion matrix, and the images behind them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from fiftyone.utils.eval.segmentation import SegmentationResults
from numpy.typing import NDArray
from tabulate import tabulate

from fiftyone_resclip.errors import DatasetError, unknown
from fiftyone_resclip.evaluation import metrics, storing
from fiftyone_resclip.evaluation.boundaries import BoundaryCounts
from fiftyone_resclip.evaluation.counting import Total
from fiftyone_resclip.evaluation.matching import UNLABELLED
from fiftyone_resclip.evaluation.run_fields import known_fields
from fiftyone_resclip.fields.private import is_frame_field, root_dataset_of

if TYPE_CHECKING:
    from fiftyone_resclip.evaluation import browsing

#: Metrics stored on each sample; see :func:`per_image`.
FIELDS = ("accuracy", "precision", "recall", "miou", "worst_class", "unlabelled", "dice")

#: The field of a sample's mIoU is in percent, like every other mIoU. Runs that don't note this have shares in [0, 1].
WHOLE_MIOU = 100

_NOTES_SHOWN = 20


class SemanticEvaluationResults(SegmentationResults):  # type: ignore[misc]  # FiftyOne has no type information
    """Results of :func:`fiftyone_resclip.evaluate`. Metrics are in percent.

    FiftyOne's own methods work too (``report``, ``plot_confusion_matrix``, ``use_subset`` ...). For them, ``classes`` ends with
    :data:`UNLABELLED`, and ``pixel_confusion_matrix`` has a row and a column for it.

    Args:
        *args: arguments of FiftyOne's ``SegmentationResults``
        details (None): plain values that describe what was counted and what was not
        **kwargs: arguments of FiftyOne's ``SegmentationResults``
    """

    def __init__(self, *args: Any, details: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.details = details or {}

    @classmethod
    def of(cls, samples: Any, config: Any, eval_key: str | None, total: Total, backend: Any) -> SemanticEvaluationResults:
        """Creates results from a finished count."""
        match = total.match
        square = np.vstack([total.confusion, np.zeros_like(total.confusion[:1])])
        unmatched = dict.fromkeys((name for name, partner in match.partners.items() if partner is None), 0)
        details = {
            "images": total.images,
            "whole_miou": WHOLE_MIOU,
            "void": total.void,
            "scored": match.scored(config.include_background),
            "unmatched": {**unmatched, **total.unmatched},
            "unnamed": {str(value): pixels for value, pixels in sorted(total.unnamed.items())},
            "never_predicted": list(match.never_predicted),
            "without_prediction": total.without_prediction,
            "without_truth": total.without_truth,
            "resized": total.resized,
            "boundary": None if total.boundary is None else [part.tolist() for part in total.boundary],
        }
        results = cls(
            samples, config, eval_key, square, [*match.class_names, UNLABELLED],
            matches=total.pairs if total.keep_pairs else None, missing=UNLABELLED, backend=backend, details=details,
        )  # fmt: skip
        results.custom_metrics = {"resclip/miou": _panel_metric("mIoU", results.miou)}
        return results

    @classmethod
    def _from_dict(cls, d: dict[str, Any], samples: Any, config: Any, eval_key: str, **kwargs: Any) -> SemanticEvaluationResults:
        storing.finish(root_dataset_of(samples), eval_key, known_fields(samples, config.gt_field, eval_key))
        results: SemanticEvaluationResults = super()._from_dict(d, samples, config, eval_key, details=d["details"], **kwargs)
        return results

    @property
    def class_names(self) -> tuple[str, ...]:
        """Classes of the ground truth."""
        return tuple(str(name) for name in self.classes[:-1])

    @property
    def confusion(self) -> metrics.Confusion:
        """Pixels by true (row) and predicted class (column), ``(C, C + 1)``; the last column is unlabelled."""
        square: metrics.Confusion = self.pixel_confusion_matrix
        return square[:-1]

    @property
    def miou(self) -> float:
        """Mean IoU over the classes that occur."""
        return self._mean(metrics.iou(self.confusion))

    @property
    def mean_accuracy(self) -> float:
        """Mean recall over the classes of the ground truth (mAcc)."""
        return self._mean(metrics.recall(self.confusion))

    @property
    def mean_dice(self) -> float:
        """Mean Dice coefficient over the classes that occur."""
        return self._mean(metrics.dice(self.confusion))

    @property
    def pixel_accuracy(self) -> float:
        """Share of correct pixels (aAcc)."""
        return 100 * metrics.pixel_accuracy(self.confusion)

    @property
    def frequency_weighted_iou(self) -> float:
        """Mean IoU, weighted by the ground-truth pixels of each class."""
        return 100 * metrics.frequency_weighted_iou(self.confusion, self.details["scored"])

    @property
    def boundary_miou(self) -> float:
        """Mean of :attr:`boundary_iou` over the classes that occur; NaN if it was not requested."""
        return self._mean(self._boundary.iou) if self._boundary else math.nan

    @property
    def iou(self) -> dict[str, float]:
        """IoU by class name; NaN for a class that does not occur."""
        return self._by_class(metrics.iou(self.confusion))

    @property
    def dice(self) -> dict[str, float]:
        """Dice coefficient by class name; NaN for a class that does not occur."""
        return self._by_class(metrics.dice(self.confusion))

    @property
    def recall(self) -> dict[str, float]:
        """Share of the ground-truth pixels that are correct, by class name; NaN for a class without any."""
        return self._by_class(metrics.recall(self.confusion))

    @property
    def precision(self) -> dict[str, float]:
        """Share of the predicted pixels that are correct, by class name; NaN for a class without any."""
        return self._by_class(metrics.precision(self.confusion))

    @property
    def boundary_iou(self) -> dict[str, float]:
        """IoU within the band along borders, by class name; empty if it was not requested."""
        return self._by_class(self._boundary.iou) if self._boundary else {}

    @property
    def interior_accuracy(self) -> float:
        """Share of correct pixels away from the ground truth's borders; NaN if boundary IoU was not requested."""
        return 100 * metrics.pixel_accuracy(self.confusion - self._boundary.confusion) if self._boundary else math.nan

    @property
    def border_accuracy(self) -> float:
        """Share of correct pixels near the ground truth's borders; NaN if boundary IoU was not requested."""
        return 100 * metrics.pixel_accuracy(self._boundary.confusion) if self._boundary else math.nan

    @property
    def images(self) -> int:
        """Number of images (or frames) counted."""
        return int(self.details["images"])

    @property
    def unmatched(self) -> dict[str, int]:
        """Pixels by predicted class that has no match in the ground truth; they count as unlabelled."""
        return dict(self.details["unmatched"])

    @property
    def never_predicted(self) -> tuple[str, ...]:
        """Ground-truth classes that no predicted class matches; all their pixels are misses."""
        return tuple(self.details["never_predicted"])

    @property
    def unnamed(self) -> dict[int, int]:
        """Pixels by ground-truth value that has no name; they were left out as void."""
        return {int(value): pixels for value, pixels in self.details["unnamed"].items()}

    @property
    def without_prediction(self) -> dict[str, str]:
        """Images whose prediction is missing or unreadable, each with the reason; all their pixels count as unlabelled."""
        return dict(self.details["without_prediction"])

    @property
    def without_truth(self) -> dict[str, str]:
        """Images whose ground truth is missing or unreadable, each with the reason; they are not counted."""
        return dict(self.details["without_truth"])

    @property
    def resized(self) -> dict[str, str]:
        """Images whose prediction was resized to the ground truth's size, each with both sizes."""
        return dict(self.details["resized"])

    def top_confusions(self, most: int = 10) -> list[browsing.Confusion]:
        """Lists the confusions with the most pixels, of classes that are taken for others; ``print(*..., sep="\\n")`` shows them.

        Args:
            most (10): how many at most
        """
        from fiftyone_resclip.evaluation import browsing

        return browsing.top_confusions(self, most)

    def worst_images(self) -> Any:
        """Returns a view of the images, those with the lowest mIoU of their own first.

        Raises:
            DatasetError: if the evaluation was run without an eval key
        """
        from fiftyone_resclip.evaluation import browsing

        return browsing.worst_images(self)

    def images_with(self, truth: str, predicted: str) -> list[tuple[str, int]]:
        """Finds the images that have pixels in a cell of the confusion matrix.

        Args:
            truth: a class of the ground truth
            predicted: the class that was predicted instead, or :data:`UNLABELLED`

        Returns:
            sample ids and numbers of pixels, largest number first; for videos, summed over frames

        Raises:
            DatasetError: if a class is unknown, or the evaluation was run without an eval key
        """
        self._check_known(truth, predicted)
        return self._images((self.ytrue == truth) & (self.ypred == predicted))

    def images_wrong_on(self, name: str) -> list[tuple[str, int]]:
        """Finds the images where a class was missed or wrongly predicted.

        Args:
            name: a class of the ground truth

        Returns:
            sample ids and numbers of pixels, largest number first

        Raises:
            DatasetError: if the class is unknown, or the evaluation was run without an eval key
        """
        self._check_known(name)
        return self._images(((self.ytrue == name) | (self.ypred == name)) & (self.ytrue != self.ypred))

    def _check_known(self, *names: str) -> None:
        for name in names:
            if name not in self.classes:
                raise DatasetError(unknown("class", name, map(str, self.classes)))
        if self.ytrue_ids is None:
            raise DatasetError("only a stored run knows its images; evaluate with an eval_key")

    def _images(self, chosen: NDArray[np.bool_]) -> list[tuple[str, int]]:
        sample_of = _sample_by_label(self.samples, self.config.gt_field)
        pixels: defaultdict[str, int] = defaultdict(int)
        for label_id, weight in zip(self.ytrue_ids[chosen], self.weights[chosen], strict=True):
            if label_id in sample_of:  # the sample may have been deleted since
                pixels[sample_of[label_id]] += int(weight)
        return sorted(pixels.items(), key=lambda item: (-item[1], item[0]))

    def __str__(self) -> str:
        rows = [(name, "–" if math.isnan(value) else f"{value:.2f}") for name, value in self.iou.items()]
        table = tabulate(rows, tablefmt="plain", colalign=("left", "right"), disable_numparse=True)
        notes = self.notes()
        more = [f"and {len(notes) - _NOTES_SHOWN} more notes, in notes()"] if len(notes) > _NOTES_SHOWN else []
        return "\n".join([self.headline, table, *notes[:_NOTES_SHOWN], *more])

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.headline}>"

    @property
    def headline(self) -> str:
        """Main metrics in one line, with the share of the ground truth that is void."""
        figures = f"mIoU {self.miou:.2f} %, pixel accuracy {self.pixel_accuracy:.2f} %, {self.images} images"
        return f"{figures}, {100 * self.void_share:.1f} % of pixels void" if self.void_share else figures

    @property
    def void_share(self) -> float:
        """Share of ground-truth pixels that are void or without a name, in [0, 1]."""
        void, counted = int(self.details["void"]), int(self.confusion.sum())
        return void / (void + counted) if void else 0.0

    def notes(self) -> list[str]:
        """Lists what was left out or changed: unmatched classes, values without a name, and missing or resized masks."""
        notes = [
            f"predicted class without a match in the ground truth, counted as unlabelled: {name} ({pixels} pixels)"
            for name, pixels in self.unmatched.items()
        ]
        notes += [
            f"ground-truth class without a match in the prediction, counted as missed: {name}" for name in self.never_predicted
        ]
        notes += [
            f"ground-truth value without a name, not counted: {value} ({pixels} pixels)" for value, pixels in self.unnamed.items()
        ]
        notes += [f"no prediction, counted as unlabelled: {name}: {why}" for name, why in self.without_prediction.items()]
        notes += [f"no ground truth, not counted: {name}: {why}" for name, why in self.without_truth.items()]
        notes += [f"prediction resized: {name}: {sizes}" for name, sizes in self.resized.items()]
        return notes

    @property
    def _boundary(self) -> BoundaryCounts | None:
        parts = self.details["boundary"]
        return None if parts is None else BoundaryCounts(*map(np.asarray, parts))

    def _by_class(self, values: Any) -> dict[str, float]:
        return {name: 100 * float(value) for name, value in zip(self.class_names, values, strict=True)}

    def _mean(self, values: Any) -> float:
        return 100 * metrics.mean(values[np.array(self.details["scored"])])


def per_image(confusion: metrics.Confusion, class_names: Sequence[str], scored: Sequence[bool]) -> dict[str, Any]:
    """Computes the metrics of one image. They are meant for sorting; their mean is not a dataset metric.

    Args:
        confusion: confusion matrix of the image, ``(C, C + 1)``
        class_names: classes of the rows
        scored: for each class, whether it counts in means

    Returns:
        values by name: ``miou`` in percent, the mean over the classes in its ground truth; ``worst_class``, the name of the class
        with the lowest IoU; and, in [0, 1] as FiftyOne's own methods give them, ``accuracy``, ``precision`` (share of labelled
        pixels that are correct), ``recall`` (equals ``accuracy``), ``dice`` (a mean like ``miou``) and ``unlabelled`` (share of
        pixels). ``None`` where there is nothing to count
    """
    pixels, present = int(confusion.sum()), (confusion.sum(axis=1) > 0) & np.array(scored)
    if not pixels:
        return dict.fromkeys(FIELDS)
    right, labelled = int(np.trace(confusion)), int(confusion[:, :-1].sum())
    ious = metrics.iou(confusion)
    worst = int(np.where(present, ious, np.inf).argmin()) if present.any() else None
    return {
        "accuracy": right / pixels,
        "precision": right / labelled if labelled else None,
        "recall": right / pixels,
        "miou": WHOLE_MIOU * float(ious[present].mean()) if present.any() else None,
        "worst_class": None if worst is None else class_names[worst],
        "unlabelled": 1 - labelled / pixels,
        "dice": float(metrics.dice(confusion)[present].mean()) if present.any() else None,
    }


def _sample_by_label(samples: Any, gt_field: str) -> dict[str, str]:
    """Returns the sample id for each ground-truth label id; for videos, for the label of each frame."""
    ids, labels = samples.values(["id", f"{gt_field}.id"])
    if is_frame_field(samples, gt_field):
        return {label: sample for sample, of_frames in zip(ids, labels, strict=True) for label in of_frames or ()}
    return dict(zip(labels, ids, strict=True))


def _panel_metric(label: str, value: float) -> dict[str, Any]:
    """Returns a metric in the form that the App's panel shows next to its own metrics."""
    return {"key": label, "value": round(value, 2), "label": f"{label} (%)", "lower_is_better": False}
