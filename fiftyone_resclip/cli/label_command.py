"""The command ``fiftyone-resclip label``, also as one process of several."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

from fiftyone_resclip.cli.model_options import add_model_options, changed_settings
from fiftyone_resclip.errors import ConfigError, DatasetError


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    parser.add_argument("dataset", help="name of a FiftyOne dataset")
    parser.add_argument("--classes", required=True, help="classes such as 'road, car, everything else', or a text file (.txt)")
    parser.add_argument("--background", help="the class that uncertain pixels get, or 'auto' to choose words for one")
    parser.add_argument("--examples", metavar="FIELD", help="learn first from the masks of this field; see docs/EVIDENCE.md")
    parser.add_argument(
        "--lesson", metavar="NAME", help="use what was learned and saved under this name; with --examples, save it"
    )
    parser.add_argument(
        "--regions", metavar="FIELD", help="field of outlines, such as SAM's masks, whose pixels vote for a class"
    )
    parser.add_argument("--present", metavar="FIELD", help="field that names the classes in an image, such as tags")
    parser.add_argument("--view", help="name of a saved view; by default the whole dataset")
    parser.add_argument("--field", default="resclip", help="field for the masks")
    parser.add_argument("--overwrite", action="store_true", help="give samples that have a mask a new one")
    parser.add_argument("--output-dir", type=Path, help="folder for mask files; by default the masks go into the database")
    parser.add_argument("--preset", help="published settings to start from")
    add_model_options(parser)
    parser.add_argument("--batch-size", type=int, help="images per batch; by default 4 on a CPU and 16 on a GPU")
    parser.add_argument("--num-workers", type=int, default=2, help="threads that read images")
    parser.add_argument("--shard", metavar="I/N", help="label only part I of N, from 0; 'auto' asks torchrun or SLURM")
    parser.add_argument("--gpus", metavar="all|N", help="share the work among GPUs of this machine, a process for each")
    parser.add_argument("--ray", action="store_true", help="share the work among the actors of a Ray cluster")
    parser.add_argument("--ray-address", help="address of the cluster; by default the one of this machine, or a new one")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from fiftyone_resclip.labeling import sharding

    shard = sharding.parse(options.shard) if options.shard else None
    if options.gpus:
        _share(options.arguments, _devices(options.gpus), shard or (0, 1))
        return
    from fiftyone_resclip.doors.database import require_database
    from fiftyone_resclip.evidence.learning import learn
    from fiftyone_resclip.evidence.lessons import load_lesson, save_lesson
    from fiftyone_resclip.fields.private import dataset_of
    from fiftyone_resclip.labeling.label import label
    from fiftyone_resclip.model import load_model

    require_database()
    samples = samples_of(options.dataset, options.view)
    model = load_model(
        options.model,
        options.classes,
        background=options.background,
        preset_name=options.preset,
        pretrained=options.pretrained,
        device=options.device,
        taught=load_lesson(options.lesson) if options.lesson and not options.examples else None,
        **changed_settings(options),
    )
    if options.examples:
        model = learn(model, dataset_of(samples), options.examples)
        print(model.taught)
        if options.lesson and model.taught is not None:
            print(f"saved as {save_lesson(options.lesson, model.taught)}")
    settings: dict[str, Any] = {
        "overwrite": options.overwrite,
        "output_dir": options.output_dir,
        "regions": options.regions,
        "present": options.present,
        "batch_size": options.batch_size,
    }
    settings |= {"num_workers": options.num_workers, "shard": shard}
    if options.ray:
        settings |= {"engine": "ray", "address": options.ray_address}
    print(label(samples, model, options.field, **settings))


def samples_of(name: str, view: str | None = None) -> Any:
    """Loads a dataset or one of its saved views.

    Args:
        name: name of the dataset
        view (None): name of the view; by default the whole dataset

    Returns:
        the FiftyOne dataset or view

    Raises:
        DatasetError: if there is no such dataset or view
    """
    import fiftyone as fo

    if not fo.dataset_exists(name):
        raise DatasetError(f"there is no dataset {name!r}; `fiftyone datasets list` shows the names")
    dataset = fo.load_dataset(name)
    if view is None:
        return dataset
    if not dataset.has_saved_view(view):
        raise DatasetError(
            f"dataset {name!r} has no saved view {view!r}; it has {', '.join(dataset.list_saved_views()) or 'none'}"
        )
    return dataset.load_saved_view(view)


def _devices(gpus: str) -> list[str]:
    import torch

    present = torch.cuda.device_count()
    try:
        count = present if gpus == "all" else int(gpus)
    except ValueError:
        count = 0
    if not 0 < count <= present:
        raise ConfigError(f"--gpus must be 'all' or a number from 1 to the {present} GPUs of this machine, but got {gpus!r}")
    return [f"cuda:{number}" for number in range(count)]


def _share(arguments: list[str], devices: list[str], shard: tuple[int, int]) -> None:
    """Runs this command once for each device, each with its part of the shard, and waits for all of them."""
    from fiftyone_resclip.labeling import sharding

    command, processes = _without(arguments, ("--gpus", "--shard", "--device")), []
    for number, device in enumerate(devices):
        index, count = sharding.within(shard, (number, len(devices)))
        own = ["--shard", f"{index}/{count}", "--device", device]
        processes.append(subprocess.Popen([sys.executable, "-m", "fiftyone_resclip.cli", *command, *own]))
    try:
        failed = [device for device, process in zip(devices, processes, strict=True) if process.wait()]
    finally:
        for process in processes:  # Ctrl-C reached them, too; they save what is computed
            process.wait()
    if failed:
        raise DatasetError(f"labelling failed on {', '.join(failed)}, see above; to go on, run the same command again")


def _without(arguments: list[str], names: tuple[str, ...]) -> list[str]:
    """Removes options and their values from a command line."""
    kept, skip = [], False
    for argument in arguments:
        if skip:
            skip = False
        elif argument in names:
            skip = True
        elif not argument.startswith(tuple(f"{name}=" for name in names)):
            kept.append(argument)
    return kept
