"""The command ``fiftyone-resclip``: install, uninstall, demo, architectures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from fiftyone_resclip.errors import ResCLIPError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        arguments (None): by default those of the process

    Returns:
        0; 1 after an error of ours, which is printed as one sentence
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
    commands.add_parser("install", help="put the plugin and the zoo models where FiftyOne finds them").set_defaults(run=_install)
    commands.add_parser("uninstall", help="take them out again").set_defaults(run=_uninstall)
    demo = commands.add_parser("demo", help="label and evaluate generated scenes, offline")
    demo.add_argument("--out", type=Path, default=Path("demo"), help="folder for pictures and results")
    demo.add_argument("--images", type=int, default=40, help="number of scenes")
    demo.add_argument("--app", action="store_true", help="open the App at the end")
    demo.set_defaults(run=_demo)
    architectures = commands.add_parser("architectures", help="list which architectures of open_clip work")
    architectures.set_defaults(run=_architectures)
    return parser


def _architectures(options: argparse.Namespace) -> None:
    from fiftyone_resclip.architectures import table

    print(table(), end="")


def _folders() -> tuple[Path, Path]:
    import fiftyone as fo

    return Path(fo.config.plugins_dir), Path(fo.config.model_zoo_dir)


def _install(options: argparse.Namespace) -> None:
    from fiftyone_resclip.install import install

    for folder in install(*_folders()):
        print(f"installed {folder}")


def _uninstall(options: argparse.Namespace) -> None:
    from fiftyone_resclip.install import uninstall

    removed = uninstall(*_folders())
    print("\n".join(f"removed {folder}" for folder in removed) or "nothing was installed")


def _demo(options: argparse.Namespace) -> None:
    from fiftyone_resclip import demo

    demo.run(options.out, options.images, options.app)


if __name__ == "__main__":
    raise SystemExit(main())
