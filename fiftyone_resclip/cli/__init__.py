"""The command ``fiftyone-resclip``: install, uninstall, demo, architectures, label, runs, benchmark."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from fiftyone_resclip.cli import benchmark_command, label_command, runs_command
from fiftyone_resclip.errors import ResCLIPError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        arguments (None): the command line; by default that of the process

    Returns:
        0; 1 after a :class:`ResCLIPError`, whose message is printed to stderr; 130 after Ctrl-C
    """
    options = _parser().parse_args(arguments)
    options.arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        options.run(options)
    except ResCLIPError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped; what was saved is kept. To go on, run the same command again.", file=sys.stderr)
        return 130
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
    label_command.add(commands.add_parser("label", help="segment a dataset of FiftyOne with classes given in words"))
    runs_command.add(commands.add_parser("runs", help="list, show, compare, rename or delete the labelling runs of a dataset"))
    benchmark_command.add(commands.add_parser("benchmark", help="measure mIoU on a published benchmark or on your own dataset"))
    return parser


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
