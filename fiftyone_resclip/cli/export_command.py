"""The command ``fiftyone-resclip export``."""

from __future__ import annotations

from pathlib import Path

import click

from fiftyone_resclip.cli.answers import Answer, answering
from fiftyone_resclip.cli.datasets import Folder, samples_of
from fiftyone_resclip.errors import counted

_FORMATS = ("cvat", "coco", "masks")  # those of labeling.exporting, which would load FiftyOne


@click.command("export")
@click.argument("dataset")
@click.option("--out", required=True, type=Folder(), help="Folder to write to; images are not copied.")
@click.option("--field", default="resclip", show_default=True, help="Field with the masks.")
@click.option("--format", "form", default=_FORMATS[0], show_default=True, type=click.Choice(_FORMATS), help="What to write.")
@click.option("--view", help="A saved view of the dataset; by default all of it.")
@click.option("--kept", is_flag=True, help="Only masks that were kept in a review.")
@click.option("--overwrite", is_flag=True, help="Replace files of an earlier export.")
@answering
def export(dataset: str, out: Path, field: str, form: str, view: str | None, kept: bool, overwrite: bool) -> Answer:
    """Write masks to files, for CVAT and other annotation tools.

    \b
    fiftyone-resclip export my-dataset --out for-cvat/                  annotations.xml: "CVAT for images 1.1"
    fiftyone-resclip export my-dataset --out coco/ --format coco        annotations.json with polygons
    fiftyone-resclip export my-dataset --out png/ --format masks        a PNG and an overlay for each image

    In CVAT, create a task with the same images and classes first; then choose "Upload annotations" in its menu.
    """
    from fiftyone_resclip.explore import review
    from fiftyone_resclip.labeling import exporting

    samples = samples_of(dataset, view)
    images = exporting.export(review.kept(samples, field) if kept else samples, field, out, form, overwrite=overwrite)
    file = out / exporting.FORMATS[form].file
    return Answer(
        f"masks of {counted(images, 'image')} are in {file}",
        {"images": images, "dataset": dataset, "field": field, "file": str(file)},
    )
