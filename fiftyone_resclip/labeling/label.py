"""Labels a dataset or view. A run can be resumed, and if a file can't be read, only its sample stays unlabelled.

Each batch is saved when it is done, and each label has a mask file of its own. So a run that is killed loses a few batches at
most, and running it again continues where it stopped: :mod:`fiftyone_resclip.labeling.passes`. Images are read and masks are
written while other batches are computed: :mod:`fiftyone_resclip.labeling.pipelining`, which also decides what happens on a stop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import fiftyone as fo
import torch
from fiftyone.core.media import IMAGE
from fiftyone.core.video import FramesView
from threadpoolctl import threadpool_limits

from fiftyone_resclip.core.labels import LabelMap
from fiftyone_resclip.errors import ConfigError, DatabaseError, DatasetError
from fiftyone_resclip.fields import masks, names
from fiftyone_resclip.fields.mask_files import storing
from fiftyone_resclip.fields.patience import patiently
from fiftyone_resclip.fields.private import dataset_of, root_dataset_of
from fiftyone_resclip.labeling.passes import Item, Pass
from fiftyone_resclip.labeling.pipelining import pipelined
from fiftyone_resclip.labeling.recipe import recipe_of
from fiftyone_resclip.labeling.sharding import Shard, checked
from fiftyone_resclip.model import ResCLIPModel, Unreadable

Progress = Callable[["LabelingReport"], None]


class _Written(NamedTuple):
    """The outcome of a batch: how many samples got a mask, how many are gone, and the reason for each file that failed."""

    labelled: int
    gone: int
    failures: dict[str, str]


@dataclass
class LabelingReport:
    """The progress and outcome of a run.

    Attributes:
        total: samples to label
        labelled: samples that got a mask
        skipped: samples that had a mask already
        gone: samples that were deleted while the run was under way
        failures: reason by file, for images that could not be read
        seconds: time since the run began
        stopped: whether someone stopped the run from the App or with :func:`~fiftyone_resclip.labeling.writers.stop_all`
    """

    total: int = 0
    labelled: int = 0
    skipped: int = 0
    gone: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    stopped: bool = False
    _started: float = field(default_factory=time.monotonic, repr=False, compare=False)

    def add(self, batch: _Written) -> None:
        """Adds the counts of a finished batch."""
        self.labelled += batch.labelled
        self.gone += batch.gone
        self.failures |= batch.failures
        self.seconds = time.monotonic() - self._started

    @property
    def done(self) -> int:
        """Number of samples that are finished: labelled, failed or gone."""
        return self.labelled + self.gone + len(self.failures)

    @property
    def images_per_second(self) -> float:
        """The rate so far; 0 before the first batch."""
        return self.done / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        parts = [f"{self.labelled} of {self.total} images labelled in {self.seconds:.0f} s"]
        if self.skipped:
            parts.append(f"{self.skipped} had a label already and were left alone")
        if self.gone:
            parts.append(f"{self.gone} were deleted in the meantime")
        if self.stopped:
            parts.append("stopped; to go on, label the field again with the same settings")
        parts.extend(f"not labelled: {reason}" for reason in self.failures.values())
        return "; ".join(parts)


def label(
    samples: Any,
    model: ResCLIPModel,
    label_field: str = "resclip",
    *,
    overwrite: bool = False,
    output_dir: str | Path | None = None,
    batch_size: int | None = None,
    num_workers: int = 2,
    shard: Shard | None = None,
    progress: bool | Progress | None = None,
) -> LabelingReport:
    """Segments every image of a collection and stores the masks in a field.

    Labelling is recorded as a run of the dataset; see :func:`fiftyone_resclip.list_runs`. Samples that have a mask are skipped
    if their masks were made in the same way: same weights, settings and words. Otherwise the two would be mixed, so an error
    shows the difference.

    Args:
        samples: a FiftyOne dataset or view of images. For videos pass ``dataset.to_frames(sample_frames=True)``: the masks then
            also go to the field ``frames.<label_field>`` of the videos
        model: from :func:`fiftyone_resclip.load_model`
        label_field ("resclip"): field for the masks; created if it does not exist
        overwrite (False): whether samples that have a mask get a new one; after an interruption, the same call goes on where it
            stopped
        output_dir (None): folder for the masks as PNG, ``<dataset id>/<field>/<sample id>.png``; by default they go into the
            database
        batch_size (None): images per batch; their sizes may differ; by default 4 on a CPU and 16 on a GPU
        num_workers (2): number of threads that read images, and of threads that encode masks
        shard (None): index and number of parts, such as ``(0, 4)``, to label one part here and the others in other processes,
            also on other machines; by default everything
        progress (None): whether to show a progress bar, by default FiftyOne's setting; or a function that gets the report before
            the first and after each batch

    Returns:
        the report; ``str(report)`` summarises it in one line

    Raises:
        ConfigError: if ``batch_size`` is below 1, or ``shard`` is not an index below a number of parts
        DatasetError: if there are no images, the field does not hold masks or holds masks made in another way, another process
            labels it, or the dataset or field is deleted meanwhile
        StorageError: if masks can't be written
    """
    for report in iter_label(
        samples, model, label_field, overwrite=overwrite, output_dir=output_dir, batch_size=batch_size, num_workers=num_workers,
        shard=shard, progress=False if callable(progress) else progress,
    ):  # fmt: skip
        if callable(progress):
            progress(report)
    return report


def iter_label(
    samples: Any,
    model: ResCLIPModel,
    label_field: str,
    *,
    overwrite: bool = False,
    output_dir: str | Path | None = None,
    batch_size: int | None = None,
    num_workers: int = 2,
    shard: Shard | None = None,
    progress: bool | None = False,
) -> Iterator[LabelingReport]:
    """Does the work of :func:`label` batch by batch; each is saved before the report is yielded, so a caller can always stop.

    Yields:
        the same report, updated: once before the work, then after each batch
    """
    if batch_size is not None and batch_size < 1:
        raise ConfigError(f"batch_size must be at least 1, but got {batch_size}; leave it out to let the device decide")
    _check(samples)
    label_field = names.checked(label_field, "field")
    folder = None if output_dir is None else Path(output_dir).expanduser().absolute()
    current = Pass(
        samples, label_field, model.mask_targets, recipe_of(model), overwrite=overwrite, output_dir=folder, shard=checked(shard)
    )
    with current.begun() as items:
        report = LabelingReport(total=len(items), skipped=current.size - len(items))
        try:
            yield report
            yield from _batches(current, items, model, report, batch_size, max(num_workers, 1), progress)
            patiently(current.record)
        except DatabaseError:
            raise  # the end can't be recorded either
        except BaseException:
            with suppress(DatasetError):  # the first error says more
                current.end(report.failures, is_complete=False)
            raise
        patiently(lambda: current.end(report.failures, is_complete=report.done == report.total))


def _batches(
    current: Pass,
    items: list[Item],
    model: ResCLIPModel,
    report: LabelingReport,
    batch_size: int | None,
    threads: int,
    progress: bool | None,
) -> Iterator[LabelingReport]:
    """Labels the images batch by batch, and yields the report after each batch."""
    reader, writer = model.build_get_item(), _Writer(current, len(model.mask_targets))

    def compute(inputs: list[Any]) -> list[LabelMap | Unreadable]:
        outcomes = model.label_maps(inputs)
        patiently(current.record)  # not earlier: a model that can't compute must not cost the masks that it would overwrite
        return outcomes

    batches = pipelined(
        items,
        read=lambda item: reader({"filepath": item.path}),
        compute=compute,
        encode=lambda item, outcome: writer.encode(item.id, outcome),
        write=lambda outcomes: patiently(lambda: writer.write(outcomes)),
        done=report.add,
        batch_size=batch_size or model.images_at_once,
        threads=threads,
        initializer=_compute_alone,
    )
    with closing(batches), fo.ProgressBar(total=report.total, progress=progress) as bar:
        for _ in batches:
            bar.set_iteration(report.done)
            report.stopped = patiently(lambda: current.stopped) and report.done < report.total
            yield report
            if report.stopped:
                break


def _compute_alone() -> None:
    """Keeps torch's loops in this thread from using other processors.

    OpenMP gives each thread that starts a parallel loop its own team of threads. If the teams have more threads than there are
    processors, all threads sleep between loops instead of spinning, and with few processors the network takes much longer.
    """
    torch.get_num_threads()  # initialises the thread now; later, that would undo the limit
    threadpool_limits(1, user_api="openmp")


class _Writer:
    """Saves masks, to files if there is a folder, otherwise to the database; saves labels to the database."""

    def __init__(self, current: Pass, n_classes: int) -> None:
        self.current, self.n_classes = current, n_classes

    def encode(self, sample_id: str, outcome: LabelMap | Unreadable) -> tuple[str, fo.Segmentation] | Unreadable:
        """Makes the label of one sample, and its mask file if there is a folder."""
        if isinstance(outcome, Unreadable):
            return outcome
        with storing(self.current.output_dir):
            return sample_id, masks.to_segmentation(outcome, self.n_classes, self.current.path(sample_id))

    def write(self, outcomes: list[tuple[str, fo.Segmentation] | Unreadable]) -> _Written:
        """Saves a batch, and checks that it arrived."""
        unreadable = {outcome.filepath: outcome.reason for outcome in outcomes if isinstance(outcome, Unreadable)}
        by_id = dict(outcome for outcome in outcomes if not isinstance(outcome, Unreadable))
        if not by_id:
            return _Written(0, 0, unreadable)
        # A view of frames copies what is set on it to the videos; select these frames, or each batch would copy all of them.
        samples = self.current.samples
        target = samples.select(list(by_id)) if self.current.of_frames else dataset_of(samples)
        target.set_values(self.current.label_field, by_id, key_field="id")
        gone = self.current.check(list(by_id), [label.id for label in by_id.values()])
        for sample_id in gone:
            self.current.remove(sample_id)
        return _Written(len(by_id) - len(gone), len(gone), unreadable)


def _check(samples: Any) -> None:
    if not isinstance(samples, fo.core.collections.SampleCollection):
        raise DatasetError(f"samples must be a FiftyOne dataset or view, but got {type(samples).__name__}")
    if len(samples) == 0:
        raise DatasetError("there are no images to label: the collection is empty; add samples or widen the view")
    if samples.media_type != IMAGE:
        raise DatasetError(
            f"samples must be images, but are of type {samples.media_type!r}; use select_group_slices() for groups, "
            "to_frames(sample_frames=True) for videos"
        )
    if dataset_of(samples) is not root_dataset_of(samples) and not isinstance(samples, FramesView):
        raise DatasetError(
            "samples must be of the dataset itself or frames of its videos: a view of patches or clips is a copy, and the masks "
            "would be lost with it; label the samples instead"
        )
