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
from bson import ObjectId
from fiftyone.utils.eval.segmentation import SegmentationEvaluation, SegmentationEvaluationConfig

from fiftyone_resclip.errors import ConfigError, DatasetError, unknown
from fiftyone_resclip.evaluation import storing
from fiftyone_resclip.evaluation.counting import Outcome, Total, count_image, images_in
from fiftyone_resclip.evaluation.matching import ClassMatch, match_classes
from fiftyone_resclip.evaluation.results import FIELDS, SemanticEvaluationResults, per_image
from fiftyone_resclip.evaluation.run_fields import Figures, fill_view, known_fields, own_fields, placed
from fiftyone_resclip.evaluation.settings import METHOD, EvaluationSettings
from fiftyone_resclip.evaluation.staging import Fields, declared
from fiftyone_resclip.fields.exclusive import exclusive
from fiftyone_resclip.fields.patience import patiently
from fiftyone_resclip.fields.private import dataset_of, is_frame_field, refresh, reload_samples, root_dataset_of, stored

_OWN_METRICS = ("miou", "worst_class", "unlabelled")  # FiftyOne lists the others
WORKERS = min(4, os.cpu_count() or 1)  # most of the work is decoding, which releases the GIL
_AHEAD = 4 * WORKERS


class SemanticEvaluationConfig(SegmentationEvaluationConfig):  # type: ignore[misc]  # FiftyOne has no type information
    """Settings of :class:`SemanticEvaluation`, stored with the run.

    Args:
        pred_field: predicted masks
        gt_field: true masks
        custom_metrics (None): FiftyOne's setting of that name
        overwrite (True): whether to replace a run under the same key; not stored
        **settings: the fields of :class:`~fiftyone_resclip.evaluation.settings.EvaluationSettings`

    Raises:
        ConfigError: if a setting is unknown or out of range
    """

    def __init__(
        self, pred_field: str, gt_field: str, custom_metrics: Any = None, *, overwrite: bool = True, **settings: Any
    ) -> None:
        known = [field.name for field in fields(EvaluationSettings)]
        for name in set(settings) - set(known):
            raise ConfigError(unknown("evaluation setting", name, [*known, "custom_metrics", "overwrite"]))
        chosen = EvaluationSettings(**settings)
        super().__init__(pred_field, gt_field, compute_dice=chosen.compute_dice, custom_metrics=custom_metrics)
        self.__dict__.update(vars(chosen))
        self._overwrite = overwrite

    @property
    def method(self) -> str:
        """Name of the method in FiftyOne."""
        return METHOD


