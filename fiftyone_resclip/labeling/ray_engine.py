"""Labels a collection with the actors of a Ray cluster: ids go in, each actor writes the masks of its ids, counts come out.

The field is the checkpoint: a mask that is written twice is the same mask, so whatever Ray repeats after a failure does no harm.
Retries, back-pressure and placement are Ray's. ``pip install "fiftyone-resclip[ray]"`` brings it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import fiftyone as fo
import torch

from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.errors import ConfigError, ResCLIPError
from fiftyone_resclip.fields.patience import patiently
from fiftyone_resclip.fields.private import database_uri
from fiftyone_resclip.labeling.batches import CLUES, LabelingReport, Written, batches
from fiftyone_resclip.labeling.passes import Item, Pass
from fiftyone_resclip.labeling.writers import Writer
from fiftyone_resclip.model import ResCLIPModel, make_model

_ITEMS_AT_ONCE = 64  # what is repeated if an actor dies
_CPUS_EACH = 4


class Task(NamedTuple):
    """What an actor must know to go on with a pass that the driver began.

    Attributes:
        dataset: name of the dataset
        arguments: arguments of the :class:`Pass`, apart from its samples
        key: key of the run
        file_mark: what stands in the names of the pass's mask files
        writer: the driver
        batch_size: images per batch; ``None`` lets the device decide
        threads: number of threads that read images, and of threads that encode masks
    """

    dataset: str
    arguments: Mapping[str, Any]
    key: str
    file_mark: str
    writer: Writer
    batch_size: int | None
    threads: int


class Labeller:
    """Labels images in an actor.

    Args:
        task: the pass
        model: the model; moved to the actor's GPU if it has one
        cpus: the actor's share of processors
    """

    def __init__(self, task: Task, model: ResCLIPModel, cpus: int) -> None:
        torch.set_num_threads(cpus)
        self.task, self.model = task, _on_gpu(model) if torch.cuda.is_available() else model
        self.current = Pass(fo.load_dataset(task.dataset), **task.arguments)
        self.current.join(task.key, task.file_mark, task.writer)

    def __call__(self, rows: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Labels some images and saves the masks.

        Args:
            rows: ``"path"`` and ``"id"`` of the images

        Returns:
            one row: how many images are ``"labelled"`` and how many ``"gone"``, which files ``"failed"`` and the ``"reasons"``
        """
        items = [Item(str(path), str(sample)) for path, sample in zip(rows["path"], rows["id"], strict=True)]
        report = LabelingReport(total=len(items))
        for _ in batches(self.current, items, self.model, report, self.task.batch_size, self.task.threads):
            pass
        failed, reasons = list(report.failures), list(report.failures.values())
        counts = {name: [getattr(report, name)] for name in ("labelled", "gone", *CLUES)}
        return {**counts, "failed": [failed], "reasons": [reasons]}


def cluster(current: Pass, address: str | None) -> Callable[..., Iterator[LabelingReport]]:
    """Returns a function that does what :func:`~fiftyone_resclip.labeling.batches.batches` does, on a Ray cluster.

    Args:
        current: the pass
        address: address of the cluster; ``None`` for the one of this machine, or a new one

    Raises:
        ConfigError: if Ray is not installed, or the images are frames of videos
    """
    try:
        import ray.data
    except ImportError as error:
        raise ConfigError('engine="ray" needs Ray; install it with: pip install "fiftyone-resclip[ray]"') from error
    if current.of_frames:
        raise ConfigError('engine="ray" labels images, but these are frames of videos; leave the engine out')

    def label_on_cluster(
        current: Pass, items: list[Item], model: ResCLIPModel, report: LabelingReport, batch_size: int | None, threads: int
    ) -> Iterator[LabelingReport]:
        if not items:
            return
        patiently(current.record)  # before the first image, because the actors write on their own
        began = not ray.is_initialized()
        if began:
            ray.init(address=address, log_to_driver=False)
        try:
            for row in _rows(ray, current, items, model, batch_size, threads):
                failures = dict(zip(row["failed"], row["reasons"], strict=True))
                for name in CLUES:
                    setattr(report, name, getattr(report, name) + int(row[name]))
                report.add(Written(int(row["labelled"]), int(row["gone"]), len(row["failed"]), failures))
                report.stopped = patiently(lambda: current.tell(report.progress)) and report.done < report.total
                yield report
                if report.stopped:
                    return
        except ray.exceptions.RayError as error:
            raise _own_error(error) from error
        finally:
            if began:
                ray.shutdown()

    return label_on_cluster


def _rows(
    ray: Any, current: Pass, items: list[Item], model: ResCLIPModel, batch_size: int | None, threads: int
) -> Iterator[dict[str, Any]]:
    """Yields what each call of an actor returned."""
    import pyarrow

    task = Task(current.dataset.name, current.arguments, *current.joint(), batch_size, threads)
    resources = ray.cluster_resources()
    gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
    actors = gpus or max(1, cpus // _CPUS_EACH)
    share = max(1, min(_CPUS_EACH, cpus // actors))
    parts = [items[start : start + _ITEMS_AT_ONCE] for start in range(0, len(items), _ITEMS_AT_ONCE)]
    tables = [pyarrow.table({name: [getattr(item, name) for item in part] for name in Item._fields}) for part in parts]
    ray.data.DataContext.get_current().enable_progress_bars = False
    rows = ray.data.from_arrow(tables).map_batches(
        Labeller,
        fn_constructor_args=(task, model, share),
        batch_size=_ITEMS_AT_ONCE,
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_gpus=1 if gpus else 0,
        num_cpus=share,
        max_restarts=-1,
        runtime_env={"env_vars": {"FIFTYONE_DATABASE_URI": database_uri(), "FIFTYONE_DATABASE_NAME": fo.config.database_name}},
    )
    yield from rows.iter_rows()


def _on_gpu(model: ResCLIPModel) -> ResCLIPModel:
    segmenter = model.segmenter
    backbone = Backbone(segmenter.backbone.model.cuda(), segmenter.backbone.tokenizer, segmenter.backbone.name)
    return make_model(backbone, segmenter.vocabulary, segmenter.config, segmenter.taught)


def _own_error(error: BaseException) -> BaseException:
    """Returns the error of ours that an actor raised, or Ray's own if there is none."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ResCLIPError):
            return cause
        cause = getattr(cause, "cause", None) or cause.__cause__
    return error
