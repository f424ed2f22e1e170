"""The FiftyOne evaluation method: runs, stores, renames and deletes what ``evaluate_segmentations(method="resclip")`` computes.

FiftyOne stores the path of the config class and finds the method by removing ``Config`` from its name. Both classes must
stay in this module and keep their names, or stored runs can't be loaded. Importing this module registers the method in FiftyOne.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields
from itertools import groupby
from typing import Any

import fiftyone as fo
from fiftyone.utils.eval.segmentation import SegmentationEvaluation, SegmentationEvaluationConfig

from fiftyone_resclip.errors import ConfigError, DatasetError, unknown
from fiftyone_resclip.evaluation.counting import Outcome, Total, count_image, images_of, write_fields
from fiftyone_resclip.evaluation.matching import ClassMatch, match_classes
from fiftyone_resclip.evaluation.results import FIELDS, SemanticEvaluationResults, per_image
from fiftyone_resclip.evaluation.settings import EvaluationSettings
from fiftyone_resclip.fields.private import dataset_of, delete_empty_sidebar_group, is_frame_field

#: The method's name in ``fo.evaluation_config`` and in ``evaluate_segmentations(method=...)``.
METHOD = "resclip"
WORKERS = min(4, os.cpu_count() or 1)  # most of the work is decoding, which releases the GIL
_AHEAD = 4 * WORKERS


class SemanticEvaluationConfig(SegmentationEvaluationConfig):  # type: ignore[misc]  # FiftyOne has no type information
    """Settings of :class:`SemanticEvaluation`, stored with the run.

    Args:
        pred_field: predicted masks
        gt_field: true masks
        custom_metrics (None): FiftyOne's setting of that name
        **settings: the fields of :class:`~fiftyone_resclip.evaluation.settings.EvaluationSettings`

    Raises:
        ConfigError: if a setting is unknown or out of range
    """

    def __init__(self, pred_field: str, gt_field: str, custom_metrics: Any = None, **settings: Any) -> None:
        known = [field.name for field in fields(EvaluationSettings)]
        for name in set(settings) - set(known):
            raise ConfigError(unknown("evaluation setting", name, [*known, "custom_metrics"]))
        chosen = EvaluationSettings(**settings)
        super().__init__(pred_field, gt_field, compute_dice=chosen.compute_dice, custom_metrics=custom_metrics)
        self.__dict__.update(vars(chosen))

    @property
    def method(self) -> str:
        """Name of the method in FiftyOne."""
        return METHOD


class SemanticEvaluation(SegmentationEvaluation):  # type: ignore[misc]
    """Counts pixels by class over the whole collection, then computes the metrics.

    Args:
        config: the settings
    """

    def register_run(self, samples: Any, key: str | None, overwrite: bool = True, cleanup: bool = True) -> None:
        """Only checks whether the run can be stored. FiftyOne's version would replace an earlier run before any mask is read."""
        if key is not None:
            try:
                self.validate_run(samples, key, overwrite=overwrite)
            except ValueError as error:
                raise DatasetError(f"eval key {key!r} can't be used: {error}") from error
            taken = set() if samples.has_evaluation(key) else self._owned(samples, key)
            if taken:
                raise DatasetError(
                    f"eval key {key!r} would overwrite existing fields: {', '.join(sorted(taken))}; choose another"
                )

    def register_samples(self, samples: Any, eval_key: str | None) -> None:
        """Does nothing: :meth:`evaluate_samples` declares the fields, once it has values for them."""

    def evaluate_samples(
        self, samples: Any, eval_key: str | None = None, mask_targets: Mapping[Any, str] | None = None, progress: Any = None
    ) -> SemanticEvaluationResults:
        """Evaluates a collection.

        Args:
            samples: a FiftyOne dataset or view
            eval_key (None): name to store the run under
            mask_targets (None): class name by mask value for both fields; by default those of the dataset
            progress (None): whether to show a progress bar

        Returns:
            the results

        Raises:
            DatasetError: as in :func:`fiftyone_resclip.evaluate`
        """
        config = self.config
        match = match_classes(
            samples, config.pred_field, config.gt_field, config.ignore_index, config.mapping, mask_targets=mask_targets
        )
        config.ignore_index = match.ignore_index  # store the resolved default with the run
        if not config.include_background and match.background is None:
            raise DatasetError(
                f"include_background=False needs a class called background in {config.gt_field!r}; "
                f"it has {', '.join(match.class_names)}"
            )
        total = Total(match, keep_pairs=eval_key is not None)
        values = self._count(samples, total, progress)
        if not total.images:
            why = next(iter(total.without_truth.values()), "the collection is empty")
            raise DatasetError(f"no sample has a readable mask in {config.gt_field!r}, so nothing can be evaluated: {why}")
        if eval_key is not None:  # only now, because an earlier run under the key must survive if this one fails
            super().register_run(samples, eval_key)
            self._declare(samples, eval_key)
            write_fields(samples, self._named(values, eval_key))
        return SemanticEvaluationResults.of(samples, config, eval_key, total, backend=self)

    def _count(self, samples: Any, total: Total, progress: Any) -> dict[str, dict[int | None, dict[str, Any]]]:
        """Adds all images to ``total``; for a stored run, returns metrics by sample id and frame (``None`` for the sample)."""
        view = samples.select_fields([self.config.pred_field, self.config.gt_field])
        scored, class_names = total.match.scored(self.config.include_background), total.match.class_names
        values: dict[str, dict[int | None, dict[str, Any]]] = {}
        for sample_id, outcomes in groupby(self._outcomes(view, total.match, progress), key=lambda pair: pair[0]):
            added = [(outcome.frame, total.add(outcome)) for _, outcome in outcomes]
            if total.keep_pairs:
                confusions = {frame: own for frame, own in added if own is not None}
                confusions[None] = sum(confusions.values(), start=total.match.empty())
                values[sample_id] = {frame: per_image(own, class_names, scored) for frame, own in confusions.items()}
        return values

    def _outcomes(self, view: Any, match: ClassMatch, progress: Any) -> Iterator[tuple[str, Outcome]]:
        """Yields the images in order, each with the id of its sample; threads read a few of them ahead."""
        waiting: deque[tuple[str, Future[Outcome]]] = deque()
        with ThreadPoolExecutor(WORKERS) as pool:
            for sample in view.iter_samples(progress=progress):
                for image in images_of(sample, match):
                    waiting.append((sample.id, pool.submit(count_image, image, match, self.config.boundary)))
                    if len(waiting) > _AHEAD:
                        sample_id, job = waiting.popleft()
                        yield sample_id, job.result()
            yield from ((sample_id, job.result()) for sample_id, job in waiting)

    def _named(self, values: Mapping[str, Any], eval_key: str) -> dict[str, dict[int | None, dict[str, Any]]]:
        """Renames the metrics to the names of their fields."""
        names = {name: f"{eval_key}_{name}" for name in FIELDS if name != "dice" or self.config.compute_dice}
        return {
            sample: {frame: {field: figures[name] for name, field in names.items()} for frame, figures in frames.items()}
            for sample, frames in values.items()
        }

    def get_fields(self, samples: Any, eval_key: str, include_custom_metrics: bool = True) -> list[str]:
        """Lists the fields of a run: those that FiftyOne adds and ours."""
        names = super().get_fields(samples, eval_key, include_custom_metrics=include_custom_metrics)
        prefixes = ("", "frames.") if is_frame_field(samples, self.config.gt_field) else ("",)
        return [*names, *(f"{prefix}{eval_key}_{name}" for prefix in prefixes for name in _OWN_FIELDS)]

    def cleanup(self, samples: Any, eval_key: str) -> None:
        """Deletes the fields of a run."""
        names = self.get_fields(dataset_of(samples), eval_key, include_custom_metrics=False)
        ours = [name for name in names if not name.startswith("frames.")]
        dataset_of(samples).delete_sample_fields(ours, error_level=1)
        of_frames = [name.removeprefix("frames.") for name in names if name.startswith("frames.")]
        if of_frames:
            dataset_of(samples).delete_frame_fields(of_frames, error_level=1)
        self.cleanup_custom_metrics(samples, eval_key)
        delete_empty_sidebar_group(samples, eval_key)

    def _owned(self, samples: Any, eval_key: str) -> set[str]:
        """Returns the existing fields that a run under this key would overwrite."""
        existing = {
            *dataset_of(samples).get_field_schema(),
            *(f"frames.{n}" for n in dataset_of(samples).get_frame_field_schema() or ()),
        }
        return existing & set(self.get_fields(samples, eval_key, include_custom_metrics=False))

    def _declare(self, samples: Any, eval_key: str) -> None:
        super().register_samples(samples, eval_key)
        adders = [dataset_of(samples).add_sample_field]
        if is_frame_field(samples, self.config.gt_field):
            adders.append(dataset_of(samples).add_frame_field)
        for add in adders:
            for name, field_cls in _OWN_FIELDS.items():
                add(f"{eval_key}_{name}", field_cls)


_OWN_FIELDS = {"miou": fo.FloatField, "worst_class": fo.StringField, "unlabelled": fo.FloatField}

# FiftyOne finds methods by name in this mapping.
fo.evaluation_config.segmentation_backends.setdefault(
    METHOD, {"config_cls": f"{SemanticEvaluationConfig.__module__}.{SemanticEvaluationConfig.__name__}"}
)