class SemanticEvaluation(SegmentationEvaluation):  # type: ignore[misc]
    """Counts pixels by class over the whole collection, then computes the metrics.

    Args:
        config: the settings
    """

    _stored: Any = None  # results that are in the database as they are

    def register_run(self, samples: Any, key: str | None, overwrite: bool = True, cleanup: bool = True) -> None:
        """Only checks whether the run can be stored. FiftyOne's version would replace an earlier run before any mask is read."""
        if key is not None:
            patiently(lambda: self._check_key(samples, key))

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
        if config.pred_field == config.gt_field:
            raise DatasetError(
                f"prediction and ground truth must be two fields of masks, but both are {config.gt_field!r}; choose another"
            )
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
        if not total.confusion.any():
            remedy = f"ignore_index is {config.ignore_index}"
            if total.unnamed:
                remedy = f"give the values a name in mask_targets: {', '.join(map(str, [*total.unnamed][:3]))}"
            raise DatasetError(
                f"at least one pixel of {config.gt_field!r} must have a class, but all {total.void} are void; {remedy}"
            )
        results = SemanticEvaluationResults.of(samples, config, eval_key, total, backend=self)
        if eval_key is not None:  # only now, because an earlier run under the key must survive if this one fails
            self._store(samples, eval_key, self._named(values, eval_key), results)
        return results

    def _store(self, samples: Any, eval_key: str, values: Figures, results: SemanticEvaluationResults) -> None:
        """Shows run, results and fields in one step. FiftyOne would show the run first and then write the rest."""
        root, config = root_dataset_of(samples), self.config
        fields, earlier = own_fields(samples, config, eval_key), self._earlier(samples, eval_key)
        known, run, number = known_fields(samples, config.gt_field, eval_key), storing.description(samples, config), ObjectId()
        patiently(
            lambda: storing.store(
                root, eval_key, fields, known, lambda: placed(samples, values), run, results,
                lambda: self._replaced(samples, eval_key), number,
            )
        )  # fmt: skip
        self._stored = results
        if earlier is not None and earlier.custom_metrics:
            earlier.build().cleanup_custom_metrics(samples, eval_key)
        if dataset_of(samples) is not root:
            fill_view(samples, fields, values)
        patiently(lambda: reload_samples(dataset_of(samples), values))

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
            for owner, image in images_in(view, match, progress):
                waiting.append((owner, pool.submit(count_image, image, match, self.config.boundary)))
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
        return [*names, *(f"{prefix}{eval_key}_{name}" for prefix in prefixes for name in _OWN_METRICS)]

    def rename(self, samples: Any, eval_key: str, new_eval_key: str) -> None:
        """Renames the fields of a run."""
        storing.tidy(root_dataset_of(samples), eval_key, known_fields(samples, self.config.gt_field, eval_key))
        with exclusive(root_dataset_of(samples)):
            super().rename(samples, eval_key, new_eval_key)

    def cleanup(self, samples: Any, eval_key: str) -> None:
        """Deletes a run with its fields. FiftyOne calls this before it deletes the rest; the run must not outlive its fields."""
        known = known_fields(samples, self.config.gt_field, eval_key)
        storing.remove(root_dataset_of(samples), eval_key, own_fields(samples, self.config, eval_key), known)
        self.cleanup_custom_metrics(samples, eval_key)

    def save_run_results(
        self, samples: Any, key: str | None, run_results: Any, overwrite: bool = True, cache: bool = True
    ) -> None:
        """Replaces the results of a stored run. FiftyOne's version deletes the old ones first."""
        if key is None:
            return
        if run_results is not self._stored or self.config.custom_metrics:
            storing.save_results(root_dataset_of(samples), key, run_results)
        self._stored = None
        if cache:
            getattr(root_dataset_of(samples), self._results_cache_field())[key] = run_results

    def add_fields_to_sidebar_group(self, samples: Any, eval_key: str, omit_fields: Any = None) -> None:
        """Adds fields of custom metrics; the others are in the group already."""
        if self.config.custom_metrics:
            with exclusive(root_dataset_of(samples)):
                super().add_fields_to_sidebar_group(samples, eval_key, omit_fields)

    def _check_key(self, samples: Any, eval_key: str) -> None:
        with storing.claimed(root_dataset_of(samples), eval_key):
            self._replaced(samples, eval_key)

    def _replaced(self, samples: Any, eval_key: str) -> Fields:
        """Returns the fields of the run that a run under this key replaces; raises an error if it must not."""
        root = root_dataset_of(samples)
        refresh(root)  # another process may have stored or deleted runs
        if not self.config._overwrite and root.has_evaluation(eval_key):
            raise DatasetError(
                f"eval key {eval_key!r} is taken; choose another, or replace that run: overwrite=True, or --overwrite"
            )
        try:
            self.validate_run(root, eval_key)
        except ValueError as error:
            raise DatasetError(f"eval key {eval_key!r} can't be used: {error}") from error
        earlier = self._earlier(samples, eval_key)
        old: Fields = {} if earlier is None else own_fields(samples, earlier, eval_key)
        existing = declared(stored(root), own_fields(samples, self.config, eval_key))
        taken = [f"{level.prefix}{name}" for level, names in existing.items() for name in names if name not in old.get(level, ())]
        if taken:
            raise DatasetError(
                f"eval key {eval_key!r} would overwrite existing fields: {', '.join(sorted(taken))}; choose another"
            )
        return old

    def _earlier(self, samples: Any, eval_key: str) -> Any:
        """Returns the settings of the stored run of this key; ``None`` if there is none."""
        root = root_dataset_of(samples)
        return self.get_run_info(root, eval_key).config if root.has_evaluation(eval_key) else None


#: How FiftyOne finds the method under its name.
BACKEND = {"config_cls": f"{SemanticEvaluationConfig.__module__}.{SemanticEvaluationConfig.__name__}"}
fo.evaluation_config.segmentation_backends.setdefault(METHOD, BACKEND)
