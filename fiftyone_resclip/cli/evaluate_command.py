"""The command ``fiftyone-resclip evaluate``."""

from __future__ import annotations

import math
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fiftyone_resclip.cli.answers import Answer, answering
from fiftyone_resclip.cli.datasets import Folder, samples_of
from fiftyone_resclip.errors import ConfigError, DatasetError, counted

if TYPE_CHECKING:
    from fiftyone_resclip.evaluation.results import SemanticEvaluationResults


@click.command("evaluate")
@click.argument("dataset")
@click.option("--field", default="resclip", show_default=True, help="Field with the masks to judge.")
@click.option("--ground-truth", default="ground_truth", metavar="FIELD", show_default=True, help="Field with the true masks.")
@click.option("--masks", type=Folder(), help="First add true masks to that field: a folder of PNGs, named like the images.")
@click.option("--classes", help="The classes of --masks in the order of their values, from 1: words, or a text file.")
@click.option("--view", help="A saved view of the dataset; by default all of it.")
@click.option("--key", help="Name that the evaluation is stored under; by default the first that is free.")
@click.option("--overwrite", is_flag=True, help="Replace an evaluation of that name.")
@click.option("--map", "pairs", multiple=True, metavar="CLASS=TRUE_CLASS", help="Where the names of classes differ.")
@click.option("--ignore-index", default="auto", metavar="VALUES", help="Void values, separated by commas; by default 255.")
@click.option("--boundary", type=float, help="Also measure boundary IoU, within this share of the diagonal; 0.02 in the paper.")
@click.option("--worst", type=click.IntRange(min=0), default=5, show_default=True, help="How many of the worst images to list.")
@click.option("--confusions", type=click.IntRange(min=0), default=5, show_default=True, help="How many confusions to list.")
@click.option("--pictures", type=Folder(), help="Folder for pictures of the worst images, with their wrong pixels painted.")
@answering
def evaluate(
    dataset: str, field: str, ground_truth: str, masks: Path | None, classes: str | None, view: str | None, key: str | None,
    overwrite: bool, pairs: tuple[str, ...], ignore_index: str, boundary: float | None, worst: int,
    confusions: int, pictures: Path | None,
) -> Answer:  # fmt: skip
    """Compare masks with ground truth.

    Prints mIoU over the dataset, IoU of each class, the largest confusions, and the worst images.

    \b
    fiftyone-resclip evaluate my-dataset --worst 10 --pictures worst/
    fiftyone-resclip evaluate photos --masks annotated/ --classes "road, car, sky"      annotated/*.png: 1 road, 2 car, 3 sky
    fiftyone-resclip evaluate my-dataset --field better --key better --map car=vehicle --worst 20

    True masks are in a field of the dataset, with class names, or in a folder. The evaluation is stored with the dataset; the
    App shows it in the panels "ResCLIP: errors" and "Model Evaluation".
    """
    from fiftyone_resclip.evaluation import evaluate as home
    from fiftyone_resclip.evaluation.browsing import worst_images
    from fiftyone_resclip.evaluation.thumbnails import check_empty, write_error_pictures
    from fiftyone_resclip.evaluation.void import parse_void
    from fiftyone_resclip.labeling.mask_folders import add_masks
    from fiftyone_resclip.vocabulary import Vocabulary

    mapping, void = _mapping(pairs), parse_void(ignore_index)
    names = None if classes is None else dict(enumerate(Vocabulary.parse(classes).class_names, start=1))
    if names and masks is None:
        raise ConfigError("--classes names the values of --masks; add that, or leave it out")
    if pictures is not None:
        check_empty(pictures)
    samples = samples_of(dataset, view)
    if masks is not None:
        add_masks(samples, ground_truth, masks, names)
    elif not samples.has_field(ground_truth):
        raise DatasetError(
            f"there is no field {ground_truth!r}; name the one with true masks (--ground-truth), or their folder (--masks)"
        )
    key = key or next(free for number in count(1) if not samples.has_evaluation(free := f"resclip_eval_{number}"))
    results = home.evaluate(
        samples, field, ground_truth, key, ignore_index=void, mapping=mapping, boundary=boundary, overwrite=overwrite,
    )  # fmt: skip
    images = worst_images(results).limit(worst) if worst else samples.limit(0)
    drawn = 0 if pictures is None else write_error_pictures(results, images, pictures)
    rows = list(zip(*images.values(["filepath", f"{key}_miou", f"{key}_worst_class"]), strict=True))
    confused = results.top_confusions(confusions)
    lists = {
        "largest confusions": list(map(str, confused)),
        "worst images by their own mIoU": [f"{miou:6.2f} %  {path}  (worst class: {name})" for path, miou, name in rows],
        "pictures of these": [f"{counted(drawn, 'file')} in {pictures}"] if pictures is not None else [],
        "stored": [f"as {key!r}, which the App shows in its panel 'ResCLIP: errors'"],
    }
    text = "\n".join([str(results), *(line for title, lines in lists.items() if lines for line in ("", f"{title}:", *lines))])
    data = {
        **_data(results),
        "confusions": [{**each._asdict(), "share": _number(100 * each.share)} for each in confused],
        "worst": [{"image": path, "miou": _number(miou), "worst_class": name} for path, miou, name in rows],
    }
    return Answer(text, data)


def _data(results: SemanticEvaluationResults) -> dict[str, Any]:
    return {
        "key": results.key,
        "miou": _number(results.miou),
        "pixel_accuracy": _number(results.pixel_accuracy),
        "iou": {name: _number(value) for name, value in results.iou.items()},
        "boundary_miou": _number(results.boundary_miou),
        "images": results.images,
        "notes": results.notes(),
    }


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
