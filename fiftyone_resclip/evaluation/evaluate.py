"""Evaluates a field of masks against ground truth: dataset-wide mIoU as the field counts it, and where it comes from.

``evaluate`` is the front door; :mod:`fiftyone_resclip.evaluation.method` is the same as a FiftyOne evaluation method.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.evaluation.matching import match_classes
from fiftyone_resclip.evaluation.method import SemanticEvaluationConfig
from fiftyone_resclip.evaluation.results import SemanticEvaluationResults
from fiftyone_resclip.evaluation.settings import EvaluationSettings
from fiftyone_resclip.evaluation.void import AUTO, Ignored


def evaluate(
    samples: Any,
    pred_field: str,
    gt_field: str,
    eval_key: str | None = None,
    *,
    ignore_index: Ignored = AUTO,
    mapping: Mapping[str, str | None] | None = None,
    include_background: bool = True,
    boundary: float | None = None,
    compute_dice: bool = False,
    overwrite: bool = False,
    progress: Any = None,
) -> SemanticEvaluationResults:
    """Evaluates masks over a collection.

    Classes are matched by name, so the two fields may number them differently. A prediction of another size is resized to the
    ground truth's (nearest pixel).

    Args:
        samples: a FiftyOne dataset or view of images or videos
        pred_field: predicted ``Segmentation`` masks; ``frames.`` before it for those of video frames
        gt_field: true ``Segmentation`` masks
        eval_key (None): name to keep the run under, for the App's Model Evaluation panel and the fields of each sample:
            ``<key>_miou``, ``<key>_accuracy``, ``<key>_worst_class``, ``<key>_unlabelled`` and others. Only then memory grows
            with the number of images, by the table of confusions that the panel reads
        ignore_index ("auto"): void values of the ground truth, one or several, or ``None`` for none. By default 255, unless
            the ground truth has a class of that value: then an error asks. Where classes are told apart by colour, nothing is
            void by default. Values without a name are void too, and reported. VOC20 is VOC21 with ``(0, 255)``
        mapping (None): ground-truth class by predicted class, where the names differ; ``None`` for one that counts as unlabelled
        include_background (True): whether the means over classes count the class called background. Pixels of it that were
            taken for another class count against that class anyway
        boundary (None): half the width of the band of boundary IoU, in pixels, or below 1 as share of the diagonal; 0.02 in
            the paper. By default it is not measured
        compute_dice (False): whether samples get a field ``<key>_dice`` too
        overwrite (False): whether a run under the same key is replaced
        progress (None): whether to show a bar; by default FiftyOne's setting

    Returns:
        the results, also what ``dataset.load_evaluation_results(eval_key)`` gives

    Raises:
        DatasetError: if a field is missing, of another type or without mask targets, no class is in both, the mapping has a
            name that is in neither, the key is taken, or no sample has a readable ground truth
        ConfigError: if a setting is out of range
    """
    match_classes(samples, pred_field, gt_field, ignore_index, mapping)  # our messages are clearer than FiftyOne's
    if eval_key is not None and not overwrite and samples.has_evaluation(eval_key):
        raise DatasetError(f"eval key {eval_key!r} is taken; choose another, or pass overwrite=True to replace that run")
    settings = EvaluationSettings(ignore_index, mapping, include_background, boundary, compute_dice)
    results: SemanticEvaluationResults = samples.evaluate_segmentations(
        pred_field, gt_field, eval_key=eval_key, method=SemanticEvaluationConfig, progress=progress, **vars(settings)
    )
    return results
