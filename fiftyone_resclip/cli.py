"""The command ``fiftyone-resclip``: install, uninstall, demo, architectures, benchmark."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fiftyone_resclip.config import STRATEGIES
from fiftyone_resclip.errors import ConfigError, ResCLIPError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        arguments (None): the command line; by default that of the process

    Returns:
        0, or 1 after a :class:`ResCLIPError`, whose message is printed to stderr
    """
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except ResCLIPError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fiftyone-resclip", description="ResCLIP for FiftyOne")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("install", help="install the plugin and zoo models into FiftyOne's folders").set_defaults(run=_install)
    commands.add_parser("uninstall", help="remove them again").set_defaults(run=_uninstall)
    demo = commands.add_parser("demo", help="label and evaluate generated scenes, offline, in a database of its own")
    demo.add_argument("--out", type=Path, default=Path("demo"), help="folder for pictures, results and the demo's database")
    demo.add_argument("--images", type=int, default=40, help="number of scenes")
    demo.add_argument("--app", action="store_true", help="open the App at the end")
    demo.set_defaults(run=_demo)
    architectures = commands.add_parser("architectures", help="list the open_clip architectures that work")
    architectures.set_defaults(run=_architectures)
    _add_benchmark(commands.add_parser("benchmark", help="measure mIoU on a published benchmark or on your own dataset"))
    return parser


def _add_benchmark(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", nargs="?", help="voc21, voc20, context60, context59, coco_object, coco_stuff, ade20k or cityscapes"
    )
    parser.add_argument("--all", action="store_true", help="run all eight benchmarks")
    parser.add_argument("--data-root", type=Path, help="folder that contains the benchmarks' folders; nothing is downloaded")
    parser.add_argument("--dataset", help="name of your own FiftyOne dataset, instead of a benchmark")
    parser.add_argument("--ground-truth", default="ground_truth", metavar="FIELD", help="the dataset's field with the true masks")
    parser.add_argument(
        "--ignore-index", default="auto", metavar="VALUES", help="void values, separated by commas; by default 255"
    )
    parser.add_argument("--classes", type=Path, help="text file with classes and their words; by default the field's names")
    parser.add_argument("--preset", default="ade20k", help="settings to start from, for your own dataset")
    parser.add_argument("--limit", type=int, help="maximum number of images")
    parser.add_argument("--model", default="resclip-vit-b-16", help="name of the model, as for load_model")
    parser.add_argument("--pretrained", help="an open_clip tag or a checkpoint file")
    parser.add_argument("--device", help="such as cpu or cuda; by default a GPU if there is one")
    parser.add_argument("--strategy", choices=sorted(STRATEGIES), help="base attention of the last block")
    parser.add_argument("--no-rcs", action="store_true", help="turn off RCS, the first addition of ResCLIP")
    parser.add_argument("--no-sfr", action="store_true", help="turn off SFR, the second addition of ResCLIP")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting, such as sfr.threshold=0.3")
    parser.add_argument("--batch-size", type=int, help="images per batch; by default 4 on a CPU and 16 on a GPU")
    parser.add_argument("--num-workers", type=int, default=2, help="threads that read images")
    parser.add_argument("--out", type=Path, default=Path("benchmark-results"), help="folder for the result files (JSON)")
    parser.add_argument("--work-dir", type=Path, help="folder for masks; by default inside FiftyOne's datasets folder")
    parser.set_defaults(run=_benchmark)


def _architectures(options: argparse.Namespace) -> None:
    from fiftyone_resclip.clip.supported import table

    print(table(), end="")


def _folders() -> tuple[Path, Path]:
    import fiftyone as fo

    return Path(fo.config.plugins_dir), Path(fo.config.model_zoo_dir)


def _install(options: argparse.Namespace) -> None:
    from fiftyone_resclip.doors.install import install

    for folder in install(*_folders()):
        print(f"installed {folder}")


def _uninstall(options: argparse.Namespace) -> None:
    from fiftyone_resclip.doors.install import uninstall

    removed = uninstall(*_folders())
    print("\n".join(f"removed {folder}" for folder in removed) or "nothing was installed")


def _demo(options: argparse.Namespace) -> None:
    from fiftyone_resclip.doors import own_database

    own_database.use(options.out / "database")
    from fiftyone_resclip import demo

    demo.run(options.out, options.images, options.app)


def _benchmark(options: argparse.Namespace) -> None:
    if sum([bool(options.name), options.all, bool(options.dataset)]) != 1:
        raise ConfigError("benchmark needs one of: a name such as voc21, --all, or --dataset NAME")
    if options.dataset is None and options.data_root is None:
        raise ConfigError("benchmark needs --data-root, the folder that contains the benchmark's files; nothing is downloaded")
    from fiftyone_resclip.clip.backbone import Backbone
    from fiftyone_resclip.doors.database import require_database
    from fiftyone_resclip.published import run

    changes = _changes(options)
    require_database()
    setup = run.Setup(
        Backbone.load(options.model, options.pretrained, options.device),
        options.model,
        changes,
        options.pretrained,
        limit=options.limit,
        work_dir=options.work_dir,
        batch_size=options.batch_size,
        num_workers=options.num_workers,
    )

    def keep(record: dict[str, Any]) -> None:
        print(f"wrote {run.write(record, options.out)}")

    records: dict[str, Any]
    if options.all:
        records = run.run_all(options.data_root, setup, keep)
    elif options.dataset:
        from fiftyone_resclip.evaluation.void import parse_void

        ignored = parse_void(options.ignore_index)
        record = run.run_dataset(
            options.dataset, options.ground_truth, options.classes, setup, preset_name=options.preset, ignore_index=ignored
        )
        records = {options.dataset: record}
        keep(record)
    else:
        records = {options.name: run.run_benchmark(options.name, options.data_root, setup)}
        keep(records[options.name])
    print(run.table(records))


def _changes(options: argparse.Namespace) -> dict[str, Any]:
    """Returns the settings from the command line, in the form that ``ResCLIPConfig.varied`` takes."""
    changes: dict[str, Any] = {}
    for text in options.set:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set needs NAME=VALUE, as sfr.threshold=0.3, but got {text!r}")
        *parts, last = name.split(".")
        place = changes
        for part in parts:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise ConfigError(f"--set {text} is at odds with another --set, which leaves {part} without settings")
        place[last] = _json_or_text(value)
    if options.strategy:
        changes["strategy"] = options.strategy
    return {**changes, **({"rcs": None} if options.no_rcs else {}), **({"sfr": None} if options.no_sfr else {})}


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


if __name__ == "__main__":
    raise SystemExit(main())
