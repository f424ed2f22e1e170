"""The command ``fiftyone-resclip runs``: the record of how masks were made."""

from __future__ import annotations

import json
from typing import Any

import click
from tabulate import tabulate

from fiftyone_resclip.cli.answers import Answer, answering
from fiftyone_resclip.cli.datasets import samples_of

_WIDEST = 60


@click.group("runs")
def runs() -> None:
    """List, show, compare (diff), rename or delete labelling runs.

    \b
    fiftyone-resclip runs list my-dataset
    fiftyone-resclip runs diff my-dataset resclip better
    """


@runs.command("list")
@click.argument("dataset")
@answering
def list_all(dataset: str) -> Answer:
    """List the runs, a line each."""
    from fiftyone_resclip.labeling.runs import list_runs

    found = list_runs(samples_of(dataset))
    return Answer("\n".join(map(str, found)) or "no labelling run yet", [vars(run) for run in found])


@runs.command()
@click.argument("dataset")
@click.argument("key")
@answering
def show(dataset: str, key: str) -> Answer:
    """Print everything that is recorded of a run, as JSON.

    \b
    fiftyone-resclip runs show my-dataset resclip
    """
    from fiftyone_resclip.labeling.runs import load_run

    run = vars(load_run(samples_of(dataset), key))
    return Answer(json.dumps(run, indent=2, ensure_ascii=False), run)


@runs.command()
@click.argument("dataset")
@click.argument("key")
@click.argument("other_key")
@answering
def diff(dataset: str, key: str, other_key: str) -> Answer:
    """Print what decides the masks of two runs and differs."""
    from fiftyone_resclip.labeling.runs import compare_runs

    differences = compare_runs(samples_of(dataset), key, other_key)
    rows = [(name, _brief(before), _brief(after)) for name, (before, after) in differences.items()]
    text = tabulate(rows, ("", key, other_key), tablefmt="plain", disable_numparse=True)
    return Answer(text if rows else "both runs make the same masks", differences)


def _confirmed(question: str) -> bool:
    try:
        return click.confirm(question, err=True)
    except click.Abort:  # nobody is there to answer
        return False


def _brief(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= _WIDEST else f"{text[:_WIDEST]}…"


@runs.command()
@click.argument("dataset")
@click.argument("key")
@click.argument("new_key")
@answering
def rename(dataset: str, key: str, new_key: str) -> Answer:
    """Give a run another key; its field keeps its name."""
    from fiftyone_resclip.labeling.runs import rename_run

    rename_run(samples_of(dataset), key, new_key)
    return Answer(f"renamed {key!r} to {new_key!r}", {"renamed": key, "to": new_key})


@runs.command()
@click.argument("dataset")
@click.argument("key")
@click.option("--yes", is_flag=True, help="Delete without asking.")
@answering
def delete(dataset: str, key: str, yes: bool) -> Answer:
    """Delete a run with its field and its mask files.

    \b
    fiftyone-resclip runs delete my-dataset resclip
    """
    from fiftyone_resclip.labeling.runs import delete_run, load_run

    found = samples_of(dataset)
    field = load_run(found, key).label_field
    if not yes and not _confirmed(f"Delete field {field!r} of {dataset!r}, with its mask files?"):
        return Answer("nothing was deleted; --yes deletes without asking", {"deleted": None}, exit_code=1)
    delete_run(found, key)
    return Answer(f"deleted {key!r} with its field and its mask files", {"deleted": key})
