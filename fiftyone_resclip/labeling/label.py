"""Labels a dataset or view. A run can be resumed, and if a file can't be read, only its sample stays unlabelled.

Each batch is saved when it is done, and each label has a mask file of its own. So a run that is killed loses a few batches at
most, and running it again continues where it stopped: :mod:`fiftyone_resclip.labeling.passes`. Images are read and masks are
written while other batches are computed: :mod:`fiftyone_resclip.labeling.pipelining`, which also decides what happens on a stop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import fiftyone as fo
from fiftyone.core.media import IMAGE
from pymongo.errors import PyMongoError

from fiftyone_resclip.checks import check_known, check_switch, check_whole, checked_path
from fiftyone_resclip.errors import ConfigError, DatabaseError, DatasetError
from fiftyone_resclip.evidence.clues import check_clues
from fiftyone_resclip.fields import names
from fiftyone_resclip.fields.arguments import checked_collection
from fiftyone_resclip.fields.companions import Kind
from fiftyone_resclip.fields.patience import patiently
from fiftyone_resclip.fields.private import dataset_of, is_frames_view, root_dataset_of
from fiftyone_resclip.labeling.batches import LabelingReport, batches
from fiftyone_resclip.labeling.passes import Pass
from fiftyone_resclip.labeling.recipe import recipe_of
from fiftyone_resclip.labeling.sharding import Shard, checked
from fiftyone_resclip.model import ResCLIPModel, checked_model

Progress = Callable[[LabelingReport], None]
Engine = Literal["local", "ray"]


def label(
    samples: Any,
    model: ResCLIPModel,
    label_field: str = "resclip",
    *,
    overwrite: bool | str = False,
    output_dir: str | Path | None = None,
    regions: str | None = None,
    present: str | None = None,
    summary: bool = True,
    confidence_maps: bool = False,
    batch_size: int | None = None,
    num_workers: int = 2,
    shard: Shard | None = None,
    engine: Engine = "local",
    address: str | None = None,
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
            stopped. To lose masks that no labelling run made, such as ground truth, give the name of the field again
        output_dir (None): folder for the masks as PNG, ``<dataset id>/<field>/<sample id>-<pass>.png``; by default they go into
            the database
        regions (None): field of outlines whose classes do not matter, such as SAM's masks: Detections with masks, Polylines or a
            Segmentation. The pixels of each region vote for one class. Images without regions get the masks they would get anyway
        present (None): field that names the classes in an image: tags, Classifications or Detections. Only these compete there,
            and the background; where none is named, all do
        summary (True): whether to store, in the same write, which classes each image has: ``<label_field>_classes``, one
            ``Classification`` for each, with its ``share`` of the pixels and their mean ``confidence``, so that the App filters
            by class and sorts by share; see :func:`fiftyone_resclip.summarize`
        confidence_maps (False): whether to store the confidence of each pixel as heat maps of 8 bits, in
            ``<label_field>_confidence``; needs ``output_dir``
        batch_size (None): images per batch; their sizes may differ; by default 4 on a CPU and 16 on a GPU
        num_workers (2): number of threads that read images, and of threads that encode masks
        shard (None): index and number of parts, such as ``(0, 4)``, to label one part here and the others in other processes,
            also on other machines; by default everything
        engine ("local"): ``"ray"`` shares the work among the actors of a Ray cluster; see ``docs/SCALE.md``
        address (None): address of the cluster; by default that of this machine, or a new one
        progress (None): whether to show a progress bar, by default FiftyOne's setting; or a function that gets a report of its
            own before the first and after each batch

    Returns:
        the report; ``str(report)`` summarises it in one line

    Raises:
        ConfigError: if the model is none, ``batch_size`` is below 1, ``shard`` is not an index below a number of parts,
            ``engine`` is unknown or can't do this, ``confidence_maps`` have no folder, or another argument is of the wrong kind
        DatasetError: if there are no images, the field does not hold masks or holds masks made in another way, another process
            labels it, or the dataset or field is deleted meanwhile
        StorageError: if masks can't be written
    """
    if not (progress is None or isinstance(progress, bool) or callable(progress)):
        raise ConfigError(f"progress must be True, False, None or a function, but got {progress!r}")
    for report in iter_label(
        samples, model, label_field, overwrite=overwrite, output_dir=output_dir, regions=regions, present=present,
        summary=summary, confidence_maps=confidence_maps, batch_size=batch_size, num_workers=num_workers, shard=shard,
        engine=engine, address=address, progress=False if callable(progress) else progress,
    ):  # fmt: skip
        if callable(progress):
            progress(replace(report, failures=dict(report.failures)))
    return report


