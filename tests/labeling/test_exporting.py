"""Masks in files for other programs; read back by FiftyOne's own importers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

import fiftyone_resclip as resclip
from fiftyone_resclip.errors import ConfigError, DatasetError, StorageError
from fiftyone_resclip.fields.masks import read_mask
from fiftyone_resclip.labeling.exporting import FORMATS

MakeDataset = Callable[..., fo.Dataset]
HW = (300, 400)


@pytest.fixture
def rings(make_dataset: MakeDataset) -> fo.Dataset:
    """Two images, with a hole in a class, another class in the hole, and pixels without a class."""
    dataset = make_dataset(3, sizes=(HW,))
    for number, sample in enumerate(dataset.limit(2)):
        mask = np.zeros(HW, np.uint8)
        mask[20 + number : 280, 30:370] = 1
        mask[100:200, 100:200] = 2
        mask[130:170, 130:170] = 0
        mask[150:250, 250:350] = 2
        sample["rings"] = fo.Segmentation(mask=mask)
        sample.save()
    dataset.mask_targets = {**dataset.mask_targets, "rings": {1: "road", 2: "car & bus"}}
    return dataset


def drawn(polylines: fo.Polylines, names: dict[str, int]) -> NDArray[np.uint8]:
    """Draws polygons in their order."""
    picture = Image.new("L", HW[::-1])
    for line in polylines.polylines:
        for points in line.points:
            ImageDraw.Draw(picture).polygon([(x * HW[1], y * HW[0]) for x, y in points], fill=names[line.label])
    return np.asarray(picture)


def test_cvat_polygons_are_the_masks(rings: fo.Dataset, tmp_path: Path) -> None:
    assert resclip.export(rings, "rings", tmp_path / "out") == 2
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["annotations.xml"]
    folder = Path(rings.first().filepath).parent
    back = fo.Dataset.from_dir(
        dataset_type=fo.types.CVATImageDataset, data_path=str(folder), labels_path=str(tmp_path / "out" / "annotations.xml")
    )
    shapes = {sample.filepath: sample.polylines for sample in back if sample.polylines is not None}
    assert sorted(shapes) == sorted(rings.exists("rings").values("filepath"))
    for sample in rings.exists("rings"):
        polylines, mask = shapes[sample.filepath], read_mask(sample.rings)
        assert [line.label for line in polylines.polylines] == ["road", "car & bus", "car & bus"]
        same = drawn(polylines, {"road": 1, "car & bus": 2}) == mask
        same[128:172, 128:172] = True  # a polygon has no hole
        assert same.mean() > 0.99
    back.delete()


def test_coco_has_an_object_for_each_region(rings: fo.Dataset, tmp_path: Path) -> None:
    resclip.export(rings.limit(1), "rings", tmp_path, "coco")
    found = json.loads((tmp_path / "annotations.json").read_text())
    assert [(each["id"], each["name"]) for each in found["categories"]] == [(1, "road"), (2, "car & bus")]
    assert [each["category_id"] for each in found["annotations"]] == [1, 2, 2]
    assert [each["file_name"] for each in found["images"]] == [Path(rings.first().filepath).name]


def test_png_masks_have_the_values_of_the_field(rings: fo.Dataset, tmp_path: Path) -> None:
    assert resclip.export(rings, "rings", str(tmp_path), "masks") == 2
    content = json.loads((tmp_path / FORMATS["masks"].file).read_text())
    assert [each["name"] for each in content["classes"].values()] == ["road", "car & bus"]
    for image in content["images"]:
        mask = read_mask(rings[image["image"]].rings)
        assert (np.asarray(Image.open(tmp_path / image["mask"])) == mask).all()


def test_an_earlier_export_is_not_lost(rings: fo.Dataset, tmp_path: Path) -> None:
    resclip.export(rings, "rings", tmp_path)
    before = (tmp_path / "annotations.xml").read_bytes()
    with pytest.raises(StorageError, match="exists already; choose another folder, or overwrite it"):
        resclip.export(rings.limit(1), "rings", tmp_path)
    broken = rings.last()
    broken["rings"] = fo.Segmentation(mask_path=str(tmp_path / "gone.png"))
    broken.save()
    with pytest.raises(DatasetError, match="can't be read"):
        resclip.export(rings, "rings", tmp_path, overwrite=True)
    assert (tmp_path / "annotations.xml").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if "annotations" in path.name] == ["annotations.xml"]
    resclip.export(rings.limit(1), "rings", tmp_path, overwrite=True)
    assert (tmp_path / "annotations.xml").read_bytes() != before


def test_only_names_below_the_common_folder_are_written(tmp_path: Path) -> None:
    folder = tmp_path / "R&D"
    folder.mkdir()
    dataset = fo.Dataset()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (8, 8)).save(folder / name)
        dataset.add_sample(fo.Sample(str(folder / name), made=fo.Segmentation(mask=np.ones((8, 8), np.uint8))))
    dataset.mask_targets = {"made": {1: "road"}}
    assert resclip.export(dataset, "made", tmp_path / "out") == 2
    assert 'name="a.png"' in (tmp_path / "out" / "annotations.xml").read_text()
    dataset.delete()


def test_what_can_not_be_exported_is_said(rings: fo.Dataset, tmp_path: Path) -> None:
    rings.mask_targets = {**rings.mask_targets, "colours": {"#ff0000": "road"}}
    rings.add_sample_field("nameless", fo.EmbeddedDocumentField, embedded_doc_type=fo.Segmentation)
    rings.set_values("nameless", rings.values("rings"))
    rings.clone_sample_field("rings", "colours")
    (tmp_path / "file").touch()
    odd = fo.Dataset()
    odd.add_sample(fo.Sample(str(tmp_path / "a&b.png"), rings=fo.Segmentation(mask=np.ones((4, 4), np.uint8))))
    odd.mask_targets = {"rings": {1: "road"}}
    for error, words, given in (
        (ConfigError, "format", {"format": "yolo"}),
        (DatasetError, "there is no field 'rngs' of masks", {"label_field": "rngs"}),
        (DatasetError, "must hold Segmentation labels", {"label_field": "filepath"}),
        (DatasetError, "at least one image", {"samples": rings.skip(2)}),
        (DatasetError, "class names", {"label_field": "nameless"}),
        (DatasetError, "colours", {"label_field": "colours", "format": "masks"}),
        (DatasetError, "a&b.png", {"samples": odd}),
        (StorageError, "must be a folder", {"folder": tmp_path / "file"}),
    ):
        arguments = {"samples": rings, "label_field": "rings", "folder": tmp_path / "out", **given}
        with pytest.raises(error, match=words):
            resclip.export(**arguments)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()
    odd.delete()
