"""The command ``fiftyone-resclip evaluate``."""

from __future__ import annotations

import math
from typing import Any

import click

from fiftyone_resclip.cli.answers import Answer, answering
from fiftyone_resclip.cli.datasets import samples_of
from fiftyone_resclip.errors import ConfigError


@click.command("evaluate")
@click.argument("dataset")
@click.option("--field", default="resclip", show_default=True, help="Field with the masks to judge.")
@click.option("--ground-truth", default="ground_truth", metavar="FIELD", show_default=True, help="Field with the true masks.")
@click.option("--view", help="A saved view of the dataset; by default all of it.")
@click.option("--key", default="resclip_eval", show_default=True, help="Name that the evaluation is stored under.")
@click.option("--overwrite", is_flag=True, help="Replace an evaluation of that name.")
@click.option("--map", "pairs", multiple=True, metavar="CLASS=TRUE_CLASS", help="Where the names of classes differ.")
@click.option("--ignore-index", default="auto", metavar="VALUES", help="Void values, separated by commas; by default 255.")
@click.option("--boundary", type=float, help="Also measure boundary IoU, within this share of the diagonal; 0.02 in the paper.")
@click.option("--worst", type=click.IntRange(min=0), default=5, show_default=True, help="How many of the worst images to list.")
@answering
def evaluate(
    dataset: str, field: str, ground_truth: str, view: str | None, key: str, overwrite: bool, pairs: tuple[str, ...],
    ignore_index: str, boundary: float | None, worst: int,
) -> Answer:  # fmt: skip
    """Compare masks with ground truth.

    Prints mIoU over the dataset, IoU of each class, and the worst images.

    \b
    fiftyone-resclip evaluate my-dataset
    fiftyone-resclip evaluate my-dataset --field better --key better --map car=vehicle --worst 20

    The evaluation is stored with the dataset; the App shows it in the panels "ResCLIP: errors" and "Model Evaluation".
    """
    from fiftyone_resclip.evaluation import evaluate as home
    from fiftyone_resclip.evaluation.browsing import worst_images
    from fiftyone_resclip.evaluation.void import parse_void

    mapping, void = _mapping(pairs), parse_void(ignore_index)
    samples = samples_of(dataset, view)
    results = home.evaluate(
        samples, field, ground_truth, key, ignore_index=void, mapping=mapping, boundary=boundary, overwrite=overwrite,
    )  # fmt: skip
    images = worst_images(results).limit(worst) if worst else samples.limit(0)
    rows = list(zip(*images.values(["filepath", f"{key}_miou", f"{key}_worst_class"]), strict=True))
    shown = [f"{miou:6.2f} %  {path}  (worst class: {name})" for path, miou, name in rows]
    text = "\n".join([str(results), *(["", f"the {len(shown)} worst images by their own mIoU:", *shown] if shown else [])])
    data = {
        "key": key,
        "miou": _number(results.miou),
        "pixel_accuracy": _number(results.pixel_accuracy),
        "iou": {name: _number(value) for name, value in results.iou.items()},
        "boundary_miou": _number(results.boundary_miou),
        "images": results.images,
        "notes": results.notes(),
        "worst": [{"image": path, "miou": _number(miou), "worst_class": name} for path, miou, name in rows],
    }
    return Answer(text, data)


def _mapping(pairs: tuple[str, ...]) -> dict[str, str] | None:
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, true = pair.partition("=")
        if not (equals and name.strip() and true.strip()):
            raise ConfigError(f"--map needs CLASS=TRUE_CLASS, such as car=vehicle, but got {pair!r}")
        found[name.strip()] = true.strip()
    return found or None


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 2)
