"""The FiftyOne evaluation method: what ``evaluate_segmentations(method="resclip")`` runs, keeps, renames and deletes.

FiftyOne stores the path of the config class and finds the method by leaving ``Config`` off its name, so both stay here.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import fiftyone as fo
import numpy as np
from fiftyone.utils.eval.segmentation import SegmentationEvaluation, SegmentationEvaluationConfig

from fiftyone_resclip.boundaries import radius_px
from fiftyone_resclip.errors import ConfigError, DatasetError, unknown
from fiftyone_resclip.evaluation.counting import Outcome, Total, count_image, images_of
from fiftyone_resclip.evaluation.matching import ClassMatch, Ignored, match_classes
from fiftyone_resclip.evaluation.results import FIELDS, SemanticEvaluationResults, per_image

WORKERS = min(4, os.cpu_count() or 1)  # decoding is most of the work, and releases the interpreter's lock
_AHEAD = 4 * WORKERS
_SAVED_AT_ONCE = 256


class SemanticEvaluationConfig(SegmentationEvaluationConfig):  # type: ignore[misc]  # FiftyOne has no type information
    """Settings of :class:`SemanticEvaluation`; see :func:`fiftyone_resclip.evaluate` for what they mean.

    Args:
        pred_field: predicted masks
        gt_field: true masks
        ignore_index (255): void values of the ground truth
        mapping (None): ground-truth class by predicted class where the names differ
        include_background (True): whether means over classes count the background
        boundary (None): band of boundary IoU, in pixels or as share of the diagonal
        compute_dice (False): whether samples get a Dice field
        custom_metrics (None): FiftyOne's

    Raises:
        ConfigError: if a setting is unknown or out of range
    """

    def __init__(
        self,
        pred_field: str,
        gt_field: str,
        ignore_index: Ignored = 255,
        mapping: Mapping[str, str | None] | None = None,
        include_background: bool = True,
        boundary: float | None = None,
        compute_dice: bool = False,
        custom_metrics: Any = None,
        **kwargs: Any,
    ) -> None:
        known = ("ignore_index", "mapping", "include_background", "boundary", "compute_dice", "custom_metrics")
        for name in kwargs:
            raise ConfigError(unknown("evaluation setting", name, known))
        super().__init__(pred_field, gt_field, compute_dice=compute_dice, custom_metrics=custom_metrics)
        if boundary is not None:
            radius_px(boundary, (1, 1))
        self.ignore_index = list(ignore_index) if isinstance(ignore_index, (tuple, set)) else ignore_index
        self.mapping = None if mapping is None else dict(mapping)
        self.include_background = include_background
        self.boundary = boundary

    @property
    def method(self) -> str:
        """The method's name, as FiftyOne lists it."""
        return "resclip"


