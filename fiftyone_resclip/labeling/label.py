"""Labels a dataset or view. A run can be resumed, and if a file can't be read, only its sample stays unlabelled.

The field is declared before anything is written, each batch is saved when it is done, and mask files are named by sample id. So a
run that is killed loses a few batches at most, and running it again continues where it stopped. Images are read and masks are
written while other batches are computed: :mod:`fiftyone_resclip.labeling.pipelining`, which also decides what happens on a stop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import fiftyone as fo
import torch
from fiftyone.core.media import IMAGE
from fiftyone.core.video import FramesView
from threadpoolctl import threadpool_limits

from fiftyone_resclip.core.labels import LabelMap
from fiftyone_resclip.errors import ConfigError, DatasetError
from fiftyone_resclip.fields import masks, schema
from fiftyone_resclip.fields.private import dataset_of, root_dataset_of
from fiftyone_resclip.labeling.pipelining import pipelined
from fiftyone_resclip.model import ResCLIPModel, Unreadable

Progress = Callable[["LabelingReport"], None]


class _Written(NamedTuple):
    """The outcome of a batch: how many samples got a mask, and the reason for each file that did not."""

    labelled: int
    failures: dict[str, str]


@dataclass
class LabelingReport:
    """The progress and outcome of a run.

    Attributes:
        total: samples to label
        labelled: samples that got a mask
        skipped: samples that had a mask already
        failures: reason by file, for images that could not be read
        seconds: time since the run began
    """

    total: int = 0
    labelled: int = 0
    skipped: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    _started: float = field(default_factory=time.monotonic, repr=False, compare=False)

    def add(self, batch: _Written) -> None:
        """Adds the counts of a finished batch."""
        self.labelled += batch.labelled
        self.failures |= batch.failures
        self.seconds = time.monotonic() - self._started

    @property
    def done(self) -> int:
        """Number of samples that are finished: labelled or failed."""
        return self.labelled + len(self.failures)

    @property
    def images_per_second(self) -> float:
        """The rate so far; 0 before the first batch."""
        return self.done / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        parts = [f"{self.labelled} of {self.total} images labelled in {self.seconds:.0f} s"]
        if self.skipped:
            parts.append(f"{self.skipped} had a label already and were left alone")
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
    progress: bool | Progress = True,
) -> LabelingReport:
    """Segments every image of a collection and stores the masks in a field.

    Args:
        samples: a FiftyOne dataset or view of images. For videos pass ``dataset.to_frames(sample_frames=True)``: the masks then
            also go to the field ``frames.<label_field>`` of the videos
        model: from :func:`fiftyone_resclip.load_model`
        label_field ("resclip"): field for the masks; created if it does not exist
        overwrite (False): whether samples that have a mask get a new one
        output_dir (None): folder for the masks as PNG, named by sample id; by default they go into the database
        batch_size (None): images per batch; their sizes may differ; by default 4 on a CPU and 16 on a GPU
        num_workers (2): number of threads that read images, and of threads that encode masks
        progress (True): whether to show a progress bar, or a function that gets the report before the first and after each batch

    Returns:
        the report; ``str(report)`` summarises it in one line

    Raises:
        ConfigError: if ``batch_size`` is below 1
        DatasetError: if there are no images, or the field does not hold masks, or it holds masks of other classes
    """
    for report in iter_label(
        samples, model, label_field, overwrite=overwrite, output_dir=output_dir, batch_size=batch_size, num_workers=num_workers,
        progress=progress is True,
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
    progress: bool = False,
) -> Iterator[LabelingReport]:
    """Does the work of :func:`label` batch by batch; each is saved before the report is yielded, so a caller can always stop.

    Yields:
        the same report, updated: once before the work, then after each batch
    """
    if batch_size is not None and batch_size < 1:
        raise ConfigError(f"batch_size must be at least 1, but got {batch_size}; leave it out to let the device decide")
    _check(samples)
    _make_room(samples, label_field, model, overwrite)
    schema.declare_field(dataset_of(samples), label_field, model.mask_targets)
    if isinstance(samples, FramesView):
        schema.declare_field(root_dataset_of(samples), f"frames.{label_field}", model.mask_targets)
    todo = samples if overwrite else samples.exists(label_field, False)
    report = LabelingReport(total=len(todo), skipped=len(samples) - len(todo))
    yield report
    paths, ids = todo.values(["filepath", "id"])
    reader, writer = model.build_get_item(), _Writer(samples, label_field, len(model.mask_targets), output_dir)
    batches = pipelined(
        list(zip(paths, ids, strict=True)),
        read=lambda item: reader({"filepath": item[0]}),
        compute=model.label_maps,
        encode=lambda item, outcome: writer.encode(item[1], outcome),
        write=writer.write,
        done=report.add,
        batch_size=batch_size or model.images_at_once,
        threads=max(num_workers, 1),
        initializer=_compute_alone,
    )
    with closing(batches), fo.ProgressBar(total=report.total, progress=progress) as bar:
        for _ in batches:
            bar.set_iteration(report.done)
            yield report


def _compute_alone() -> None:
    """Keeps torch's loops in this thread from using other processors.

    OpenMP gives each thread that starts a parallel loop its own team of threads. If the teams have more threads than there are
    processors, all threads sleep between loops instead of spinning, and with few processors the network takes much longer.
    """
    torch.get_num_threads()  # initialises the thread now; later, that would undo the limit
    threadpool_limits(1, user_api="openmp")


class _Writer:
    """Saves masks, to files if there is a folder, otherwise to the database; saves labels to the database."""

    def __init__(self, samples: Any, label_field: str, n_classes: int, output_dir: str | Path | None) -> None:
        self.samples, self.label_field, self.n_classes = samples, label_field, n_classes
        self.folder = None if output_dir is None else Path(output_dir).expanduser().absolute()

    def encode(self, sample_id: str, outcome: LabelMap | Unreadable) -> tuple[str, fo.Segmentation] | Unreadable:
        """Makes the label of one sample, and its mask file if there is a folder."""
        if isinstance(outcome, Unreadable):
            return outcome
        path = self.folder and self.folder / f"{sample_id}.png"
        return sample_id, masks.to_segmentation(outcome, self.n_classes, path)

    def write(self, outcomes: list[tuple[str, fo.Segmentation] | Unreadable]) -> _Written:
        """Saves a batch."""
        unreadable = {outcome.filepath: outcome.reason for outcome in outcomes if isinstance(outcome, Unreadable)}
        by_id = dict(outcome for outcome in outcomes if not isinstance(outcome, Unreadable))
        if by_id:
            # A view of frames copies what is set on it to the videos; select these frames, or each batch would copy all of them.
            frames = isinstance(self.samples, FramesView)
            target = self.samples.select(list(by_id)) if frames else dataset_of(self.samples)
            target.set_values(self.label_field, by_id, key_field="id")
        return _Written(len(by_id), unreadable)


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


def _make_room(samples: Any, label_field: str, model: ResCLIPModel, overwrite: bool) -> None:
    """Prevents a mix of old and new classes in one field: clears the field or raises an error."""
    dataset = dataset_of(samples)
    if isinstance(samples, FramesView):
        _refuse_other_frames(root_dataset_of(samples), f"frames.{label_field}", model)
    if not schema.has_masks(dataset, label_field) or dataset.mask_targets.get(label_field) == model.mask_targets:
        return
    own, all_masks = len(samples.exists(label_field)), len(dataset.exists(label_field))
    if all_masks > own or (own and not overwrite):
        before = dataset.mask_targets.get(label_field) or dataset.default_mask_targets
        raise DatasetError(
            f"field {label_field!r} holds masks of other classes ({', '.join(before.values()) or 'without names'}); "
            "use another field, or overwrite the whole field"
        )
    dataset.clear_sample_field(label_field)  # otherwise a killed run would leave old masks with new class names


def _refuse_other_frames(dataset: fo.Dataset, field: str, model: ResCLIPModel) -> None:
    """Does the check of :func:`_make_room` for the videos behind a view of frames; never clears their masks."""
    before = dataset.mask_targets.get(field)
    if schema.has_masks(dataset, field) and before != model.mask_targets and dataset.count(field):
        names = ", ".join((before or {}).values()) or "without names"
        raise DatasetError(f"field {field!r} of the videos holds masks of other classes ({names}); use another field")
