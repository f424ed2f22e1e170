from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

import fiftyone_resclip as resclip
from fiftyone_resclip.errors import DatasetError, ImageError
from fiftyone_resclip.labeling.label import label
from fiftyone_resclip.model import load_model


def test_values_may_be_text_as_in_json_and_masks_that_are_there_stay(
    make_dataset: Callable[..., fo.Dataset], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = make_dataset(1)
    mask = np.array([[1, 2], [0, 255]], np.uint8)
    Image.fromarray(mask).save(tmp_path / Path(dataset.first().filepath).with_suffix(".png").name)
    assert resclip.add_masks(dataset, "drawn", tmp_path, {"1": "road", "2": "sky"}) == 1  # type: ignore[dict-item]
    assert dataset.mask_targets["drawn"] == {1: "road", 2: "sky"}
    assert resclip.add_masks(dataset, "drawn", tmp_path, {1: "road", 2: "sky"}) == 0
    assert "1 image had a mask in 'drawn' already and kept it" in caplog.text
    wrong: Any
    for wrong in (["road", "sky"], {"road": 1}):
        with pytest.raises(DatasetError, match="targets must give a class name by mask value, such as .*, but got"):
            resclip.add_masks(dataset, "other", tmp_path, wrong)
    assert "other" not in dataset.get_field_schema()


def test_masks_in_colour_are_refused_with_a_way_out(make_dataset: Callable[..., fo.Dataset], tmp_path: Path) -> None:
    dataset, folder = make_dataset(1), tmp_path / "drawn"
    folder.mkdir()
    height, width = np.asarray(Image.open(dataset.first().filepath)).shape[:2]
    path = folder / Path(dataset.first().filepath).with_suffix(".png").name
    Image.new("RGB", (width, height), "#ff0000").save(path)
    with pytest.raises(DatasetError, match="set the field yourself, to fo.Segmentation.*such as {'#ff0000': 'road'}"):
        resclip.add_masks(dataset, "drawn", folder, {1: "road"})
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ImageError) as broken:
        resclip.add_masks(dataset, "drawn", folder, {1: "road"})
    assert "colours that stand" not in str(broken.value)
    Image.new("RGB", (width, height), "#ff0000").save(path)
    dataset.set_values("drawn", [fo.Segmentation(mask_path=str(path))])
    dataset.mask_targets["drawn"] = {"#ff0000": "road"}
    label(dataset, load_model("resclip-tiny", ["road", "sky"], device="cpu"), "pred", progress=False)
    assert set(resclip.evaluate(dataset, "pred", "drawn").iou) == {"road"}
