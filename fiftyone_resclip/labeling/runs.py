"""Remembers how the masks of a field were made: a labelling run, stored by FiftyOne as a custom run of the dataset.

FiftyOne keeps custom runs when a dataset is reloaded, renamed, cloned or exported. A run belongs to one field and has one
recipe. It consists of passes: one for each time its samples were labelled. The field's ``info`` names its run, so a renamed
field keeps it: FiftyOne does not tell us, but its class names and colours follow when the run is used next.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import fiftyone as fo

from fiftyone_resclip.errors import DatasetError, StorageError, unknown
from fiftyone_resclip.fields import companions, mask_files, schema
from fiftyone_resclip.fields.arguments import checked_dataset
from fiftyone_resclip.fields.exclusive import exclusive
from fiftyone_resclip.fields.names import checked
from fiftyone_resclip.fields.private import count_labels, files_of
from fiftyone_resclip.labeling import recipe, records, writers
from fiftyone_resclip.labeling.recipe import Recipe

#: Marks our runs among the custom runs of a dataset.
METHOD = "resclip/label"
State = Literal["running", "finished", "stopped", "killed", "field deleted"]

_PASSES_KEPT = 20
_CLASSES_SHOWN = 6


@dataclass(frozen=True)
class LabelRun:
    """A labelling run.

    Attributes:
        key: its name
        label_field: the field that it fills; starts with ``frames.`` for a field of video frames
        recipe: what decides its masks; see :func:`fiftyone_resclip.labeling.recipe.recipe_of`
        versions: version by package that the last pass ran with
        output_dir: folder for mask files; ``None`` if the database holds the masks
        file_mark: what stands in the names of its mask files after the sample's id
        passes: the last passes, oldest first, as written by :mod:`fiftyone_resclip.labeling.records`
        state: state of its last pass
    """

    key: str
    label_field: str
    recipe: Recipe
    versions: Mapping[str, str]
    output_dir: str | None = None
    file_mark: str = ""
    passes: tuple[Mapping[str, Any], ...] = ()
    state: State = "finished"

    def __str__(self) -> str:
        names = [name for name, _ in self.recipe["classes"]]
        classes = ", ".join(names[:_CLASSES_SHOWN]) + (
            f" and {len(names) - _CLASSES_SHOWN} more" if names[_CLASSES_SHOWN:] else ""
        )
        taught = ", taught by examples" if recipe.EXAMPLES in self.recipe else ""
        line = f"{self.key}: field {self.label_field!r}, {self.recipe['model']}{taught}, classes {classes}; {self.state}"
        if self.passes:
            last, started = self.passes[-1], str(self.passes[-1]["started"])[:16].replace("T", " ")
            failed = f", {last['failed']} failed" if last["failed"] else ""
            line += f", {last['labelled']} of {last['images']} images labelled{failed}, started {started}"
        if self.state in ("stopped", "killed"):
            line += "; to go on, label the field again with the same settings"
        return line


def list_runs(dataset: fo.Dataset) -> list[LabelRun]:
    """Lists the labelling runs of a dataset.

    Args:
        dataset: a FiftyOne dataset
    """
    with exclusive(checked_dataset(dataset)):
        return [_load(dataset, key) for key in dataset.list_runs(method=METHOD)]


def latest_run(dataset: fo.Dataset) -> LabelRun | None:
    """Returns the labelling run whose last pass started last; ``None`` if there is none."""
    runs = [run for run in list_runs(dataset) if run.passes]
    return max(runs, key=lambda run: str(run.passes[-1]["started"]), default=None)


def load_run(dataset: fo.Dataset, key: str) -> LabelRun:
    """Loads a labelling run.

    Args:
        dataset: a FiftyOne dataset
        key: key of the run

    Returns:
        the run

    Raises:
        DatasetError: if there is no such labelling run; the message suggests the nearest key
    """
    checked(key, "run")
    found = {run.key: run for run in list_runs(dataset)}
    if key not in found:
        raise DatasetError(unknown("labelling run", key, found))
    return found[key]


def compare_runs(dataset: fo.Dataset, key: str, other_key: str) -> dict[str, tuple[Any, Any]]:
    """Compares what decides the masks of two runs.

    Args:
        dataset: a FiftyOne dataset
        key: key of the first run
        other_key: key of the second run

    Returns:
        both values of everything that differs, by its name

    Raises:
        DatasetError: if there is no such run
    """
    return recipe.differences(load_run(dataset, key).recipe, load_run(dataset, other_key).recipe)


def rename_run(dataset: fo.Dataset, key: str, new_key: str) -> None:
    """Renames a labelling run; its field keeps its name.

    Args:
        dataset: a FiftyOne dataset
        key: key of the run
        new_key: a key that is not in use, of letters, digits and underscores

    Raises:
        DatasetError: if there is no such run, or the new key can't be used
    """
    with exclusive(checked_dataset(dataset)):
        dataset.reload()  # FiftyOne's fields keep an old name otherwise after they were renamed
        run = load_run(dataset, key)
        if not isinstance(new_key, str) or not new_key.isidentifier() or _is_taken(dataset, new_key, run.label_field):
            raise DatasetError(f"the new key must be a name that no run has, of letters, digits and _, but got {new_key!r}")
        dataset.rename_run(key, new_key)
        schema.set_run_key(dataset, run.label_field, new_key)


def delete_run(dataset: fo.Dataset, key: str) -> None:
    """Deletes a labelling run with its field and its mask files, and nothing else.

    Files that other labels name, such as those of a copy of the field, stay.

    Args:
        dataset: a FiftyOne dataset
        key: key of the run

    Raises:
        DatasetError: if there is no such run, it is running, or the key is also the name of another run's field
        StorageError: if its files can't be removed; the field and the run are still there then
    """
    with exclusive(checked_dataset(dataset)):  # the run itself goes last, so that a killed deletion can be repeated
        run = load_run(dataset, key)
        if key != run.label_field and schema.run_key(dataset, key) not in (None, key):
            raise DatasetError(
                f"labelling run {key!r} fills field {run.label_field!r}, and field {key!r} has another run, "
                f"{schema.run_key(dataset, key)!r}; to be clear, rename run {key!r} first, with rename_run"
            )
        busy = writers.remaining(dataset, run.label_field)
        if busy:
            raise DatasetError(f"labelling run {key!r} can't be deleted while {busy[0]} fills it; stop that first")
        _delete_files(dataset, run, own_fields(dataset, run))
        withdraw(dataset, run)


def withdraw(dataset: fo.Dataset, run: LabelRun) -> None:
    """Removes a run without mask files, and its fields. Call it while holding the dataset's lock."""
    for field in own_fields(dataset, run):
        short_name = field.removeprefix("frames.")
        (dataset.delete_sample_field if short_name == field else dataset.delete_frame_field)(short_name)
        schema.forget_field(dataset, field)
    dataset.delete_run(run.key)


