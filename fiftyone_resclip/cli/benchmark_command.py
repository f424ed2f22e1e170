"""The command ``fiftyone-resclip benchmark``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fiftyone_resclip.cli.model_options import add_model_options, changed_settings
from fiftyone_resclip.errors import ConfigError


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
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
    parser.add_argument(
        "--examples", type=int, default=0, metavar="N", help="teach the model with N of the images, and leave them out"
    )
    add_model_options(parser)
    parser.add_argument("--batch-size", type=int, help="images per batch; by default 4 on a CPU and 16 on a GPU")
    parser.add_argument("--num-workers", type=int, default=2, help="threads that read images")
    parser.add_argument("--out", type=Path, default=Path("benchmark-results"), help="folder for the result files (JSON)")
    parser.add_argument("--work-dir", type=Path, help="folder for masks; by default inside FiftyOne's datasets folder")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    if sum([bool(options.name), options.all, bool(options.dataset)]) != 1:
        raise ConfigError("benchmark needs one of: a name such as voc21, --all, or --dataset NAME")
    if options.dataset is None and options.data_root is None:
        raise ConfigError("benchmark needs --data-root, the folder that contains the benchmark's files; nothing is downloaded")
    from fiftyone_resclip.clip.backbone import Backbone
    from fiftyone_resclip.doors.database import require_database
    from fiftyone_resclip.published import run

    changes = changed_settings(options)
    require_database()
    setup = run.Setup(
        Backbone.load(options.model, options.pretrained, options.device),
        options.model,
        changes,
        options.pretrained,
        limit=options.limit,
        examples=options.examples,
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
