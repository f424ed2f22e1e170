"""Evaluates a field of masks against ground truth: mIoU over the whole dataset, as papers report it, and the errors behind it.

Users call ``evaluate``; :mod:`fiftyone_resclip.evaluation.method` provides the same as a FiftyOne evaluation method.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fiftyone_resclip.checks import check_switch
from fiftyone_resclip.evaluation.matching import match_classes
from fiftyone_resclip.evaluation.method import SemanticEvaluationConfig
from fiftyone_resclip.evaluation.results import SemanticEvaluationResults
from fiftyone_resclip.evaluation.settings import EvaluationSettings
from fiftyone_resclip.evaluation.void import AUTO, Ignored
from fiftyone_resclip.fields.arguments import checked_collection


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
    """Evaluates the masks of a collection.

    Classes are matched by name, so the two fields may number them differently. A prediction whose size
    differs is resized to the ground truth's size (nearest pixel).

    Args:
        samples: a FiftyOne dataset or view of images or videos
        pred_field: predicted ``Segmentation`` masks; starts with ``frames.`` for masks of video frames
        gt_field: true ``Segmentation`` masks
        eval_key (None): name to store the run under. The App's Model Evaluation panel then shows it, and each sample gets the
            fields ``<key>_miou``, ``<key>_accuracy``, ``<key>_worst_class``, ``<key>_unlabelled`` and others. Memory use
            grows with the number of images only for a stored run, because the panel reads the confusions of every image
        ignore_index ("auto"): void values of the ground truth, one or several, or ``None`` for none. The default is 255; if
            the ground truth has a class of that value, an error asks you to choose. Masks that encode classes as colours have
            no void by default. Values without a name are void too, and are reported. VOC20 is VOC21 with ``(0, 255)``
        mapping (None): ground-truth class by predicted class where the names differ; map a predicted class to ``None`` to count
            it as unlabelled
        include_background (True): whether means over classes include the class called background. Background pixels that were
            predicted as another class count against that class in either case
        boundary (None): width of the band of boundary IoU on each side of a border, in pixels, or below 1 as a share of the
            diagonal; 0.02 in the paper. By default it is not measured
        compute_dice (False): whether samples also get a field ``<key>_dice``
        overwrite (False): whether to replace a run under the same key, which stays whole until the new one is complete
        progress (None): whether to show a progress bar; by default FiftyOne's setting

    Returns:
        the results, which ``dataset.load_evaluation_results(eval_key)`` also returns

    Raises:
        DatasetError: if a field is missing, has another type or no mask targets, the fields share no class, the mapping has an
            unknown name, both fields are the same, the key is taken, or no pixel of a readable ground truth has a class
        ConfigError: if a setting is out of range
    """
    checked_collection(samples)
    check_switch("overwrite", overwrite)
    settings = EvaluationSettings(ignore_index, mapping, include_background, boundary, compute_dice)
    match_classes(samples, pred_field, gt_field, ignore_index, mapping)  # our messages are clearer than FiftyOne's
    results: SemanticEvaluationResults = samples.evaluate_segmentations(
        pred_field,
        gt_field,
        eval_key=eval_key,
        method=SemanticEvaluationConfig,
        progress=progress,
        overwrite=overwrite,
        **vars(settings),
    )
    return results
