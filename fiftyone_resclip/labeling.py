"""Labels a view: resumable, and a file that can't be read costs that one sample.

The field is declared before anything is written, each batch is saved when it is done, and mask files are named by sample id. So a
run that is killed loses at most one batch, and running it again takes up where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fiftyone as fo
from fiftyone.core.media import IMAGE
from torch.utils.data import DataLoader, Dataset

from fiftyone_resclip import masks
from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.model import Picture, PictureReader, ResCLIPModel, Unreadable

Progress = Callable[["LabelingReport"], None]


@dataclass
class LabelingReport:
    """What a run did, while it runs and at its end.

    Attributes:
        total: samples to do
        labelled: samples that got a mask
        skipped: samples that had one already
        failures: reason by file, for images that could not be read
        seconds: since the run began
    """

    total: int = 0
    labelled: int = 0
    skipped: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def done(self) -> int:
        """Samples that need no more work."""
        return self.labelled + len(self.failures)

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
    batch_size: int = 4,
    num_workers: int = 0,
    progress: bool | Progress = True,
) -> LabelingReport:
    """Segments every image of a collection into a field.

    Args:
        samples: a FiftyOne dataset or view of images
        model: from :func:`fiftyone_resclip.load_model`
        label_field ("resclip"): where the masks go; made if it is new
        overwrite (False): whether samples that have a mask get a new one
        output_dir (None): folder for the masks as PNG, named by sample id; by default they go into the database
        batch_size (4): images at once; sizes may differ
        num_workers (0): processes that read images
        progress (True): a bar, none, or a function that gets the report after each batch

    Returns:
        the report; ``str(report)`` is one line for people

    Raises:
        DatasetError: if there are no images, or the field holds something else or masks of other classes
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
    batch_size: int = 4,
    num_workers: int = 0,
    progress: bool = False,
) -> Iterator[LabelingReport]:
    """Does the work of :func:`label` batch by batch; what was yielded is saved, so a caller may stop at any time.

    Yields:
        the same report, updated: once before the work, then after each batch
    """
    _check(samples)
    _make_room(samples, label_field, model, overwrite)
    masks.declare_field(samples._dataset, label_field, model.mask_targets)
    todo = samples if overwrite else samples.exists(label_field, False)
    report = LabelingReport(total=len(todo), skipped=len(samples) - len(todo))
    started = time.monotonic()
    yield report
    paths, ids = todo.values(["filepath", "id"])
    loader: DataLoader[Any] = DataLoader(
        _Pictures(paths, model.build_get_item()), batch_size=batch_size, num_workers=num_workers, collate_fn=model.collate_fn
    )
    with fo.ProgressBar(total=report.total, progress=progress) as bar:
        for number, batch in enumerate(loader):
            batch_ids = ids[number * batch_size : number * batch_size + len(batch)]
            labels = model.predict_all(batch)
            _save(samples, label_field, batch_ids, labels, output_dir)
            report.labelled += sum(label is not None for label in labels)
            report.failures.update({b.filepath: b.reason for b in batch if isinstance(b, Unreadable)})
            report.seconds = time.monotonic() - started
            bar.update(len(batch))
            yield report


class _Pictures(Dataset[Picture | Unreadable]):
    """The images of a list of files, for a data loader."""

    def __init__(self, paths: Sequence[str], reader: PictureReader) -> None:
        self.paths, self.reader = paths, reader

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Picture | Unreadable:
        return self.reader({"filepath": self.paths[index]})


def _check(samples: Any) -> None:
    if not isinstance(samples, fo.core.collections.SampleCollection):
        raise DatasetError(f"samples must be a FiftyOne dataset or view, but got {type(samples).__name__}")
    if len(samples) == 0:
        raise DatasetError("there are no images to label: the collection is empty; add samples or widen the view")
    if samples.media_type != IMAGE:
        raise DatasetError(
            f"samples must be images, but are of type {samples.media_type!r}; use select_group_slices() for groups, "
            "dataset.apply_model(model, 'frames.resclip') for videos"
        )
    if samples._dataset is not samples._root_dataset:
        raise DatasetError(
            "samples must be of the dataset itself: a view of frames, patches or clips is a copy that would take the masks with "
            "it; label the samples, or use apply_model for the frames of videos"
        )


def _make_room(samples: Any, label_field: str, model: ResCLIPModel, overwrite: bool) -> None:
    """Keeps masks that mean something else from getting our class names, and the other way round."""
    dataset = samples._dataset
    if not masks.has_masks(dataset, label_field) or dataset.mask_targets.get(label_field) == model.mask_targets:
        return
    own, all_masks = len(samples.exists(label_field)), len(dataset.exists(label_field))
    if all_masks > own or (own and not overwrite):
        before = dataset.mask_targets.get(label_field) or dataset.default_mask_targets
        raise DatasetError(
            f"field {label_field!r} holds masks of other classes ({', '.join(before.values()) or 'without names'}); "
            "use another field, or overwrite the whole of it"
        )
    dataset.clear_sample_field(label_field)  # else a kill in the middle would leave old values under new names


def _save(
    samples: Any, label_field: str, ids: Sequence[str], labels: Sequence[fo.Segmentation | None], output_dir: str | Path | None
) -> None:
    by_id = {sample_id: label for sample_id, label in zip(ids, labels, strict=True) if label is not None}
    if output_dir is not None:
        for sample_id, segmentation in by_id.items():
            path = Path(output_dir).expanduser().absolute() / f"{sample_id}.png"
            masks.write_mask(segmentation.mask, path)
            segmentation.mask, segmentation.mask_path = None, str(path)
    if by_id:
        samples._dataset.set_values(label_field, by_id, key_field="id")
