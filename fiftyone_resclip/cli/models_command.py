"""The command ``fiftyone-resclip models``: which models there are, and their weights."""

from __future__ import annotations

import click

from fiftyone_resclip.cli.answers import Answer, answering
from fiftyone_resclip.presets import MODELS


@click.group("models")
def models() -> None:
    """List models, and fetch their weights ahead.

    \b
    fiftyone-resclip models list
    fiftyone-resclip models fetch resclip-vit-b-16
    fiftyone-resclip models fetch ViT-B-16 --pretrained laion2b_s34b_b88k
    """


@models.command("list")
@answering
def list_all() -> Answer:
    """List the named models, and whether their weights are at hand."""
    from fiftyone_resclip.clip.weights import is_at_hand

    rows = {
        name: {"architecture": None if source.pretrained is None else source.architecture, "pretrained": source.pretrained,
               "at_hand": is_at_hand(name)}
        for name, source in MODELS.items()
    }  # fmt: skip
    lines = [
        f"{name:18} {'ready' if row['at_hand'] else f'not here; fiftyone-resclip models fetch {name}'}"
        for name, row in rows.items()
    ]
    return Answer("\n".join([*lines, "", "Other ViTs of open_clip work, too: fiftyone-resclip models architectures"]), rows)


@models.command()
@click.argument("model", shell_complete=click.Choice([*MODELS]).shell_complete)
@click.option("--pretrained", help="open_clip tag, for an architecture without a name of its own.")
@answering
def fetch(model: str, pretrained: str | None) -> Answer:
    """Download the weights of MODEL now, so that it works without network later."""
    from fiftyone_resclip.clip.weights import fetched

    file = fetched(model, pretrained)
    return Answer(f"{model} is ready: {file}", {"model": model, "file": str(file)})


@models.command()
@answering
def architectures() -> Answer:
    """Print the architectures of open_clip that work, with their weights, as Markdown."""
    from fiftyone_resclip.clip.supported import supported_architectures, table

    return Answer(table().rstrip("\n"), supported_architectures())