def iter_label(
    samples: Any,
    model: ResCLIPModel,
    label_field: str,
    *,
    overwrite: bool | str = False,
    output_dir: str | Path | None = None,
    regions: str | None = None,
    present: str | None = None,
    summary: bool = True,
    confidence_maps: bool = False,
    batch_size: int | None = None,
    num_workers: int = 2,
    shard: Shard | None = None,
    engine: Engine = "local",
    address: str | None = None,
    progress: bool | None = False,
) -> Iterator[LabelingReport]:
    """Does the work of :func:`label` batch by batch; each is saved before the report is yielded, so a caller can always stop.

    Yields:
        the same report, updated: once before the work, then after each batch
    """
    model = checked_model(model)
    check_request(
        samples, label_field, overwrite=overwrite, output_dir=output_dir, regions=regions, present=present, summary=summary,
        confidence_maps=confidence_maps, batch_size=batch_size, num_workers=num_workers, engine=engine,
    )  # fmt: skip
    batch_size, num_workers = batch_size and int(batch_size), int(num_workers)  # 4.0 is a whole number, too
    folder = None if output_dir is None else Path(output_dir).expanduser().absolute()
    recipe = recipe_of(model, regions=regions, present=present)
    wanted: dict[Kind, bool] = {"classes": summary, "confidence": confidence_maps}
    current = Pass(
        samples, label_field, model.mask_targets, recipe, overwrite=bool(overwrite), foreign=isinstance(overwrite, str),
        output_dir=folder, shard=checked(shard), beside=tuple(kind for kind, is_wanted in wanted.items() if is_wanted),
    )  # fmt: skip
    steps: Callable[..., Iterator[LabelingReport]] = batches
    if engine == "ray":
        from fiftyone_resclip.labeling.ray_engine import cluster

        steps = cluster(current, address)
    with current.begun() as items:
        report = LabelingReport(total=len(items), skipped=current.size - len(items))
        try:
            patiently(lambda: current.tell(report.progress))
            yield report
            with fo.ProgressBar(total=report.total, progress=progress) as bar:
                for _ in steps(current, items, model, report, batch_size, max(num_workers, 1)):
                    bar.set_iteration(report.done)
                    yield report
            patiently(lambda: current.record(has_readable=not items or report.labelled > 0))
        except DatabaseError:
            raise  # the end can't be recorded either
        except BaseException:
            with suppress(DatasetError, PyMongoError):  # the first error says more
                current.end(report.failures, is_complete=False)
            raise
        missing = patiently(lambda: current.end(report.failures, is_complete=report.done == report.total))
        tried = sum(item.id in missing for item in items)
        lost = max(tried - report.gone, 0)  # saved, and removed by somebody else since, or lost by the database
        report.labelled, report.gone = report.labelled - lost, report.gone + lost
        report.skipped -= len(missing) - tried


def check_request(
    samples: Any,
    label_field: object,
    *,
    overwrite: object,
    output_dir: object,
    regions: str | None,
    present: str | None,
    summary: object,
    confidence_maps: object,
    batch_size: int | None,
    num_workers: int,
    engine: object,
) -> None:
    """Refuses what :func:`label` would refuse, as far as that does not depend on the model.

    Args:
        samples: as for :func:`label`, as are all the others
        label_field: field for the masks
        overwrite: whether samples that have a mask get a new one
        output_dir: folder for the masks
        regions: field of outlines
        present: field that names classes
        summary: whether to store which classes each image has
        confidence_maps: whether to store the confidence of each pixel
        batch_size: images per batch
        num_workers: number of threads
        engine: what does the work

    Raises:
        ConfigError: if a setting is out of range or of the wrong kind
        DatasetError: if the samples or a field can't be used
    """
    if batch_size is not None:
        check_whole("batch_size", batch_size, 1, "; leave it out to let the device decide")
    check_whole("num_workers", num_workers, 0)
    if overwrite not in (label_field, f"frames.{label_field}"):
        check_switch(f"overwrite, unless it is the name {label_field!r},", overwrite)
    check_switch("summary", summary)
    check_switch("confidence_maps", confidence_maps)
    if confidence_maps and output_dir is None:
        raise ConfigError("confidence_maps are files, but there is no folder for them; pass output_dir")
    check_known("engine", engine, get_args(Engine))
    names.checked_field(label_field)
    if output_dir is not None:
        checked_path("output_dir", output_dir)
    patiently(lambda: _check_images(samples))
    patiently(lambda: check_clues(samples, regions, present))


def _check_images(samples: Any) -> None:
    if checked_collection(samples).count() == 0:  # len() is an estimate, which is wrong after a crash of the database
        raise DatasetError("there are no images to label: the collection is empty; add samples or widen the view")
    if samples.media_type != IMAGE:
        raise DatasetError(
            f"samples must be images, but are of type {samples.media_type!r}; use select_group_slices() for groups, "
            "to_frames(sample_frames=True) for videos"
        )
    if dataset_of(samples) is not root_dataset_of(samples) and not is_frames_view(samples):
        raise DatasetError(
            "samples must be of the dataset itself or frames of its videos: a view of patches or clips is a copy, and the masks "
            "would be lost with it; label the samples instead"
        )
