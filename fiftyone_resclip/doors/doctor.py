"""Examines whether everything is there that ResCLIP needs, and says what to do about what is not."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from filecmp import dircmp
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, NamedTuple

import fiftyone_resclip
from fiftyone_resclip.doors.database import require_database
from fiftyone_resclip.doors.evaluation_config import is_registered, register_method
from fiftyone_resclip.doors.install import copy_shims
from fiftyone_resclip.errors import DatabaseError, DatasetError, ResCLIPError

State = Literal["good", "note", "fault", "mended"]

_MARKS = {"good": "ok  ", "note": "note", "fault": "FAIL", "mended": "done"}
_LEAST_PYTHON = (3, 10)
#: Packages without which nothing works, and their lowest versions.
_PACKAGES = {"torch": (2, 6), "open_clip_torch": (3, 0), "fiftyone": (1, 22), "pillow": (10, 1), "numpy": (1, 24)}


class Finding(NamedTuple):
    """The outcome of one examination.

    Attributes:
        subject: what was examined
        state: a note is worth knowing and needs nothing
        found: what was found
        remedy: what to do; empty if nothing needs to be done
    """

    subject: str
    state: State
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        remedy = f"\n      -> {self.remedy}" if self.remedy else ""
        return f"{_MARKS[self.state]}  {self.subject}: {self.found}{remedy}"


def examine(*, fix: bool = False) -> list[Finding]:
    """Examines everything; one part that fails does not keep the others from being examined.

    Args:
        fix (False): whether to mend what is safe to mend: plugin and zoo copies of another version, and mask files of ours that
            no label of any dataset names

    Returns:
        the findings
    """
    parts: tuple[Callable[[], Iterator[Finding]], ...] = (
        _python, _packages, _device, _database, lambda: _copies(fix), lambda: _method(fix), _weights, _folders,
        lambda: _masks(fix), _runs,
    )  # fmt: skip
    findings: list[Finding] = []
    for part in parts:
        findings.extend(part())
    return findings


def _python() -> Iterator[Finding]:
    have, need = tuple(sys.version_info[:3]), ".".join(map(str, _LEAST_PYTHON))
    shown = ".".join(map(str, have))
    if have < _LEAST_PYTHON:
        yield Finding("Python", "fault", f"{shown}, but {need} is the oldest that works", f"install Python {need} or later")
    else:
        yield Finding("Python", "good", f"{shown} on {platform.system()} {platform.machine()}")


def _packages() -> Iterator[Finding]:
    for name, least in _PACKAGES.items():
        need = ".".join(map(str, least))
        try:
            have = version(name)
        except PackageNotFoundError:
            yield Finding(name, "fault", "it is not installed", f"pip install '{name}>={need}'")
            continue
        numbers = tuple(int(part) for part in have.split("+")[0].split(".")[:2] if part.isdigit())
        if numbers < least:
            yield Finding(
                name, "fault", f"{have}, but {need} is the oldest that works", f"pip install --upgrade '{name}>={need}'"
            )
        else:
            yield Finding(name, "good", have)


def _device() -> Iterator[Finding]:
    import torch

    if torch.cuda.is_available():
        try:
            torch.zeros(1, device="cuda").item()
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:150]
            yield Finding(
                "device", "fault", f"torch sees a GPU but can't use it: {reason}", "update the GPU's driver, or use --device cpu"
            )
        else:
            yield Finding("device", "good", f"{torch.cuda.get_device_name()}, {torch.cuda.device_count()} GPU")
    elif torch.version.cuda is not None and Path("/proc/driver/nvidia/version").exists():
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        remedy = f"install a driver for CUDA {torch.version.cuda}, or check CUDA_VISIBLE_DEVICES ({visible})"
        yield Finding("device", "fault", "there is an NVIDIA driver, but torch finds no GPU", remedy)
    else:
        yield Finding("device", "note", f"the CPU, {torch.get_num_threads()} threads; torch finds no GPU")


def _database() -> Iterator[Finding]:
    try:
        require_database()
    except DatabaseError as error:
        yield Finding("database", "fault", "FiftyOne can't start or reach MongoDB", str(error))
    else:
        from fiftyone_resclip.fields.private import database_uri

        yield Finding("database", "good", f"MongoDB answers at {database_uri()}")


def _copies(fix: bool) -> Iterator[Finding]:
    import fiftyone as fo

    targets = Path(fo.config.plugins_dir), Path(fo.config.model_zoo_dir)
    with tempfile.TemporaryDirectory() as scratch:
        wanted = copy_shims(Path(scratch, "plugins"), Path(scratch, "zoo"))
        have = [target / folder.name for target, folder in zip(targets, wanted, strict=True)]
        states = [_state(mine, right) for mine, right in zip(have, wanted, strict=True)]
    if fix and any(states):
        copy_shims(*targets)
    for name, folder, state in zip(("plugin for the App", "models for the zoo"), have, states, strict=True):
        if not state:
            yield Finding(name, "good", f"as in version {fiftyone_resclip.__version__}, in {folder}")
        elif fix:
            yield Finding(name, "mended", f"{state}; installed again in {folder}")
        else:
            yield Finding(name, "fault", f"{state}: {folder}", "fiftyone-resclip install, and restart the App")


def _method(fix: bool) -> Iterator[Finding]:
    subject, remedy = "evaluation method", "fiftyone-resclip install"
    try:
        if is_registered():
            yield Finding(subject, "good", "FiftyOne's settings know 'resclip'")
        elif fix:
            yield Finding(subject, "mended", f"FiftyOne's settings did not know 'resclip'; added to {register_method()}")
        else:
            yield Finding(subject, "fault", "FiftyOne's settings don't know 'resclip'", remedy)
    except ResCLIPError as error:
        yield Finding(subject, "fault", str(error), f"mend or remove that file, then: {remedy}")


def _state(mine: Path, right: Path) -> str:
    """Says what is wrong with a copy; empty if nothing is."""
    if not mine.is_dir():
        return "not installed"
    return "" if _same(dircmp(mine, right, ignore=["__pycache__"])) else "the copy is of another version"


def _same(folders: dircmp[str]) -> bool:
    missing = folders.right_only or folders.diff_files or folders.funny_files
    return not missing and all(map(_same, folders.subdirs.values()))


def _weights() -> Iterator[Finding]:
    from fiftyone_resclip.clip.weights import is_at_hand
    from fiftyone_resclip.presets import MODELS

    absent = [name for name in MODELS if not is_at_hand(name)]
    ready = ", ".join(name for name in MODELS if name not in absent)
    yield Finding("weights", "good", f"at hand: {ready}")
    if absent:
        yield Finding("weights", "note", f"not here yet: {', '.join(absent)}", f"fiftyone-resclip models fetch {absent[0]}")


def _folders() -> Iterator[Finding]:
    import fiftyone as fo

    from fiftyone_resclip.clip.text_cache import cache_folder
    from fiftyone_resclip.evidence.lessons import lessons_folder

    wanted = {
        "datasets folder": Path(fo.config.default_dataset_dir),
        "plugins folder": Path(fo.config.plugins_dir),
        "zoo folder": Path(fo.config.model_zoo_dir),
        "lessons folder": lessons_folder(),
        "text cache": cache_folder(),
    }
    for name, folder in wanted.items():
        if folder is None:
            yield Finding(name, "note", "switched off by FIFTYONE_RESCLIP_CACHE")
            continue
        reason = _unwritable(folder)
        if reason:
            yield Finding(
                name, "fault", f"{folder} can't be written to: {reason}", f"make it a folder that {_user()} may write to"
            )
        else:
            yield Finding(name, "good", f"{folder} can be written to")


def _unwritable(folder: Path) -> str:
    """Says why files can't be written to a folder, or to the nearest folder above it that exists; creates nothing there."""
    place = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists() or parent.is_symlink())
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"test")
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _user() -> str:
    try:
        import getpass

        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # no such user in this container
        return "this user"