class SemanticEvaluation(SegmentationEvaluation):  # type: ignore[misc]
    """Counts pixels by class over the whole collection, then takes ratios.

    Args:
        config: the settings
    """

    def register_run(self, samples: Any, key: str | None, overwrite: bool = True, cleanup: bool = True) -> None:
        """Only looks whether the run can be kept: FiftyOne would put it in the place of an earlier one before a mask is read."""
        if key is not None:
            self.validate_run(samples, key, overwrite=overwrite)
            taken = set() if samples.has_evaluation(key) else self._owned(samples, key)
            if taken:
                raise DatasetError(
                    f"eval key {key!r} would fill fields that are there: {', '.join(sorted(taken))}; choose another"
                )

    def register_samples(self, samples: Any, eval_key: str | None) -> None:
        """Left to :meth:`evaluate_samples`, which declares fields once it is sure that it can fill them."""

    def evaluate_samples(
        self, samples: Any, eval_key: str | None = None, mask_targets: Mapping[Any, str] | None = None, progress: Any = None
    ) -> SemanticEvaluationResults:
        """Evaluates a collection.

        Args:
            samples: a FiftyOne dataset or view
            eval_key (None): name to keep the run under
            mask_targets (None): class name by mask value for both fields; by default those of the dataset
            progress (None): whether to show a bar

        Returns:
            the results

        Raises:
            DatasetError: as :func:`fiftyone_resclip.evaluate`
        """
        config = self.config
        match = match_classes(
            samples, config.pred_field, config.gt_field, config.ignore_index, config.mapping, mask_targets=mask_targets
        )
        if not config.include_background and match.background is None:
            raise DatasetError(
                f"include_background=False needs a background in {config.gt_field!r}: value 0, or a class of that name; "
                f"it has {', '.join(match.class_names)}"
            )
        total = Total(match, keep_pairs=eval_key is not None)
        scored = match.scored(config.include_background)
        if eval_key is not None:
            super().register_run(samples, eval_key)
            self._declare(samples, eval_key)
        try:
            self._run(samples, eval_key, total, scored, progress)
            if not total.images:
                why = next(iter(total.without_truth.values()), "the collection is empty")
                raise DatasetError(f"no sample has a readable mask in {config.gt_field!r}, so nothing can be evaluated: {why}")
        except BaseException:
            if eval_key is not None:
                samples._dataset.delete_evaluation(eval_key)  # else a run without results would be listed for ever
            raise
        return SemanticEvaluationResults.of(samples, config, eval_key, total, backend=self)

    def _run(self, samples: Any, eval_key: str | None, total: Total, scored: list[bool], progress: Any) -> None:
        view = samples.select_fields([self.config.pred_field, self.config.gt_field])
        done: dict[str, dict[Any, dict[str, Any]]] = {}
        for sample, images in self._outcomes(view, total.match, progress):
            for _, outcome in images:
                total.add(outcome)
            if eval_key is not None:
                confusions = {frame: outcome.confusion for frame, outcome in images}
                confusions[None] = sum(confusions.values(), start=np.zeros_like(total.count.confusion))
                done[sample.id] = {frame: per_image(c, total.match.class_names, scored) for frame, c in confusions.items()}
            if len(done) >= _SAVED_AT_ONCE:
                self._save(samples, eval_key, done)
                done.clear()
        if done:
            self._save(samples, eval_key, done)

    def _save(self, samples: Any, eval_key: str | None, done: Mapping[str, Mapping[Any, Mapping[str, Any]]]) -> None:
        """Writes the fields of some samples, without their masks: FiftyOne would compress those anew for each sample."""
        names = [name for name in FIELDS if name != "dice" or self.config.compute_dice]
        for sample in samples.select(list(done)).select_fields().iter_samples(autosave=True):
            for frame, values in done[sample.id].items():
                document = sample if frame is None else sample.frames[frame]
                for name in names:
                    document[f"{eval_key}_{name}"] = values[name]

    def _outcomes(self, view: Any, match: ClassMatch, progress: Any) -> Iterator[tuple[Any, list[tuple[Any, Outcome]]]]:
        """Samples in order, each with its images by frame number (``None`` for the sample); masks are read ahead in threads."""
        waiting: deque[tuple[Any, list[tuple[Any, Future[Outcome]]]]] = deque()

        def finish() -> tuple[Any, list[tuple[Any, Outcome]]]:
            sample, jobs = waiting.popleft()
            return sample, [(frame, job.result()) for frame, job in jobs]

        with ThreadPoolExecutor(WORKERS) as pool:
            for sample in view.iter_samples(progress=progress):
                images = images_of(sample, match)
                jobs = [(image.frame, pool.submit(count_image, image, match, self.config.boundary)) for image in images]
                waiting.append((sample, jobs))
                if len(waiting) > _AHEAD:
                    yield finish()
            while waiting:
                yield finish()

    def get_fields(self, samples: Any, eval_key: str, include_custom_metrics: bool = True) -> list[str]:
        """Lists the fields of a run, FiftyOne's and ours."""
        fields = super().get_fields(samples, eval_key, include_custom_metrics=include_custom_metrics)
        prefixes = ("", "frames.") if samples._is_frame_field(self.config.gt_field) else ("",)
        return [*fields, *(f"{prefix}{eval_key}_{name}" for prefix in prefixes for name in _OWN_FIELDS)]

    def cleanup(self, samples: Any, eval_key: str) -> None:
        """Deletes a run's fields."""
        fields = self.get_fields(samples._dataset, eval_key, include_custom_metrics=False)
        ours = [name for name in fields if not name.startswith("frames.")]
        samples._dataset.delete_sample_fields(ours, error_level=1)
        of_frames = [name.removeprefix("frames.") for name in fields if name.startswith("frames.")]
        if of_frames:
            samples._dataset.delete_frame_fields(of_frames, error_level=1)
        self.cleanup_custom_metrics(samples, eval_key)
        samples._delete_empty_sidebar_group(eval_key)

    def _owned(self, samples: Any, eval_key: str) -> set[str]:
        """Fields that a run under this key would fill, and that are there already."""
        existing = {
            *samples._dataset.get_field_schema(),
            *(f"frames.{n}" for n in samples._dataset.get_frame_field_schema() or ()),
        }
        return existing & set(self.get_fields(samples, eval_key, include_custom_metrics=False))

    def _declare(self, samples: Any, eval_key: str) -> None:
        super().register_samples(samples, eval_key)
        adders = [samples._dataset.add_sample_field]
        if samples._is_frame_field(self.config.gt_field):
            adders.append(samples._dataset.add_frame_field)
        for add in adders:
            for name, field_cls in _OWN_FIELDS.items():
                add(f"{eval_key}_{name}", field_cls)


_OWN_FIELDS = {"miou": fo.FloatField, "worst_class": fo.StringField, "unlabelled": fo.FloatField}
