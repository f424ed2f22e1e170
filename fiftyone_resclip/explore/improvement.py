"""Improves the masks of a field: learns from those that were kept in its review, and labels all other images anew.

The new masks go to a field of their own, together with the kept ones, which are kept there, too.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from fiftyone_resclip.core.teaching import DEFAULT_STRENGTH
from fiftyone_resclip.errors import DatasetError, counted
from fiftyone_resclip.evidence.learning import Studying, iter_learn
from fiftyone_resclip.explore import review
from fiftyone_resclip.explore.review_pictures import set_earlier_field
from fiftyone_resclip.fields.exclusive import exclusive
from fiftyone_resclip.fields.private import dataset_of
from fiftyone_resclip.fields.slices import select_slice
from fiftyone_resclip.labeling.batches import LabelingReport
from fiftyone_resclip.labeling.label import iter_label
from fiftyone_resclip.labeling.plan import fresh_field
from fiftyone_resclip.labeling.recipe import EVIDENCE
from fiftyone_resclip.labeling.runs import LabelRun, run_of
from fiftyone_resclip.model import ResCLIPModel

_SUFFIX = "_improved"


@dataclass(frozen=True)
class Improvement:
    """What one round of improvement does.

    Attributes:
        run: the labelling run that made the masks under review
        kept: a view of the samples with kept masks
        rest: a view of all other images: without a verdict, discarded, to be fixed, or without a mask
        to_field: the new field
    """

    run: LabelRun
    kept: Any
    rest: Any
    to_field: str

    @classmethod
    def of(cls, samples: Any, label_field: str, taken: Collection[str] = ()) -> Improvement:
        """Plans a round.

        Args:
            samples: a FiftyOne dataset or view
            label_field: the masks under review
            taken (()): names of fields that other runs are about to make

        Raises:
            DatasetError: if there is no such field of masks, no labelling run made it, no mask is kept, or all are kept
        """
        dataset, kept = dataset_of(samples), review.kept(samples, label_field).values("id")
        with exclusive(dataset):
            run = run_of(dataset, label_field)
        if run is None:
            raise DatasetError(
                f"masks of {label_field!r} must be of a labelling run, so that it is known what made them, but are not; "
                "label a field with 'ResCLIP: segment' and review that"
            )
        if not kept:
            raise DatasetError(f"no mask of {label_field!r} is kept yet, so there is nothing to learn from; keep a few first")
        rest = select_slice(samples).exclude(kept)
        if not len(rest):
            raise DatasetError(f"every mask of {label_field!r} is kept, so there is nothing left to improve")
        base = re.sub(rf"{_SUFFIX}(_\d+)?\Z", "", label_field)
        return cls(run, select_slice(dataset).select(kept), rest, fresh_field(dataset, base + _SUFFIX, taken))

    def __str__(self) -> str:
        rest = f"the other {counted(len(self.rest), 'image')} are labelled into {self.to_field!r}"
        return f"{counted(len(self.kept), 'kept mask')} will teach; {rest}"

    def iter_label(self, model: ResCLIPModel) -> Iterator[LabelingReport]:
        """Labels the images that are not kept; copies the kept masks and their verdicts as soon as there is a field for them.

        Args:
            model: what the kept masks taught, from :func:`iter_learn_kept`

        Yields:
            the report, as :func:`fiftyone_resclip.labeling.label.iter_label` does
        """
        evidence = self.run.recipe.get(EVIDENCE, {})
        copied = False
        for report in iter_label(self.rest, model, self.to_field, output_dir=self.run.output_dir, **evidence):
            if report.labelled and not copied:  # not at the end, so that a run that is interrupted has them, too
                self._copy_kept()
                copied = True
            yield report

    def _copy_kept(self) -> None:
        dataset, label_field = dataset_of(self.rest), self.run.label_field
        review.copy_kept(self.kept, label_field, self.to_field)
        review.mark(dataset, self.to_field, self.kept.values("id"), "keep")
        with exclusive(dataset):
            set_earlier_field(dataset, self.to_field, label_field)


def iter_learn_kept(model: ResCLIPModel, kept: Any, label_field: str) -> Iterator[Studying]:
    """Learns from kept masks; see :func:`fiftyone_resclip.evidence.learning.iter_learn`.

    The strength is fixed. Choosing one would compare the examples with what the words alone find, which is what made the masks:
    no correction could be better.

    Args:
        model: the model
        kept: a view of the samples with kept masks
        label_field: the masks

    Yields:
        how far it is; the last has the new model
    """
    return iter_learn(model, kept, label_field, strength=DEFAULT_STRENGTH)