def _masks(fix: bool) -> Iterator[Finding]:
    from fiftyone_resclip.fields import mask_files
    from fiftyone_resclip.labeling.runs import folders

    for dataset, run in _all_runs():
        if run.state == "running":
            continue
        written = set(mask_files.written_by(run.file_mark, folders(dataset, run)))
        orphans = mask_files.unused(written)
        subject = f"mask files of run {run.key!r} of {dataset.name!r}"
        if not orphans:
            continue
        some = f"{len(orphans)} that no label names, such as {min(orphans)}"
        if fix:
            failed = mask_files.remove_unused(orphans)
            yield Finding(subject, "fault" if failed else "mended", f"{some}; {len(orphans) - len(failed)} removed")
        else:
            yield Finding(
                subject, "fault", some, "fiftyone-resclip doctor --fix removes them; it never removes a file that a label names"
            )


def _runs() -> Iterator[Finding]:
    count = 0
    for dataset, run in _all_runs():
        count += 1
        subject, delete = f"run {run.key!r} of {dataset.name!r}", f"fiftyone-resclip runs delete {dataset.name} {run.key}"
        if run.state in ("killed", "stopped"):
            yield Finding(
                subject,
                "fault",
                f"{run.state} before it was complete",
                f"label {run.label_field!r} again with the same settings to go on, or: {delete}",
            )
        elif run.state == "field deleted":
            yield Finding(subject, "fault", "its field was deleted without it", delete)
    yield Finding("labelling runs", "good", f"{count} in all datasets")


def _all_runs() -> Iterator[tuple[Any, Any]]:
    import fiftyone as fo

    from fiftyone_resclip.labeling.runs import list_runs

    try:
        require_database()
        names = fo.list_datasets()
    except DatabaseError:  # reported by then
        return
    for name in names:
        try:
            dataset = fo.load_dataset(name)
            found = list_runs(dataset)
        except (DatasetError, ValueError):  # deleted in the meantime
            continue
        yield from ((dataset, run) for run in found)
