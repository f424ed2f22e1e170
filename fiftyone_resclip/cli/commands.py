"""All commands, as one."""

from __future__ import annotations

import click

from fiftyone_resclip.cli.benchmark_command import benchmark
from fiftyone_resclip.cli.evaluate_command import evaluate
from fiftyone_resclip.cli.export_command import export
from fiftyone_resclip.cli.label_command import label
from fiftyone_resclip.cli.models_command import models
from fiftyone_resclip.cli.runs_command import runs
from fiftyone_resclip.cli.setup_commands import demo, doctor, install, uninstall
from fiftyone_resclip.cli.vocab_command import vocab

NAME = "fiftyone-resclip"


@click.group(NAME, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name=NAME, message="%(prog)s %(version)s")
def commands() -> None:
    """Semantic masks for classes that you give in words, without training: ResCLIP for FiftyOne.

    \b
    fiftyone-resclip demo                                          try it, offline
    fiftyone-resclip label photos/ --classes "road, sky, everything else" --out labelled/
    fiftyone-resclip label my-dataset --classes words.txt          words.txt: one class per line, "car: car, sedan"
    fiftyone-resclip evaluate my-dataset --worst 10                mIoU against ground_truth, and the worst images
    fiftyone-resclip export my-dataset --out for-cvat/             polygons, as CVAT imports them
    fiftyone-resclip doctor                                        is everything there that it needs?

    Each command has --help with examples. With --json, a command prints its result as JSON, and everything else to stderr.

    To complete words with Tab in bash (or zsh, fish), put this into ~/.bashrc:
    eval "$(_FIFTYONE_RESCLIP_COMPLETE=bash_source fiftyone-resclip)"
    """


for _command in (demo, label, evaluate, export, benchmark, runs, vocab, models, install, uninstall, doctor):
    commands.add_command(_command)
