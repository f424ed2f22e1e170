from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
import torch
from PIL import Image

from fiftyone_resclip.core.labels import LabelMap
from fiftyone_resclip.errors import DatasetError, ImageError
from fiftyone_resclip.fields import masks, schema
from fiftyone_resclip.vocabulary import Vocabulary


def label_map(labels: list[list[int]]) -> LabelMap:
    values = torch.tensor(labels, dtype=torch.int16)
    return LabelMap(values, torch.full(values.shape, 0.25), values)


@pytest.mark.parametrize(("n_classes", "dtype"), [(255, np.uint8), (256, np.uint16), (300, np.uint16)])
def test_values_start_at_one_in_as_few_bits_as_they_need(n_classes: int, dtype: type) -> None:
    segmentation = masks.to_segmentation(label_map([[-1, 0, n_classes - 1]]), n_classes)
    assert segmentation.mask.dtype == dtype
    assert segmentation.mask.tolist() == [[0, 1, n_classes]]
    assert segmentation.confidence == 0.25
    assert schema.mask_targets(Vocabulary.parse(["a", "b"])) == {1: "a", 2: "b"}


def test_a_label_of_a_file_is_that_of_memory_but_for_the_mask(tmp_path: Path) -> None:
    segmentation = masks.to_segmentation(label_map([[-1, 0, 2]]), 3, tmp_path / "mask.png")
    assert (segmentation.mask, segmentation.mask_path) == (None, str(tmp_path / "mask.png"))
    assert segmentation.confidence == 0.25
    assert masks.read_mask(segmentation).tolist() == [[0, 1, 3]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_mask_file_gives_back_its_values(tmp_path: Path, dtype: type) -> None:
    mask = np.array([[0, 1], [200, np.iinfo(dtype).max]], dtype)
    masks.write_mask(mask, tmp_path / "deep" / "mask.png")
    np.testing.assert_array_equal(masks.read_mask(fo.Segmentation(mask_path=str(tmp_path / "deep" / "mask.png"))), mask)
    np.testing.assert_array_equal(fo.Segmentation(mask_path=str(tmp_path / "deep" / "mask.png")).get_mask(), mask)
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["mask.png"]


def test_palette_masks_give_indices(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 15, 255]], np.uint8), "L").convert("P")
    image.putpalette(list(range(256)) * 3)
    image.save(tmp_path / "voc.png")
    assert masks.read_mask(fo.Segmentation(mask_path=str(tmp_path / "voc.png"))).tolist() == [[0, 15, 255]]


@pytest.mark.parametrize(("content", "message"), [(None, "must be a readable image"), ("rgb", r"must be \(H, W\) class ids")])
def test_broken_masks_are_named(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "mask.png"
    if content:
        Image.new("RGB", (3, 3)).save(path)
    with pytest.raises(ImageError, match=rf"mask.png' {message}"):
        masks.read_mask(fo.Segmentation(mask_path=str(path)))


def test_a_declared_field_has_type_targets_and_colours(make_dataset: Callable[..., fo.Dataset]) -> None:
    dataset = make_dataset(1)
    scheme = fo.ColorScheme(color_by="field", fields=[{"path": "other", "fieldColor": "#ff0000"}])
    dataset.app_config.color_scheme = scheme
    schema.declare_field(dataset, "pred", {1: "a", 2: "b"})
    schema.declare_field(dataset, "pred", {1: "a", 2: "b"})
    dataset.reload()
    assert dataset.get_field("pred").document_type is fo.Segmentation
    assert isinstance(dataset.get_field("pred.confidence"), fo.FloatField)
    assert dataset.mask_targets["pred"] == {1: "a", 2: "b"}
    assert "ground_truth" in dataset.mask_targets
    saved = dataset.app_config.color_scheme
    assert saved.color_by == "value"
    assert [f["path"] for f in saved.fields] == ["other", "pred", "ground_truth"]
    assert [e["intTarget"] for e in saved.fields[1]["maskTargetsColors"]] == [1, 2]


def test_a_field_of_another_type_is_left_alone(make_dataset: Callable[..., fo.Dataset]) -> None:
    dataset = make_dataset(1)
    dataset.add_sample_field("pred", fo.StringField)
    with pytest.raises(DatasetError, match="field 'pred' must hold Segmentation labels or be new"):
        schema.declare_field(dataset, "pred", {1: "a"})
    assert "pred" not in dataset.mask_targets