def run_of(dataset: fo.Dataset, label_field: str) -> LabelRun | None:
    """Returns the run that fills a field, also after the field was renamed; ``None`` if no run made it.

    Call it while holding :func:`~fiftyone_resclip.fields.exclusive.exclusive`, which loads what other processes changed.
    """
    key = schema.run_key(dataset, label_field)
    if key is None or key not in dataset.list_runs(method=METHOD):
        return None
    run = _load(dataset, key)
    return run if run.label_field == label_field else None  # otherwise the field is a copy of the run's own


def folders(dataset: fo.Dataset, run: LabelRun) -> set[Path]:
    """Returns the folders that a run has written mask files to."""
    found = {Path(part["folder"]) for part in run.passes if part["folder"] is not None}
    return {folder for folder in found if mask_files.folder_is_own(folder, dataset)}


def save_run(dataset: fo.Dataset, run: LabelRun) -> None:
    """Stores a run, new or changed. Call it while holding :func:`~fiftyone_resclip.fields.exclusive.exclusive`.

    Args:
        dataset: the FiftyOne dataset that the user opened
        run: the run; its field exists
    """
    is_new = not dataset.has_run(run.key)
    config = dataset.init_run(method=METHOD) if is_new else dataset.get_run_info(run.key).config
    for name in ("label_field", "recipe", "versions", "output_dir", "file_mark"):
        setattr(config, name, getattr(run, name))
    config.passes = list(run.passes[-_PASSES_KEPT:])
    if is_new:
        dataset.register_run(run.key, config)
    else:
        dataset.update_run_config(run.key, config)
    schema.set_run_key(dataset, run.label_field, run.key)


