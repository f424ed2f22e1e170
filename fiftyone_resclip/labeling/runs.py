"""Remembers how the masks of a field were made: a labelling run, stored by FiftyOne as a custom run of the dataset.

FiftyOne keeps custom runs when a dataset is reloaded, renamed, cloned or exported. A run belongs to one field and has one
recipe. It consists of passes: one for each time its samples were labelled. The field's ``info`` names its run, so a renamed
field keeps it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import fiftyone as fo

from fiftyone_resclip.errors import DatasetError, unknown
from fiftyone_resclip.fields import mask_files, schema
from fiftyone_resclip.fields.exclusive import exclusive
from fiftyone_resclip.fields.private import root_dataset_of
from fiftyone_resclip.labeling import recipe, writers
from fiftyone_resclip.labeling.recipe import Recipe

#: Marks our runs among the custom runs of a dataset.
METHOD = "resclip/label"
State = Literal["running", "finished", "stopped", "killed"]

_PASSES_KEPT = 20


@dataclass(frozen=True)
class LabelRun:
    """A labelling run.

    Attributes:
        key: its name
        label_field: the field that it fills; starts with ``frames.`` for a field of video frames
        recipe: what decides its masks; see :func:`fiftyone_resclip.labeling.recipe.recipe_of`
        versions: version by package that the last pass ran with
        output_dir: folder for mask files; ``None`` if the database holds the masks
        passes: the last passes, oldest first, as written by :mod:`fiftyone_resclip.labeling.passes`
        state: state of its last pass
    """

    key: str
    label_field: str
    recipe: Recipe
    versions: Mapping[str, str]
    output_dir: str | None = None
    passes: tuple[Mapping[str, Any], ...] = ()
    state: State = "finished"

    def __str__(self) -> str:
        classes = ", ".join(name for name, _ in self.recipe["classes"])
        line = f"{self.key}: field {self.label_field!r}, {self.recipe['model']}, classes {classes}; {self.state}"
        if self.passes:
            last = self.passes[-1]
            failed = f", {last['failed']} failed" if last["failed"] else ""
            line += f", {last['labelled']} of {last['images']} images labelled{failed}, started {last['started']}"
        if self.state in ("stopped", "killed"):
            line += "; to go on, label the field again with the same settings"
        return line


def list_runs(dataset: fo.Dataset) -> list[LabelRun]:
    """Lists the labelling runs of a dataset.

    Args:
        dataset: a FiftyOne dataset
    """
    with exclusive(dataset):
        return [_load(dataset, key) for key in dataset.list_runs(method=METHOD)]


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
    found = {run.key: run for run in list_runs(dataset)}
    if key not in found:
        raise DatasetError(unknown(f"labelling run of {dataset.name!r}", key, found))
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
    run = load_run(dataset, key)
    with exclusive(dataset):
        if not new_key.isidentifier() or dataset.has_run(new_key):
            raise DatasetError(f"the new key must be a name that no run has, of letters, digits and _, but got {new_key!r}")
        dataset.rename_run(key, new_key)
        schema.set_run_key(dataset, run.label_field, new_key)


def delete_run(dataset: fo.Dataset, key: str) -> None:
    """Deletes a labelling run with its field and its mask files, and nothing else.

    Args:
        dataset: a FiftyOne dataset
        key: key of the run

    Raises:
        DatasetError: if there is no such run, or it is running
    """
    run = load_run(dataset, key)
    busy = writers.remaining(dataset, run.label_field)
    if busy:
        raise DatasetError(f"labelling run {key!r} can't be deleted while {busy[0]} fills it; stop that first")
    files, short_name = [], run.label_field.removeprefix("frames.")
    if dataset.get_field(run.label_field) is not None:
        files = [Path(path) for path in own_files(dataset, run.label_field)]
    if run.output_dir is not None:  # a killed run may have left files whose labels were not saved
        files += mask_files.mask_path(run.output_dir, dataset, run.label_field, "*").parent.glob("*.png")
    for path in files:
        path.unlink(missing_ok=True)
    for folder in {path.parent for path in files}:
        _remove_empty(folder)
    with exclusive(dataset):  # the run itself goes last, so that a killed deletion can be repeated
        if dataset.get_field(run.label_field) is not None:
            (dataset.delete_sample_field if short_name == run.label_field else dataset.delete_frame_field)(short_name)
        dataset.mask_targets = {name: targets for name, targets in dataset.mask_targets.items() if name != run.label_field}
        dataset.delete_run(key)


def run_of(dataset: fo.Dataset, label_field: str) -> LabelRun | None:
    """Returns the run that fills a field, also after the field was renamed; ``None`` if no run made it.

    Call it while holding :func:`~fiftyone_resclip.fields.exclusive.exclusive`, which loads what other processes changed.
    """
    key = schema.run_key(dataset, label_field)
    if key is None or key not in dataset.list_runs(method=METHOD):
        return None
    run = _load(dataset, key)
    if run.label_field != label_field and dataset.get_field(run.label_field) is not None:
        return None  # the field is a copy of the run's own
    return replace(run, label_field=label_field)


def save_run(dataset: fo.Dataset, run: LabelRun) -> None:
    """Stores a run, new or changed. Call it while holding :func:`~fiftyone_resclip.fields.exclusive.exclusive`.

    Args:
        dataset: the FiftyOne dataset that the user opened
        run: the run; its field exists
    """
    is_new = not dataset.has_run(run.key)
    config = dataset.init_run(method=METHOD) if is_new else dataset.get_run_info(run.key).config
    for name in ("label_field", "recipe", "versions", "output_dir"):
        setattr(config, name, getattr(run, name))
    config.passes = list(run.passes[-_PASSES_KEPT:])
    if is_new:
        dataset.register_run(run.key, config)
    else:
        dataset.update_run_config(run.key, config)
    schema.set_run_key(dataset, run.label_field, run.key)


def new_key(dataset: fo.Dataset, label_field: str) -> str:
    """Returns a key for the run of a field: its name as an identifier, with a number if another run has that key."""
    name = re.sub(r"\W", "_", label_field)
    name = name if name.isidentifier() else f"run_{name}"
    key, number = name, 2
    while dataset.has_run(key):
        key, number = f"{name}_{number}", number + 1
    return key


def own_files(samples: Any, label_field: str) -> list[str]:
    """Lists the mask files of a collection that belong to its field; see :mod:`fiftyone_resclip.fields.mask_files`.

    Args:
        samples: a FiftyOne dataset or view
        label_field: a field of the dataset that the user opened

    Returns:
        paths of files, which need not exist
    """
    paths = samples.values(f"{label_field}.mask_path", unwind=True)
    return [path for path in paths if mask_files.is_own(path, root_dataset_of(samples), label_field)]


def _load(dataset: fo.Dataset, key: str) -> LabelRun:
    config = dataset.get_run_info(key).config
    passes = tuple(config.passes)
    state = _state(dataset, config.label_field, passes)
    return LabelRun(key, config.label_field, config.recipe, config.versions, config.output_dir, passes, state)


def _state(dataset: fo.Dataset, label_field: str, passes: tuple[Mapping[str, Any], ...]) -> State:
    if writers.alive(dataset, label_field):
        return "running"
    last = passes[-1]
    if len(last["done"]) == last["shards"]:
        return "finished"
    return "killed" if set(last["begun"]) - {*last["done"], *last["stopped"]} else "stopped"


def _remove_empty(folder: Path) -> None:
    """Removes a field's folder, and its dataset's, if nothing is left in them."""
    for empty in (folder, folder.parent):
        try:
            empty.rmdir()
        except OSError:
            return
