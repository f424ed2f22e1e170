"""Regions of every type of label, with masks of any size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from fiftyone_resclip.errors import DatasetError, ImageError
from fiftyone_resclip.evidence import regions
from fiftyone_resclip.evidence.regions import check_regions, read_regions

HW = (40, 60)


def box(x: float, y: float, width: float, height: float, shape: tuple[int, int] = (5, 7)) -> fo.Detection:
    return fo.Detection(label="any", bounding_box=[x, y, width, height], mask=np.ones(shape, bool))


@pytest.mark.parametrize(
    ("label", "pixels"),
    [
        (fo.Detections(detections=[box(0, 0, 0.5, 0.5), box(0.5, 0.5, 0.5, 0.5)]), [600, 600]),
        (box(0.25, 0.25, 0.5, 0.5, (200, 300)), [600]),
        (box(-0.5, -0.5, 1.0, 1.0), [600]),  # only a quarter of it is inside
        (box(-1e300, 0, 2e300, 1), [1200, 2400]),  # absurdly large, and yet drawn
        (fo.Polyline(points=[[(0, 0), (1, 0), (1, 1), (0, 1)]], filled=True), [2400]),
        (fo.Polylines(polylines=[fo.Polyline(points=[[(0, 0), (0.5, 0), (0.5, 1), (0, 1)]], closed=True)]), [1200, 1240]),
        (fo.Segmentation(mask=np.repeat([[0, 3, 7, 70000]], 4, axis=0)), [600, 600, 600]),
    ],
    ids=["detections", "large mask", "beyond the image", "absurd box", "polygon", "closed polylines", "values"],
)
def test_regions_have_the_pixels_of_their_label(label: Any, pixels: list[int]) -> None:
    found = read_regions(label, HW)
    assert found is not None
    assert found.layers.shape[1:] == HW
    assert all(min(pixels) <= count <= max(pixels) for count in found.pixels.tolist())
    counted = np.bincount(found.layers.numpy().ravel())[1:]
    assert counted.tolist() == found.pixels.tolist()


def test_a_polygon_inside_another_is_a_hole() -> None:
    outer, inner = [(0, 0), (1, 0), (1, 1), (0, 1)], [(0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75)]
    found = read_regions(fo.Polyline(points=[outer, inner], filled=True), HW)
    assert found is not None
    assert found.layers[0, 20, 30] == 0 and found.layers[0, 0, 0] == 1


def test_overlapping_and_nested_regions_are_counted_larger_ones_first() -> None:
    nested = [box(0, 0, size, size) for size in (0.3, 1.0, 0.6)]
    found = read_regions(fo.Detections(detections=nested), HW)
    assert found is not None
    assert found.pixels.tolist() == sorted(found.pixels.tolist(), reverse=True)
    assert len(found.layers) == 3
    assert found.layers.amax(0)[0, 0] == 3 and found.layers.amax(0)[-1, -1] == 1


def test_many_nested_regions_take_bounded_memory() -> None:
    found = read_regions(fo.Detections(detections=[box(0, 0, 1 - i / 100, 1) for i in range(50)]), HW)
    assert found is not None and len(found.layers) == regions.MOST_LAYERS == len(found.pixels)


@pytest.mark.parametrize(
    "label",
    [
        fo.Detections(detections=[]),
        fo.Detections(detections=[fo.Detection(bounding_box=[0, 0, 1, 1])]),
        box(0.1, 0.1, 0.01, 0.01),
        box(2, 2, 1, 1),
        box(float("nan"), 0, 1, 1),
        fo.Polyline(points=[[(0, 0), (1, 1)]], filled=True),
        fo.Polyline(points=[[(0, 0), (1, 0), (1, 1)]]),
        fo.Segmentation(mask=np.zeros((4, 4), np.uint8)),
    ],
    ids=["none", "box", "tiny", "outside", "nan", "line", "open", "empty mask"],
)
def test_what_is_no_region_is_left_out(label: Any) -> None:
    assert read_regions(label, HW) is None


def test_ids_written_as_colours_are_regions(tmp_path: Path) -> None:
    colours = np.zeros((4, 4, 3), np.uint8)
    colours[:2], colours[2:] = (1, 2, 3), (1, 2, 4)
    Image.fromarray(colours).save(tmp_path / "panoptic.png")
    found = read_regions(fo.Segmentation(mask_path=str(tmp_path / "panoptic.png")), HW)
    assert found is not None and found.pixels.tolist() == [1200, 1200]


def test_a_mask_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="gone.png"):
        read_regions(fo.Segmentation(mask_path=str(tmp_path / "gone.png")), HW)


def test_boxes_without_masks_and_other_fields_are_refused() -> None:
    dataset = fo.Dataset()
    dataset.add_sample(fo.Sample("a.png", boxes=fo.Detections(detections=[fo.Detection(bounding_box=[0, 0, 1, 1])]), size=3))
    for field, words in (
        ("boxes", "the 1 detections in 'boxes' are boxes without masks"),
        ("size", "holds"),
        ("no", "is no field"),
    ):
        with pytest.raises(DatasetError, match=words):
            check_regions(dataset, field)
