"""A pass: one time that a run labels its samples. Decides what is left to do, refuses to mix masks, and records how it ended.

Nothing is changed before the first batch was computed. Then, in one step that excludes other processes, masks that the user
wants to overwrite are removed, the field is declared and the pass is recorded. Each pass names its mask files anew, so a copy of
the field or dataset keeps those that it was made from.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import fiftyone as fo

from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.fields import companions, schema
from fiftyone_resclip.fields.exclusive import exclusive
from fiftyone_resclip.fields.folder_watch import FolderWatch, missing_files
from fiftyone_resclip.fields.mask_files import is_own, mask_path, remove_unused, written_by
from fiftyone_resclip.fields.patience import patiently
from fiftyone_resclip.fields.private import (
    count_labels,
    count_samples,
    dataset_id,
    dataset_of,
    is_frames_view,
    labels_of,
    remove_labels,
    root_dataset_of,
    stages_of,
    stored,
    stored_stages,
)
from fiftyone_resclip.labeling import records, runs
from fiftyone_resclip.labeling.mixing import refuse_busy, refuse_mixing
from fiftyone_resclip.labeling.recipe import Recipe, differences, versions
from fiftyone_resclip.labeling.runs import LabelRun
from fiftyone_resclip.labeling.sharding import Shard, is_in
from fiftyone_resclip.labeling.writers import Presence, Progress, Writer

logger = logging.getLogger(__name__)

_STAGE_CHARS = 200
_WITNESSES = 100


class Item(NamedTuple):
    """An image to label."""

    path: str
    id: str


class Pass:
    """One pass over a collection.

    Args:
        samples: a FiftyOne dataset or view of images
        label_field: the field for the masks
        targets: class name by mask value
        recipe: what decides the masks
        overwrite (False): whether samples that have a mask get a new one
        output_dir (None): folder for mask files
        shard ((0, 1)): index and number of the part of the samples that this process labels
        beside (()): what is stored beside the masks

    Attributes:
        dataset: the dataset that the user opened
        field: the field as that dataset knows it; starts with ``frames.`` for frames of videos
        size: number of images in the shard, once the pass has begun
        companions: the fields beside the masks that the run has, by kind; all that are wanted once the pass is recorded
    """

    def __init__(
        self,
        samples: Any,
        label_field: str,
        targets: schema.MaskTargets,
        recipe: Recipe,
        *,
        overwrite: bool = False,
        foreign: bool = False,
        output_dir: Path | None = None,
        shard: Shard = (0, 1),
        beside: tuple[companions.Kind, ...] = (),
    ) -> None:
        self.samples, self.label_field, self.targets, self.recipe = samples, label_field, targets, recipe
        self.overwrite, self.output_dir, self.shard, self.beside = overwrite, output_dir, shard, beside
        self._foreign = foreign
        self.dataset: fo.Dataset = root_dataset_of(samples)
        self.of_frames = is_frames_view(samples)
        self.field = f"frames.{label_field}" if self.of_frames else label_field
        #: What makes an equal pass over other samples of the same dataset.
        self.arguments = {
            "label_field": label_field, "targets": targets, "recipe": recipe, "overwrite": overwrite, "foreign": foreign,
            "output_dir": output_dir, "shard": shard, "beside": beside,
        }  # fmt: skip
        self.size = 0
        self.companions: dict[companions.Kind, str] = {}
        self._key: str | None = None
        self._id, self._file_mark, self._is_idle = "", "", False
        self._made_field = False
        self._every: dict[str, Item] = {}
        self._mine: list[Item] = []
        self._witnesses: dict[str, str] = {}  # labels by sample that must still be there unless somebody removed them
        folder = self.path("")
        self._folder = None if folder is None else FolderWatch(folder.parent)

    @contextmanager
    def begun(self) -> Iterator[list[Item]]:
        """Announces this process as a writer of the field while the block lasts.

        Yields:
            the images of this shard that are left to label

        Raises:
            DatasetError: if the field can't be used, another process fills it, or masks of different origin would be mixed
        """
        paths, ids = patiently(lambda: self.samples.values(["filepath", "id"]))
        self._every = {sample: Item(path, sample) for path, sample in zip(paths, ids, strict=True)}
        self._digest = _hash(sorted(self._every))
        items = [item for item in self._every.values() if is_in(self.shard, item.id)]
        self._mine, self.size = items, len(items)
        work = _hash([self.recipe, *([self._digest, self.overwrite] if self.shard[1] > 1 else [])])
        self._presence = Presence(Writer(str(dataset_id(self.dataset)), self.field, work, self.shard))
        with self._presence, self._folder or nullcontext():
            patiently(self._announce)
            left = patiently(lambda: self._left(items))
            self._is_idle = not left
            yield left

    def _announce(self) -> None:
        with exclusive(self.dataset):
            for field, dataset in ((self.field, self.dataset), (self.label_field, dataset_of(self.samples))):
                schema.has_masks(dataset, field)
            refuse_busy(self.dataset, self._presence.writer)
            run = self._run()
            self.companions = {} if run is None else companions.find(self.dataset, run.file_mark)
            self._refuse_mixing(run)
            self._refuse_other_samples(run)
            self._presence.announce()

    def path(self, sample_id: str) -> Path | None:
        """Returns the path of a sample's mask file; ``None`` if masks go into the database."""
        return self.output_dir and mask_path(self.output_dir, self.dataset, self.field, f"{sample_id}-{self._file_mark}")

    def heatmap_path(self, sample_id: str) -> Path | None:
        """Returns the path of a sample's heat map of confidence; ``None`` if there is none."""
        path = self.path(sample_id)
        return path and path.with_stem(f"{path.stem}-confidence") if "confidence" in self.companions else None

    def tell(self, progress: Progress) -> bool:
        """Tells others how far this process is, and returns whether someone asked it to stop."""
        return self._presence.tell(progress)

    def join(self, key: str, file_mark: str, writer: Writer) -> None:
        """Makes this process a helper of the one that began and recorded the pass, and that will record its end.

        Args:
            key: key of the run
            file_mark: what stands in the names of the pass's mask files
            writer: the process that began the pass
        """
        self._key, self._file_mark, self._presence = key, file_mark, Presence(writer)
        self.companions = companions.find(self.dataset, self._mark)
        if self._folder is not None:
            self._folder.__enter__()  # for as long as the helper lives

    def joint(self) -> tuple[str, str, Writer]:
        """Returns what helpers need for :meth:`join`, once the pass is recorded."""
        if self._key is None:
            raise RuntimeError("the pass is not recorded yet")
        return self._key, self._file_mark, self._presence.writer

    def record(self, has_readable: bool = True) -> None:
        """Removes masks that are to be overwritten, declares the field and records the pass; does nothing the second time.

        Args:
            has_readable (True): whether any image could be read

        Raises:
            DatasetError: if none could be read, and masks were to be overwritten
        """
        if self._key is not None:
            return
        if self._folder is not None:
            self._folder.prepare()
        with exclusive(self.dataset):
            self.refuse_dead()
            run = self._run()
            self._refuse_mixing(run)
            if not has_readable and self.overwrite and self._labels():
                raise DatasetError(f"none of the {self.size} images could be read, so their masks were left alone")
            if run is not None and self._is_idle and not self._continues(run):
                return  # everything has a mask already, and the last pass has ended
            outdated: list[Path] = []
            if run is None or not self._continues(run):
                outdated = self._clear(run)
                run = self._with_new_pass(run)
            last = records.begun(run.passes[-1], self.shard[0])
            self._file_mark = f"{run.file_mark}-{last['number']}"
            self._made_field = not schema.has_masks(self.dataset, self.field)
            self._declare(run.key)
            runs.save_run(self.dataset, replace(run, versions=versions(), passes=(*run.passes[:-1], last)))
            self._key, self._id = run.key, last["id"]
            remove_unused(outdated)  # a folder that is read-only now keeps files that nothing needs

    def refuse_dead(self) -> None:
        """Raises a DatasetError if another process took this one for dead and may have labelled the field in another way."""
        self._presence.refuse_dead()

    def refuse_misplaced(self) -> None:
        """Checks whether a mask file may be written now; see :meth:`refuse_dead`.

        Raises:
            StorageError: if the folder for mask files was taken away
        """
        if self._folder is not None:
            self._folder.check()

    def check(self, ids: list[str], labels: list[str]) -> list[str]:
        """Checks after a write that the labels and their field are in the database.

        Args:
            ids: ids of the samples that were written
            labels: ids of their labels

        Returns:
            the ids of the samples that are gone; their mask files are removed, unless they belong to other labels now

        Raises:
            DatasetError: if the dataset or the field was deleted, or another process took this one for dead; the labels are
                removed again
        """
        present = labels_of(self.dataset, self.field, ids)
        if not present and stored(self.dataset) is None:
            raise DatasetError(f"dataset {self.dataset.name!r} was deleted while it was labelled")
        try:
            self.refuse_dead()
        except DatasetError:  # it slept just before it wrote
            self._remove_labels(ids, labels)
            raise
        if not self._is_declared():
            self._restore(ids, labels)
        found = {label for label, _ in present.values()}
        self._witnesses = {sample: label for sample, label in zip(ids, labels, strict=True) if label in found} or self._witnesses
        gone = [sample for sample, label in zip(ids, labels, strict=True) if label not in found]
        self._remove_files([sample for sample in gone if sample not in present])
        return gone

    def end(self, failures: Mapping[str, str], is_complete: bool) -> set[str]:
        """Records how the pass ended, and repairs the declaration of the field if another program removed it.

        Args:
            failures: reason by file, for images that got no mask
            is_complete: whether all images of this shard were tried

        Returns:
            the images of this shard that could be read, and have no mask now, though they were tried or had one; none if it is
            not complete

        Raises:
            DatasetError: if the field was deleted, or another process took this one for dead
        """
        if self._key is None:
            return set()
        labels = _whole(self._labels()) if is_complete else set(self._labels())  # not within the lock: there may be millions
        with exclusive(self.dataset):
            self.refuse_dead()
            if is_complete and not self._is_declared() and self._is_there([]):
                self._declare(self._key)
            run = self._run()
            if run is None:
                if is_complete:
                    raise DatasetError(runs.loss(self.dataset, str(self._key), self.field))
                return set()
            if self._wrote_nothing():
                runs.withdraw(self.dataset, run)
                return set()
            missing = {item.id for item in self._mine if is_complete and item.id not in labels and item.path not in failures}
            lost = count_samples(dataset_of(self.samples), list(missing))
            if lost:
                logger.warning("%d masks of field %r were removed while it was labelled", lost, self.field)
            how: records.Ending = "done" if is_complete and not lost else "stopped"
            mended = {item.path for item in self._every.values() if item.id in labels}
            parts = {part["id"]: part for part in run.passes}
            if self._id in parts:
                parts[self._id] = records.ended(parts[self._id], self.shard[0], how, len(labels), failures, mended)
            runs.save_run(self.dataset, replace(run, passes=tuple(parts.values())))
            if records.is_finished(list(parts.values())[-1]):  # no shard is writing, so files that no label names are of no use
                named = runs.files(self.dataset, runs.own_fields(self.dataset, run))
                remove_unused(set(written_by(run.file_mark, runs.folders(self.dataset, run))) - named)
        return missing

    def _wrote_nothing(self) -> bool:
        """Whether the field exists only because of this pass, and has no mask, as when the folder for masks is read-only."""
        alone = self._made_field and self.shard[1] == 1 and not self._witnesses
        return alone and not count_labels(self.dataset, self.field)

    def _run(self) -> LabelRun | None:
        return runs.run_of(self.dataset, self.field)

    def _refuse_mixing(self, run: LabelRun | None) -> None:
        overwritten = None if self.of_frames else len(self._labels()) if self.overwrite else 0
        refuse_mixing(self.dataset, self.field, run, self.recipe, self.targets, overwritten, foreign=self._foreign)

    def _refuse_other_samples(self, run: LabelRun | None) -> None:
        """Refuses a shard whose samples are not those of the shards that began: they would undo each other's work."""
        if run is None or not run.passes or self.shard[1] == 1:
            return
        last = run.passes[-1]
        unfinished = last["shards"] == self.shard[1] and last["samples"] is not None and not records.is_finished(last)
        if unfinished and not differences(run.recipe, self.recipe) and not self._continues(run):
            raise DatasetError(
                f"the shards of run {run.key!r} must label the same {last['images']} samples with the same overwrite, but this "
                f"one was given {len(self._every)}; pass the same view to all, or finish the run without shard first"
            )

    def _left(self, items: list[Item]) -> list[Item]:
        """Lists what is still to label: images without a mask, or whose mask file is gone."""
        run = self._run()
        if self.overwrite and (run is None or not self._continues(run)):
            return items
        labels = self._labels()
        self._witnesses = {sample: label for sample, (label, _) in list(labels.items())[:_WITNESSES]}
        done = _whole(labels)
        return [item for item in items if item.id not in done]

    def _labels(self) -> dict[str, tuple[str, tuple[str, ...]]]:
        return labels_of(self.dataset, self.field, list(self._every), self.companions.get("confidence"))

    @property
    def _mark(self) -> str:
        """What stands in the names of all files of the run."""
        return self._file_mark.rpartition("-")[0]

    def _continues(self, run: LabelRun) -> bool:
        """Whether the last pass of a run is this one, not finished yet: killed, stopped, or begun by another shard."""
        if not run.passes or differences(run.recipe, self.recipe):
            return False
        last = run.passes[-1]
        mine = {"samples": self._digest, "overwrite": self.overwrite, "shards": self.shard[1]}
        return all(last[name] == value for name, value in mine.items()) and not records.is_finished(last)

    def _with_new_pass(self, run: LabelRun | None) -> LabelRun:
        folder = self.path("")
        if run is None:
            run = LabelRun(runs.new_key(self.dataset, self.field), self.field, self.recipe, {}, file_mark=uuid4().hex[:12])
        new = records.new(
            run.passes[-1] if run.passes else None,
            samples=self._digest,
            view=[stage[:_STAGE_CHARS] for stage in stages_of(self.samples)],
            stages=stored_stages(self.samples),
            images=len(self._every),
            overwrite=self.overwrite,
            shards=self.shard[1],
            folder=None if folder is None else str(folder.parent),
        )
        output_dir = run.output_dir if self.output_dir is None else str(self.output_dir)
        return replace(run, recipe=self.recipe, output_dir=output_dir, passes=(*run.passes, new))

    def _clear(self, run: LabelRun | None) -> list[Path]:
        """Removes the labels that are to be overwritten. Otherwise a killed pass would leave old masks with new class names.

        Returns:
            their mask files
        """
        labels = self._labels() if self.overwrite and not self.of_frames else {}
        if labels and run is not None:  # before the first mask goes, because this process may be killed at any moment
            runs.save_run(self.dataset, replace(run, passes=(*run.passes[:-1], records.voided(run.passes[-1]))))
        self._remove_labels(list(labels))
        return [Path(path) for _, paths in labels.values() for path in paths if is_own(path, self.dataset)]

    def _remove_labels(self, ids: list[str], labels: list[str] | None = None) -> None:
        remove_labels(self.dataset, self.field, ids, labels, companions=self.companions.values())

    def _is_declared(self) -> bool:
        return schema.is_declared(self.dataset, self.field, self.targets, [self.companions[kind] for kind in self.beside])

    def _declare(self, key: str | None) -> None:
        schema.declare_field(self.dataset, self.field, self.targets, run=key)
        self.companions |= {kind: companions.declare(self.dataset, self.field, self._mark, kind) for kind in self.beside}
        if self.of_frames:
            schema.declare_field(dataset_of(self.samples), self.label_field, self.targets)
            for kind in self.beside:
                companions.declare_copy(dataset_of(self.samples), self.companions[kind].removeprefix("frames."), kind)

    def _restore(self, ids: list[str], labels: list[str]) -> None:
        """Declares the field again after another program removed it by accident; if the user deleted it, stops."""
        if not self._is_there(ids):
            self._remove_labels(ids, labels)
            self._remove_files(ids)
            raise DatasetError(runs.loss(self.dataset, str(self._key), self.field))
        with exclusive(self.dataset):
            self.refuse_dead()
            run = self._run()
            if run is not None and run.key != self._key:
                self._remove_labels(ids, labels)
                raise DatasetError(f"field {self.field!r} belongs to run {run.key!r} now; label another field")
            logger.warning("Another program removed field %r from the schema; it is declared again", self.field)
            self._declare(self._key)

    def _remove_files(self, ids: list[str]) -> None:
        """Removes the mask files of samples whose labels are gone; the end of the pass removes what is left."""
        for path in [path_of(sample) for sample in ids for path_of in (self.path, self.heatmap_path)]:
            with suppress(OSError):
                if path is not None:
                    path.unlink()

    def _is_there(self, ids: list[str]) -> bool:
        """Whether the field still holds what it held before some samples were written; not only what other shards write now."""
        if not self._witnesses:
            return count_labels(self.dataset, self.field) > len(labels_of(self.dataset, self.field, ids))
        found = {label for label, _ in labels_of(self.dataset, self.field, list(self._witnesses)).values()}
        return not found.isdisjoint(self._witnesses.values())


def _whole(labels: Mapping[str, tuple[str, tuple[str, ...]]]) -> set[str]:
    """Returns the samples that have a label, and its files if it has any."""
    missing = missing_files([path for _, paths in labels.values() for path in paths])
    return {sample for sample, (_, paths) in labels.items() if missing.isdisjoint(paths)}


def _hash(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=16).hexdigest()
