"""Labels images batch by batch and saves each batch: what every process of a run does, local or in a cluster."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import fiftyone as fo
import torch
from threadpoolctl import threadpool_limits

from fiftyone_resclip.core.labels import LabelMap
from fiftyone_resclip.errors import StorageError, counted
from fiftyone_resclip.evidence.clues import Clues
from fiftyone_resclip.fields import companions, masks
from fiftyone_resclip.fields.class_counts import count_classes
from fiftyone_resclip.fields.mask_files import storing
from fiftyone_resclip.fields.patience import patiently
from fiftyone_resclip.fields.private import dataset_of, write_labels
from fiftyone_resclip.fields.readers import Unreadable, unreadable
from fiftyone_resclip.fields.schema import MaskTargets
from fiftyone_resclip.labeling.passes import Item, Pass
from fiftyone_resclip.labeling.pipelining import pipelined
from fiftyone_resclip.labeling.recipe import EVIDENCE
from fiftyone_resclip.labeling.writers import Progress
from fiftyone_resclip.model import ResCLIPModel

#: Labels by field.
Labels = dict[str, fo.Label]

#: What a report counts about evidence.
CLUES = ("without_regions", "without_presence")


class Written(NamedTuple):
    """The outcome of a batch: how many samples got a mask, how many are gone, and the reason for each file that failed."""

    labelled: int
    gone: int
    failed: int
    failures: dict[str, str]


@dataclass
class LabelingReport:
    """The progress and outcome of a run.

    Attributes:
        total: samples to label
        labelled: samples that got a mask
        skipped: samples that had a mask already
        gone: samples that were deleted while the run was under way
        failed: images that could not be read
        failures: reason by file, for images that could not be read
        without_regions: images that have no regions, although the run uses them; their masks are as without
        without_presence: images for which no class is named, although the run asks which are present; all classes compete
        seconds: time since the run began
        stopped: whether someone stopped the run from the App or with :func:`~fiftyone_resclip.labeling.writers.stop_all`
    """

    total: int = 0
    labelled: int = 0
    skipped: int = 0
    gone: int = 0
    failed: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    without_regions: int = 0
    without_presence: int = 0
    seconds: float = 0.0
    stopped: bool = False
    _started: float = field(default_factory=time.monotonic, repr=False, compare=False)

    def add(self, batch: Written) -> None:
        """Adds the counts of a finished batch."""
        self.labelled += batch.labelled
        self.gone += batch.gone
        self.failed += batch.failed
        self.failures |= batch.failures
        self.seconds = time.monotonic() - self._started

    @property
    def done(self) -> int:
        """Number of samples that are finished: labelled, failed or gone."""
        return self.labelled + self.gone + self.failed

    @property
    def images_per_second(self) -> float:
        """The rate so far; 0 before the first batch."""
        return self.done / self.seconds if self.seconds else 0.0

    def to_json(self) -> dict[str, Any]:
        """Returns the report as plain JSON values."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    @property
    def progress(self) -> Progress:
        """How far the run is."""
        return Progress(self.done, self.total, self.seconds)

    def __str__(self) -> str:
        parts = [f"{self.labelled} of {self.total} images labelled in {self.seconds:.0f} s"]
        if self.skipped and not self.total:
            parts = [f"nothing to label: {counted(self.skipped, 'image')} had a label already"]
        elif self.skipped:
            parts.append(f"{self.skipped} had a label already and were left alone")
        if self.gone:
            parts.append(f"{self.gone} were deleted in the meantime")
        if self.without_regions:
            parts.append(f"{self.without_regions} have no regions")
        if self.without_presence:
            parts.append(f"{self.without_presence} name none of the classes, so all compete there")
        if self.stopped:
            parts.append("stopped; to go on, label the field again with the same settings")
        parts.extend(f"not labelled: {reason}" for reason in self.failures.values())
        return "; ".join(parts)


