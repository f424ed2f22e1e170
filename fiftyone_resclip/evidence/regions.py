"""Reads regions of unknown class from a field of any origin: SAM's masks, panoptic output, annotators' outlines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import fiftyone as fo
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fiftyone_resclip.core.voting import Regions
from fiftyone_resclip.errors import DatasetError, ImageError
from fiftyone_resclip.fields.masks import read_mask
from fiftyone_resclip.fields.values import resize

#: Smaller regions are left out: they hold too few patches to decide anything.
LEAST_PIXELS = 16
#: Regions that overlap more deeply than this are left out, the smallest first, so that memory stays bounded.
MOST_LAYERS = 16

#: Boxes end here at the latest, in pixels.
_FAR = 1e9

REGION_TYPES = (fo.Detections, fo.Detection, fo.Polylines, fo.Polyline, fo.Segmentation)

_Mask: TypeAlias = NDArray[np.bool_]


class _Shape(NamedTuple):
    rows: slice
    columns: slice
    inside: _Mask


def check_regions(samples: Any, field: str) -> None:
    """Refuses a field that can't hold regions.

    Args:
        samples: a FiftyOne dataset or view
        field: name of the field

    Raises:
        DatasetError: if there is no such field, it holds something else, or only boxes without masks
    """
    known = samples.get_field(field)
    kind = getattr(known, "document_type", None)
    if kind not in REGION_TYPES:
        names, found = ", ".join(each.__name__ for each in REGION_TYPES), "is no field" if known is None else f"holds {known}"
        raise DatasetError(f"regions must name a field of {names}, but {field!r} {found}")
    if kind in (fo.Detections, fo.Detection):
        path = f"{field}.detections" if kind is fo.Detections else field
        boxes, masks = samples.count(path), samples.count(f"{path}.mask") + samples.count(f"{path}.mask_path")
        if boxes and not masks:
            raise DatasetError(
                f"regions need outlines, but the {boxes} detections in {field!r} are boxes without masks; add instance masks"
            )


def read_regions(label: Any, image_hw: tuple[int, int]) -> Regions | None:
    """Reads the regions of one image.

    Args:
        label: a label of :data:`REGION_TYPES`; its masks may have any size. Classes are ignored. Detections without a mask, open
            polylines and regions of fewer than :data:`LEAST_PIXELS` are left out. In a segmentation each value but 0 is a region
        image_hw: height and width of the image in pixels

    Returns:
        the regions; ``None`` if there are none

    Raises:
        ImageError: if a mask can't be read
    """
    if isinstance(label, fo.Segmentation):
        return _of_values(_ids(label), image_hw)
    shapes = [shape for shape in _shapes(label, image_hw) if np.count_nonzero(shape.inside) >= LEAST_PIXELS]
    return _layered(shapes, image_hw) if shapes else None


def _ids(label: fo.Segmentation) -> NDArray[np.integer]:
    try:
        return read_mask(label)
    except ImageError:
        return read_mask(label, colours=True)  # panoptic files write ids as colours


def _of_values(ids: NDArray[np.integer], image_hw: tuple[int, int]) -> Regions | None:
    values, codes, pixels = np.unique(resize(ids, image_hw), return_inverse=True, return_counts=True)
    kept = np.flatnonzero((values != 0) & (pixels >= LEAST_PIXELS))
    kept = kept[np.argsort(-pixels[kept], kind="stable")]
    if not len(kept):
        return None
    number = np.zeros(len(values), np.int32)
    number[kept] = np.arange(1, len(kept) + 1)
    return Regions(torch.from_numpy(number[codes].reshape(1, *image_hw)), torch.from_numpy(pixels[kept]))


def _shapes(label: Any, image_hw: tuple[int, int]) -> Iterator[_Shape]:
    if isinstance(label, (fo.Detections, fo.Detection)):
        for detection in label.detections if isinstance(label, fo.Detections) else [label]:
            if detection.has_mask:
                yield from _of_detection(detection, image_hw)
    elif isinstance(label, (fo.Polylines, fo.Polyline)):
        for polyline in label.polylines if isinstance(label, fo.Polylines) else [label]:
            if polyline.filled or polyline.closed:
                yield _of_polygon(polyline.points, image_hw)


def _of_detection(detection: fo.Detection, image_hw: tuple[int, int]) -> Iterator[_Shape]:
    """Yields the part of an instance mask that lies inside the image; its box may reach beyond."""
    left, top, width, height = detection.bounding_box
    ends = np.array([top, top + height, left, left + width]) * np.repeat(image_hw, 2)
    if not np.isfinite(ends).all():
        return
    mask = read_mask(fo.Segmentation(mask=detection.mask, mask_path=detection.mask_path))
    first_row, last_row, first_column, last_column = np.round(np.clip(ends, -_FAR, _FAR)).astype(int).tolist()
    rows, from_rows = _visible(first_row, last_row, image_hw[0], mask.shape[0])
    columns, from_columns = _visible(first_column, last_column, image_hw[1], mask.shape[1])
    yield _Shape(rows, columns, mask[from_rows[:, None], from_columns[None, :]] > 0)


def _visible(first: int, last: int, length: int, mask_length: int) -> tuple[slice, NDArray[np.int64]]:
    """Returns the pixels of the image that a side of a box covers, and the nearest position of the mask for each."""
    visible = np.arange(max(first, 0), max(min(last, length), 0))
    positions = ((visible - first + 0.5) * mask_length / max(last - first, 1)).astype(np.int64)
    return slice(int(visible[0]), int(visible[-1]) + 1) if len(visible) else slice(0, 0), positions


def _of_polygon(shapes: Any, image_hw: tuple[int, int]) -> _Shape:
    """Draws a polygon; where two of its shapes overlap, there is a hole."""
    inside = np.zeros(image_hw, np.bool_)
    for points in shapes:
        if len(points) >= 3:
            canvas = Image.new("1", (image_hw[1], image_hw[0]))
            ImageDraw.Draw(canvas).polygon([(x * image_hw[1], y * image_hw[0]) for x, y in points], fill=1)
            inside ^= np.asarray(canvas)
    return _Shape(slice(0, image_hw[0]), slice(0, image_hw[1]), inside)


def _layered(shapes: list[_Shape], image_hw: tuple[int, int]) -> Regions:
    """Puts each region, larger ones first, on the first layer where it overlaps no other."""
    layers: list[NDArray[np.int32]] = []
    pixels: list[int] = []
    for shape in sorted(shapes, key=lambda shape: -np.count_nonzero(shape.inside)):
        area = shape.rows, shape.columns
        layer = next((layer for layer in layers if not layer[area][shape.inside].any()), None)
        if layer is None:
            if len(layers) == MOST_LAYERS:
                continue
            layer = np.zeros(image_hw, np.int32)
            layers.append(layer)
        pixels.append(int(np.count_nonzero(shape.inside)))
        layer[area][shape.inside] = len(pixels)
    return Regions(torch.from_numpy(np.stack(layers)), torch.tensor(pixels))
