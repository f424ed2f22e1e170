"""The command ``fiftyone-resclip label``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fiftyone_resclip.cli.answers import Answer, answering, progress_bar
from fiftyone_resclip.cli.datasets import Folder, check_path, folder_or_dataset
from fiftyone_resclip.cli.gpu_processes import devices, share
from fiftyone_resclip.cli.model_options import ModelChoice, model_options
from fiftyone_resclip.cli.vocab_command import named_vocabulary
from fiftyone_resclip.errors import ConfigError

if TYPE_CHECKING:
    from fiftyone_resclip.model import ResCLIPModel


@click.command("label")
@click.argument("target", metavar="FOLDER_OR_DATASET")
@click.option("--classes", help="Classes such as 'road, car, everything else', or a text file with one class per line.")
@click.option("--vocab", metavar="NAME", help="Classes that `vocab save` or the App saved, or those of a published benchmark.")
@click.option("--background", help="The one of the classes that uncertain pixels get, or 'auto' to add one with chosen words.")
@click.option("--name", help="Name for the dataset of a folder; by default that of the folder.")
@click.option("--view", help="A saved view of the dataset; by default all of it.")
@click.option("--field", default="resclip", show_default=True, help="Field for the masks.")
@click.option("--overwrite", is_flag=True, help="Give images that have a mask a new one.")
@click.option("--overwrite-field", metavar="FIELD", help="The same for masks that ResCLIP did not make: the field's name again.")
@click.option("--out", type=Folder(), help="At the end, also write masks and overlays to this folder, named like the images.")
@click.option("--output-dir", type=Folder(), help="Where the dataset keeps mask files; by default its database.")
@click.option("--summary/--no-summary", default=True, help="Also store which classes each image has, and how much of each.")
@click.option("--confidence-maps", is_flag=True, help="Also store each pixel's confidence, as a heat map.")
@click.option("--examples", metavar="FIELD", help="Learn first from the masks of this field; see docs/EVIDENCE.md.")
@click.option("--lesson", metavar="NAME", help="Use what was learned and saved under this name; with --examples, save it.")
@click.option("--regions", metavar="FIELD", help="Field of outlines, such as SAM's masks, whose pixels vote for a class.")
@click.option("--present", metavar="FIELD", help="Field that names the classes in an image, such as tags.")
@click.option("--preset", help="Mode such as fast, or published settings such as voc21, to start from.")
@model_options
@click.option("--batch-size", type=int, help="Images per batch; by default 4 on a CPU and 16 on a GPU.")
@click.option("--num-workers", type=int, default=2, show_default=True, help="Threads that read images.")
@click.option("--shard", metavar="I/N", help="Label only part I of N, from 0; 'auto' asks torchrun or SLURM.")
@click.option("--gpus", metavar="all|N", help="Share the work among GPUs of this machine, a process for each.")
@click.option("--ray", is_flag=True, help="Share the work among the actors of a Ray cluster.")
@click.option("--ray-address", help="Address of the cluster; by default the one of this machine, or a new one.")
@click.pass_obj
@answering
def label(line: list[str], target: str, shard: str | None, gpus: str | None, **options: Any) -> Answer:
    """Segment a folder of images or a dataset.

    Classes are given in words.

    \b
    fiftyone-resclip label photos/ --classes "road, car, everything else"
    fiftyone-resclip label photos/ --classes words.txt --out labelled/      PNG masks, JPEG overlays, resclip-classes.json
    fiftyone-resclip label my-dataset --classes words.txt --preset fast --output-dir masks/
    fiftyone-resclip label my-dataset --vocab streets --examples kept --regions sam_masks

    A folder becomes a FiftyOne dataset, so that the App can show it: fiftyone app launch NAME. What is done stays: run the same
    command again to go on after a stop, or to label images that are new. Images that can't be read are listed and left out.
    """
    from fiftyone_resclip.labeling import sharding

    _check_line(target, options)  # before FiftyOne is loaded, which takes seconds
    part = None if shard is None else sharding.parse(shard)
    if gpus is not None:
        share(line, devices(gpus), part or (0, 1))
        return Answer("", {"gpus": gpus})
    return _labelled(target, part, **options)


def _labelled(
    target: str, shard: tuple[int, int] | None, *, field: str, name: str | None, view: str | None, out: Path | None, ray: bool,
    ray_address: str | None, **options: Any,
) -> Answer:  # fmt: skip
    from fiftyone_resclip.fields.mask_files import refuse_unwritable
    from fiftyone_resclip.fields.private import dataset_of
    from fiftyone_resclip.labeling.label import check_request
    from fiftyone_resclip.labeling.label import label as label_samples
    from fiftyone_resclip.labeling.picture_files import refuse_other_classes, write_pictures

    if out is not None:
        refuse_unwritable(out, "pictures")
    samples = folder_or_dataset(target, name, view)
    names = ("overwrite", "output_dir", "regions", "present", "summary", "confidence_maps", "batch_size", "num_workers")
    options["overwrite"] = options.pop("overwrite_field") or options["overwrite"]
    settings = {setting: options[setting] for setting in names} | {"engine": "ray" if ray else "local"}
    check_request(samples, field, **settings)  # before weights are loaded, which may take minutes
    model, learned = _model(samples, **{key: value for key, value in options.items() if key not in names})
    if out is not None:
        refuse_other_classes(out, model.mask_targets)
    with progress_bar("labelling") as show:
        report = label_samples(samples, model, field, **settings, shard=shard, address=ray_address, progress=show)
    dataset = dataset_of(samples).name
    lines, is_empty = [*learned, str(report)], report.labelled + report.skipped == 0
    if not is_empty:
        lines.append(f"dataset {dataset!r}, field {field!r}; to see it: fiftyone app launch {dataset!r}")
    if out is not None:
        lines.append(f"{write_pictures(samples, field, out)} masks and overlays in {out}")
    data = {**report.to_json(), "dataset": dataset, "field": field, "out": None if out is None else str(out.absolute())}
    return Answer("\n".join(lines), data, exit_code=int(report.failed > 0 and is_empty))


def _check_line(target: str, options: dict[str, Any]) -> None:
    """Refuses what needs no dataset to be seen: a folder that is none, classes, settings."""
    from fiftyone_resclip.presets import start_config
    from fiftyone_resclip.vocabulary import Vocabulary

    if options["ray_address"] is not None and not options["ray"]:
        raise ConfigError("--ray-address is for --ray; add it, or leave the address out")
    check_path(target)
    if options["classes"] is None and options["vocab"] is None:
        raise ConfigError("label needs --classes, such as --classes 'road, sky, everything else', or --vocab NAME")
    if options["classes"] is not None and options["vocab"] is not None:
        raise ConfigError("--classes and --vocab both name the classes; leave out one of them")
    if options["classes"] is not None:
        background = options["background"]
        Vocabulary.parse(Vocabulary.parse(options["classes"]), None if background == "auto" else background)
    start_config(options["choice"].name, options["preset"]).varied(options["choice"].changes)


def _model(
    samples: Any, *, classes: str | None, vocab: str | None, background: str | None, preset: str | None, examples: str | None,
    lesson: str | None, choice: ModelChoice,
) -> tuple[ResCLIPModel, list[str]]:  # fmt: skip
    """Loads the model of a command line; also returns what to say about what it learned."""
    from fiftyone_resclip.evaluation.matching import MaskField
    from fiftyone_resclip.evidence.learning import learn
    from fiftyone_resclip.evidence.lessons import load_lesson, save_lesson
    from fiftyone_resclip.fields.private import dataset_of
    from fiftyone_resclip.model import load_model

    if examples is not None:
        MaskField.of(samples, examples)
    model = load_model(
        choice.name,
        classes if vocab is None else named_vocabulary(vocab),
        background=background,
        preset_name=preset,
        pretrained=choice.pretrained,
        device=choice.device,
        taught=load_lesson(lesson) if lesson is not None and examples is None else None,
        **choice.changes,
    )
    if examples is None:
        return model, []
    model = learn(model, dataset_of(samples), examples)
    lines = [str(model.taught)]
    if lesson is not None and model.taught is not None:
        lines.append(f"saved as {save_lesson(lesson, model.taught)}")
    return model, lines
