"""Writes the masks of a field to files for annotation tools and other programs: ``resclip.export``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import fiftyone as fo
import numpy as np
from fiftyone.core.media import IMAGE

from fiftyone_resclip.errors import ConfigError, DatasetError, StorageError, unknown
from fiftyone_resclip.fields.arguments import checked_collection
from fiftyone_resclip.fields.mask_files import check_writable, storing
from fiftyone_resclip.fields.names import checked
from fiftyone_resclip.fields.private import dataset_of
from fiftyone_resclip.fields.schema import has_masks
from fiftyone_resclip.fields.slices import select_slice
from fiftyone_resclip.labeling.picture_files import LEGEND, below_common_folder, common_folder, write_pictures

_TOLERANCE_PX = 2


class Format(NamedTuple):
    """A form in which masks can be exported.

    Attributes:
        meaning: what it is, in a few words
        file: the file, below the folder, that says what is what
    """

    meaning: str
    file: str


#: What :func:`export` can write, by name.
FORMATS: Mapping[str, Format] = {
    "cvat": Format("one XML file with polygons, as CVAT imports it ('CVAT for images 1.1')", "annotations.xml"),
    "coco": Format("one JSON file with polygons, as COCO has them", "annotations.json"),
    "masks": Format("a PNG for each image, an overlay to look at, and a JSON file with the classes", LEGEND),
}


def export(samples: Any, label_field: str, folder: str | Path, format: str = "cvat", *, overwrite: bool = False) -> int:
    """Writes the masks of a field to files.

    Polygons, one for each connected region of more than a few pixels, follow the mask to within two pixels. They have no holes:
    the larger come first, so that CVAT draws what lies in a region over it. COCO has no such order; train on ``masks`` there.

    Args:
        samples: a FiftyOne dataset or view of images, such as those that were kept,
            :func:`fiftyone_resclip.explore.review.kept`; images without a mask are left out
        label_field: the field of masks
        folder: where to write, created if it is missing; images are not copied
        format ("cvat"): a key of :data:`FORMATS`
        overwrite (False): whether to replace files of an earlier export

    Returns:
        number of images

    Raises:
        ConfigError: if the format is unknown
        DatasetError: if there is no such field of masks, it has no class names, no image has a mask, or a mask can't be read
        StorageError: if the files exist, or can't be written
    """
    labelled, target = check(samples, label_field, folder, format, overwrite=overwrite)
    if format == "masks":
        return write_pictures(labelled, label_field, target.parent)
    names = dataset_of(samples).mask_targets[label_field]
    with storing(target.parent, "exported masks"):
        target.parent.mkdir(parents=True, exist_ok=True)
        return _export(labelled.select_fields(label_field), label_field, names, target, format)


def check(
    samples: Any, label_field: str, folder: str | Path, format: str = "cvat", *, overwrite: bool = False
) -> tuple[Any, Path]:
    """Raises if :func:`export` would refuse this; writes nothing.

    Args:
        samples: as for :func:`export`, like all others
        label_field: the field of masks
        folder: where to write
        format ("cvat"): the format
        overwrite (False): whether to replace files

    Returns:
        a view of the images with masks, and the file that says what is what
    """
    if format not in FORMATS:
        raise ConfigError(unknown("format", format, FORMATS))
    target, dataset = Path(folder).expanduser() / FORMATS[format].file, dataset_of(checked_collection(samples, "samples"))
    if not has_masks(dataset, checked(label_field, "field")):
        raise DatasetError(f"there is no field {label_field!r} of masks to export")
    labelled = select_slice(samples).exists(label_field).sort_by("filepath")
    if labelled.media_type != IMAGE or not len(labelled):
        raise DatasetError(
            f"{label_field!r} must have a mask of at least one image, but has none here; label some, or choose other images"
        )
    names = dataset.mask_targets.get(label_field)
    if not names:
        raise DatasetError(f"field {label_field!r} must have class names in dataset.mask_targets, but has none; set them")
    if format == "masks" and not all(isinstance(value, int) for value in names):
        raise DatasetError(f"masks of {label_field!r} are colours, which this format has no place for; choose cvat or coco")
    written = below_common_folder(labelled.values("filepath")).values() if format == "cvat" else ()
    unfit = [str(name) for name in written if escape(str(name)) != str(name)]
    if unfit:  # FiftyOne's template would write them as they are
        raise DatasetError(f"CVAT's XML can't have &, <, > or quotes in names of files, but one is {unfit[0]!r}; choose coco")
    if target.exists() and not overwrite:
        raise StorageError(f"{str(target)!r} exists already; choose another folder, or overwrite it")
    if target.parent.exists() and not target.parent.is_dir():
        raise StorageError(f"{str(target.parent)!r} must be a folder, but is a file; choose another one")
    check_writable(target.parent, "exported masks")
    return labelled, target


def _export(labelled: Any, label_field: str, names: Mapping[int, str], target: Path, format: str) -> int:
    """Writes polygons beside the target, and then moves them there, so that no half of a file is ever found."""
    draft = target.with_name(f".{target.name}.partial")
    if format == "cvat":  # FiftyOne's template writes names as they are
        names = {value: escape(name) for value, name in names.items()}
    files = {"export_media": False, "labels_path": str(draft), "rel_dir": common_folder(labelled.values("filepath"))}
    try:
        with _exporter(format, files, names) as exporter:
            for sample in labelled.iter_samples():
                try:
                    labels = _shapes(sample[label_field], names)
                except Exception as error:  # whatever the decoder of a damaged mask raises
                    raise DatasetError(f"the mask of {sample.filepath!r} can't be read: {error}; label it again") from error
                exporter.export_sample(sample.filepath, labels, metadata=fo.ImageMetadata.build_for(sample.filepath))
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    return len(labelled)


def _exporter(format: str, files: Mapping[str, Any], names: Mapping[int, str]) -> Any:
    if format == "cvat":
        return fo.types.CVATImageDataset().get_dataset_exporter_cls()(**files)
    return fo.types.COCODetectionDataset().get_dataset_exporter_cls()(**files, classes=[*names.values()])


def _shapes(label: fo.Segmentation, names: Mapping[int, str]) -> fo.Polylines:
    """Returns a polygon for each connected region of more than a few pixels, the largest first.

    Polygons have no holes, so what lies in a hole must be drawn after what surrounds it. FiftyOne's ``to_polylines`` turns the
    edge of a hole into a region of its own, so this takes the outer edges only.
    """
    regions = label.to_detections(mask_targets=names, mask_types="thing").detections
    edges = [(region.label, region.to_polyline(tolerance=_TOLERANCE_PX).points) for region in regions]
    outer = [(name, max(found, key=_area)) for name, found in edges if found]
    outer.sort(key=lambda each: -_area(each[1]))
    return fo.Polylines(polylines=[fo.Polyline(label=name, points=[edge], closed=True, filled=True) for name, edge in outer])


def _area(points: Sequence[Sequence[float]]) -> float:
    x, y = np.array(points).T
    return abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1))) / 2