def new_key(dataset: fo.Dataset, label_field: str) -> str:
    """Returns a key for the run of a field: its name as an identifier, with a number if that key is taken."""
    name = re.sub(r"\W", "_", label_field)
    name = name if name.isidentifier() else f"run_{name}"
    key, number = name, 2
    while _is_taken(dataset, key, label_field):
        key, number = f"{name}_{number}", number + 1
    return key


def own_fields(dataset: fo.Dataset, run: LabelRun) -> list[str]:
    """Returns the fields that a run fills and that are there, that of the masks last."""
    masks = [] if run.state == "field deleted" else [run.label_field]
    return [*companions.find(dataset, run.file_mark).values(), *masks]


def files(dataset: fo.Dataset, fields: Iterable[str]) -> set[Path]:
    """Returns the files of ours that the labels in some fields name."""
    return {Path(path) for field in fields for path in files_of(dataset, field) if mask_files.is_own(path, dataset)}


def loss(dataset: fo.Dataset, key: str, label_field: str) -> str:
    """Says why a run or its field is no longer what it was when a pass began.

    Args:
        dataset: the dataset, which exists
        key: key of the run
        label_field: name of its field when the pass began
    """
    name = schema.field_of_run(dataset, key, label_field)
    if key not in dataset.list_runs(method=METHOD) and name is not None:
        count = count_labels(dataset, name)
        return (
            f"labelling run {key!r} was deleted while it ran; {count} masks without a record remain in field {name!r}; "
            f"delete the field, or label all of it again with overwrite={name!r}"
        )
    if name is not None and name != label_field:
        return f"field {label_field!r} was renamed to {name!r} while it was labelled; label {name!r} to go on"
    return f"field {label_field!r} was deleted while it was labelled; label again to start anew"


def _is_taken(dataset: fo.Dataset, key: str, label_field: str) -> bool:
    """Whether a run has a key, or another field still notes it, as the copy of a field whose run was deleted does."""
    return dataset.has_run(key) or schema.field_of_run(dataset, key, label_field) not in (None, label_field)


def _load(dataset: fo.Dataset, key: str) -> LabelRun:
    config = dataset.get_run_info(key).config
    field, passes = schema.field_of_run(dataset, key, config.label_field), tuple(config.passes)
    if field is not None and field != config.label_field:
        targets = dict(enumerate((name for name, _ in config.recipe["classes"]), start=1))
        schema.move_declaration(dataset, config.label_field, field, targets)
        config.label_field = field
        dataset.update_run_config(key, config)
    state: State = "field deleted" if field is None else _state(dataset, field, passes[-1])
    return LabelRun(key, config.label_field, config.recipe, config.versions, config.output_dir, config.file_mark, passes, state)


def _state(dataset: fo.Dataset, label_field: str, last: records.Record) -> State:
    if writers.alive(dataset, label_field):
        return "running"
    if records.is_finished(last):
        return "finished"
    return "killed" if records.is_killed(last) else "stopped"


def _delete_files(dataset: fo.Dataset, run: LabelRun, fields: Collection[str]) -> None:
    """Removes the files of a run: those that the labels in its fields name, and those that it left when it was killed."""
    every = files(dataset, fields).union(mask_files.written_by(run.file_mark, folders(dataset, run)))
    places = {path.parent for path in every if path.parent.is_dir()}
    for folder in places:
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise StorageError(
                f"labelling run {run.key!r} was not deleted, because its files can't be removed from {str(folder)!r}: "
                f"{error.strerror or error}; mend that and delete the run again"
            ) from error
    failed = mask_files.remove_unused(every, besides=(dataset, fields))
    if failed:
        path, reason = next(iter(failed.items()))
        raise StorageError(
            f"{len(failed)} of {len(every)} mask files of labelling run {run.key!r} can't be removed, such as {str(path)!r} "
            f"({reason.strerror or reason}); its labels and its record remain, so mend that and delete the run again to finish"
        ) from reason
    for folder in places | folders(dataset, run):
        _remove_empty(folder)


def _remove_empty(folder: Path) -> None:
    """Removes a field's folder, and its dataset's, if nothing is left in them."""
    for empty in (folder, folder.parent):
        try:
            empty.rmdir()
        except OSError:
            return
