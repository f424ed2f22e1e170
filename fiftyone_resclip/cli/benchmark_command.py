"""The command ``fiftyone-resclip benchmark``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fiftyone_resclip.cli.answers import Answer, answering
from fiftyone_resclip.cli.datasets import Folder
from fiftyone_resclip.cli.model_options import ModelChoice, model_options
from fiftyone_resclip.errors import ConfigError, ResCLIPError
from fiftyone_resclip.vocabulary import PUBLISHED

#: Options that only make sense for one's own dataset.
_OWN = ("ground_truth", "ignore_index", "classes", "preset")


@click.command("benchmark")
@click.argument("name", required=False, shell_complete=click.Choice([*PUBLISHED]).shell_complete)
@click.option("--all", "every", is_flag=True, help="Run all eight benchmarks.")
@click.option("--data-root", type=Folder(), help="Folder that contains the benchmarks' folders.")
@click.option("--dataset", help="Your own FiftyOne dataset, instead of a benchmark.")
@click.option("--ground-truth", metavar="FIELD", help="The dataset's field with the true masks; by default ground_truth.")
@click.option("--ignore-index", metavar="VALUES", help="The dataset's void values, separated by commas; by default 255.")
@click.option("--classes", type=Folder(), help="Text file with classes and words; by default the field's names.")
@click.option("--preset", help="Mode or published settings to start from, for your own dataset.")
@click.option("--limit", type=int, help="Maximum number of images.")
@click.option("--examples", type=int, default=0, metavar="N", help="Teach the model with N of the images, and leave them out.")
@model_options
@click.option("--batch-size", type=int, help="Images per batch; by default 4 on a CPU and 16 on a GPU.")
@click.option("--num-workers", type=int, default=2, show_default=True, help="Threads that read images.")
@click.option(
    "--out", type=Folder(), default=Path("benchmark-results"), show_default=True,
    help="Folder for the result files (JSON).",
)  # fmt: skip
@click.option("--work-dir", type=Folder(), help="Folder for masks; by default inside FiftyOne's datasets folder.")
@answering
def benchmark(
    name: str | None, every: bool, data_root: Path | None, dataset: str | None, out: Path, choice: ModelChoice, **options: Any
) -> Answer:
    """Measure mIoU on a benchmark or a dataset.

    Nothing is downloaded except weights.

    \b
    fiftyone-resclip benchmark voc21 --data-root /data
    fiftyone-resclip benchmark --all --data-root /data --limit 100
    fiftyone-resclip benchmark --dataset my-dataset --ground-truth ground_truth --classes words.txt

    NAME is voc21, voc20, context60, context59, coco_object, coco_stuff, ade20k or cityscapes.
    """
    if sum([bool(name), every, dataset is not None]) != 1:
        raise ConfigError("benchmark needs one of: a name such as voc21, --all, or --dataset NAME")
    if dataset is None and data_root is None:
        raise ConfigError("benchmark needs --data-root, the folder that contains the benchmark's files; nothing is downloaded")
    own = {option: options.pop(option) for option in _OWN}
    _refuse_ignored(own if dataset is None else {"data_root": data_root}, dataset)
    from fiftyone_resclip.doors.database import require_database
    from fiftyone_resclip.fields.mask_files import refuse_unwritable
    from fiftyone_resclip.published import run

    refuse_unwritable(out, "results")
    require_database()
    setup = run.Setup(choice.backbone, choice.name, choice.changes, choice.pretrained, **options)

    def keep(record: dict[str, Any]) -> None:
        click.echo(f"wrote {run.write(record, out)}", err=True)

    records: dict[str, Any]
    if every:
        assert data_root is not None
        records = run.run_all(data_root, setup, keep)
    else:
        records = {name or dataset or "": _record(name, data_root, dataset, setup, **own)}
        keep(*records.values())
    failed = any(isinstance(record, ResCLIPError) for record in records.values())
    plain = {key: {"error": str(row)} if isinstance(row, ResCLIPError) else row for key, row in records.items()}
    return Answer(run.table(records), plain, exit_code=int(failed))


def _record(
    name: str | None, data_root: Path | None, dataset: str | None, setup: Any, *, ground_truth: str | None,
    ignore_index: str | None, classes: Path | None, preset: str | None,
) -> dict[str, Any]:  # fmt: skip
    from fiftyone_resclip.evaluation.void import AUTO, parse_void
    from fiftyone_resclip.published import run

    if dataset is None:
        assert name is not None and data_root is not None
        return run.run_benchmark(name, data_root, setup)
    void = AUTO if ignore_index is None else parse_void(ignore_index)
    field = "ground_truth" if ground_truth is None else ground_truth
    return run.run_dataset(dataset, field, classes, setup, preset_name=preset, ignore_index=void)


def _refuse_ignored(options: dict[str, Any], dataset: str | None) -> None:
    given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value is not None]
    if given:
        use = "a published benchmark, whose settings --set changes" if dataset is None else "--dataset"
        raise ConfigError(f"{given[0]} can't be used with {use}; leave it out")
