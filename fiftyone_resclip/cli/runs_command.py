"""The command ``fiftyone-resclip runs``: the record of how masks were made."""

from __future__ import annotations

import json

import click

from fiftyone_resclip.cli.answers import Answer, answering
from fiftyone_resclip.cli.datasets import samples_of


@click.group("runs")
def runs() -> None:
    """List, compare or delete labelling runs.

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
    """Print everything that is recorded of a run, as JSON."""
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
    lines = [f"{name}: {before!r} / {after!r}" for name, (before, after) in differences.items()]
    return Answer("\n".join(lines) or "both runs make the same masks", differences)


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
@answering
def delete(dataset: str, key: str) -> Answer:
    """Delete a run with its field and its mask files."""
    from fiftyone_resclip.labeling.runs import delete_run

    delete_run(samples_of(dataset), key)
    return Answer(f"deleted {key!r} with its field and its mask files", {"deleted": key})