def batches(
    current: Pass,
    items: list[Item],
    model: ResCLIPModel,
    report: LabelingReport,
    batch_size: int | None,
    threads: int,
) -> Iterator[LabelingReport]:
    """Labels images batch by batch.

    Args:
        current: the pass that they belong to
        items: the images
        model: the model
        report: is updated
        batch_size: images per batch; ``None`` lets the device decide
        threads: number of threads that read images, and of threads that encode masks

    Yields:
        the report, after each batch that was saved

    Raises:
        DatasetError: if the dataset or the field was deleted
        StorageError: if a mask can't be written
    """
    reader, writer = model.build_get_item(), _Writer(current, model.mask_targets)
    clues = Clues(current.samples, model.segmenter.vocabulary, **current.recipe.get(EVIDENCE, {}))

    def compute(inputs: list[Any]) -> list[LabelMap | Unreadable]:
        outcomes = model.label_maps(inputs, whole="confidence" in current.beside)
        if any(isinstance(outcome, LabelMap) for outcome in outcomes):
            patiently(current.record)  # not earlier: masks that are to be overwritten must not be lost for nothing
        return outcomes

    steps = pipelined(
        items,
        read=lambda item: patiently(lambda: clues.added(reader({"filepath": item.path}), item.id)),
        compute=compute,
        encode=lambda item, outcome: writer.encode(item.id, outcome),
        write=lambda outcomes: patiently(lambda: writer.write(outcomes)),
        done=report.add,
        batch_size=batch_size or model.images_at_once,
        threads=threads,
        first_alone=True,
        initializer=_compute_alone,
    )
    with closing(steps):
        for _ in steps:
            for name in CLUES:
                setattr(report, name, getattr(clues, name))
            report.stopped = patiently(lambda: current.tell(report.progress)) and report.done < report.total
            yield report
            if report.stopped:
                break
    report.stopped = report.stopped and report.done < report.total  # what was under way is written at the end


def _compute_alone() -> None:
    """Keeps torch's loops in this thread from using other processors.

    OpenMP gives each thread that starts a parallel loop its own team of threads. If the teams have more threads than there are
    processors, all threads sleep between loops instead of spinning, and with few processors the network takes much longer.
    """
    torch.get_num_threads()  # initialises the thread now; later, that would undo the limit
    threadpool_limits(1, user_api="openmp")


class _Writer:
    """Saves masks, to files if there is a folder, otherwise to the database; saves all labels of a sample in one write."""

    def __init__(self, current: Pass, names: MaskTargets) -> None:
        self.current, self.names = current, names

    def encode(self, sample_id: str, outcome: LabelMap | Unreadable) -> tuple[str, Labels] | Unreadable:
        """Makes the labels of one sample by field, and its files if there is a folder."""
        if isinstance(outcome, Unreadable):
            return outcome
        self.current.refuse_misplaced()
        found = outcome._replace(labels=outcome.labels.cpu(), confidence=outcome.confidence.cpu())
        try:
            with storing(self.current.output_dir):
                mask = masks.to_segmentation(found, len(self.names), self.current.path(sample_id), self._allow)
                return sample_id, {self.current.label_field: mask, **self._beside(sample_id, found)}
        except StorageError:
            self.current.refuse_misplaced()  # the folder may have disappeared in the meantime
            raise

    def _beside(self, sample_id: str, found: LabelMap) -> Labels:
        """Makes what is wanted beside the mask."""
        labels: Labels = {}
        for kind in self.current.beside:
            name = self.current.companions[kind].removeprefix("frames.")
            if kind == "classes":
                counted = count_classes(found.labels.numpy(), len(self.names) + 1, found.confidence.numpy(), first=-1)
                labels[name] = companions.classifications(counted, self.names)
            elif (path := self.current.heatmap_path(sample_id)) is not None:
                masks.write_mask(companions.grey(found.confidence.numpy()), path, self._allow)
                labels[name] = fo.Heatmap(map_path=str(path), range=[0, 255])
        return labels

    def _allow(self) -> None:
        """Checks, before a file may take the place of another, that no other process has gone on without this one."""
        patiently(self.current.refuse_dead)
        self.current.refuse_misplaced()

    def write(self, outcomes: list[tuple[str, Labels] | Unreadable]) -> Written:
        """Saves a batch, and checks that it arrived."""
        failures = unreadable(outcomes)
        by_id = dict(outcome for outcome in outcomes if not isinstance(outcome, Unreadable))
        if not by_id:
            return Written(0, 0, len(outcomes), failures)
        self.current.refuse_dead()
        write_labels(self.current.samples if self.current.of_frames else dataset_of(self.current.samples), by_id)
        gone = self.current.check(list(by_id), [labels[self.current.label_field].id for labels in by_id.values()])
        return Written(len(by_id) - len(gone), len(gone), len(outcomes) - len(by_id), failures)
