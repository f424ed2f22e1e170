"""The command ``fiftyone-resclip runs``: the record of how masks were made."""

from __future__ import annotations

import argparse
import json
from typing import Any


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the actions of the command."""
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    for name, run, keys, meaning in (
        ("list", _list, (), "list the runs, a line each"),
        ("show", _show, ("key",), "print everything that is recorded of a run, as JSON"),
        ("diff", _diff, ("key", "other_key"), "print what decides the masks of two runs and differs"),
        ("rename", _rename, ("key", "new_key"), "give a run another key"),
        ("delete", _delete, ("key",), "delete a run with its field and its mask files"),
    ):
        action = actions.add_parser(name, help=meaning)
        action.add_argument("dataset", help="name of a FiftyOne dataset")
        for key in keys:
            action.add_argument(key)
        action.set_defaults(run=run)


def _list(options: argparse.Namespace) -> None:
    from fiftyone_resclip.labeling.runs import list_runs

    print("\n".join(map(str, list_runs(_dataset(options)))) or "no labelling run yet")


def _show(options: argparse.Namespace) -> None:
    from fiftyone_resclip.labeling.runs import load_run

    print(json.dumps(vars(load_run(_dataset(options), options.key)), indent=2, ensure_ascii=False))


def _diff(options: argparse.Namespace) -> None:
    from fiftyone_resclip.labeling.runs import compare_runs

    differences = compare_runs(_dataset(options), options.key, options.other_key)
    lines = [f"{name}: {before!r} / {after!r}" for name, (before, after) in differences.items()]
    print("\n".join(lines) or "both runs make the same masks")


def _rename(options: argparse.Namespace) -> None:
    from fiftyone_resclip.labeling.runs import rename_run

    rename_run(_dataset(options), options.key, options.new_key)


def _delete(options: argparse.Namespace) -> None:
    from fiftyone_resclip.labeling.runs import delete_run

    delete_run(_dataset(options), options.key)


def _dataset(options: argparse.Namespace) -> Any:
    from fiftyone_resclip.cli.label_command import samples_of
    from fiftyone_resclip.doors.database import require_database

    require_database()
    return samples_of(options.dataset)
