from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import numpy as np

from fiftyone_resclip.evaluation.error_masks import write_error_masks
from fiftyone_resclip.evaluation.evaluate import evaluate
from fiftyone_resclip.explore import review
from fiftyone_resclip.explore.review_history import latest_field
from fiftyone_resclip.explore.review_pictures import pictures, reviewable
from fiftyone_resclip.fields import masks, schema
from fiftyone_resclip.fields.colour_scheme import class_colours
from fiftyone_resclip.labeling.label import label
from fiftyone_resclip.model import ResCLIPModel
from tests.explore.test_layers import decoded

MakeDataset = Callable[..., fo.Dataset]


def test_predictions_come_first_and_error_masks_never(
    make_dataset: MakeDataset, fast_model: ResCLIPModel, tmp_path: Path
) -> None:
    dataset = make_dataset(2)
    assert reviewable(dataset) == ["ground_truth"]
    label(dataset, fast_model, "pred", progress=False)
    label(dataset, fast_model, "newer", progress=False)
    dataset.clone_sample_field("ground_truth", "drawn")
    write_error_masks(dataset, "pred", "ground_truth", "errors", tmp_path)
    evaluate(dataset, "pred", "ground_truth", "first", progress=False)
    assert reviewable(dataset) == ["newer", "pred", "drawn", "ground_truth"]
    assert latest_field(dataset) is None
    review.mark(dataset, "pred", dataset.values("id")[:1], "keep")
    assert latest_field(dataset) == "pred"


def test_a_mask_is_sent_with_its_classes_and_its_verdict(make_dataset: MakeDataset, fast_model: ResCLIPModel) -> None:
    dataset = make_dataset(3)
    label(dataset, fast_model, "pred", progress=False)
    ids = dataset.values("id")
    review.mark(dataset, "pred", ids[:1], "keep")
    shown = pictures(dataset, "pred", [ids[2], ids[0]])
    assert [picture["id"] for picture in shown] == [ids[2], ids[0]]
    assert [picture["verdict"] for picture in shown] == [None, "keep"]
    sample = dataset[ids[2]]
    assert shown[0]["path"] == sample.filepath and shown[0]["problem"] is None
    (mask,) = shown[0]["masks"]
    entries = mask["layer"]["entries"]
    values = {name: value for value, name in dataset.mask_targets["pred"].items()}
    colours = class_colours(dataset, [*values], "pred")
    sent = np.array([values[entry["name"]] for entry in entries])[decoded(mask["layer"])]
    assert (sent == masks.read_mask(sample.pred)).all()
    assert [entry["colour"] for entry in entries] == [colours[entry["name"]] for entry in entries]


def test_unlabelled_pixels_stay_clear_and_large_masks_are_sent_smaller(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(2)
    schema.declare_field(dataset, "pred", {1: "cloth"})
    mask = np.zeros((20, 4000), np.uint8)
    mask[:, 2000:] = 1
    mask[:, 3000:] = 9
    missing = fo.Segmentation(mask_path="/nowhere/mask.png")
    dataset.set_values("pred", [fo.Segmentation(mask=mask), missing])
    large, broken = pictures(dataset, "pred", dataset.values("id"))
    layer = large["masks"][0]["layer"]
    assert [(entry["name"], entry["colour"] is None) for entry in layer["entries"]] == [
        ("no class", True), ("cloth", False), ("value 9", True),
    ]  # fmt: skip
    assert decoded(layer).shape == (8, 1600)
    assert broken["masks"] == [] and "/nowhere/mask.png" in broken["problem"]


def test_a_verdict_on_another_label_does_not_count(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(1)
    schema.declare_field(dataset, "pred", {1: "cloth"})
    sample = dataset.first()
    sample["pred"] = fo.Segmentation(mask=np.eye(8, dtype=np.uint8))
    sample.save()
    review.mark(dataset, "pred", [sample.id], "keep")
    assert pictures(dataset, "pred", [sample.id])[0]["verdict"] == "keep"
    sample["pred"] = fo.Segmentation(mask=np.eye(8, dtype=np.uint8))
    sample.save()
    assert pictures(dataset, "pred", [sample.id])[0]["verdict"] is None
