"""The classes of masks of any origin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest

from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.labeling.label import label
from fiftyone_resclip.labeling.summarizing import summarize
from fiftyone_resclip.model import ResCLIPModel
from tests.labeling.test_companions import of_mask, shares

MakeDataset = Callable[..., fo.Dataset]


@pytest.fixture
def colours() -> Iterator[fo.Dataset]:
    dataset = fo.Dataset()
    mask = np.zeros((2, 4, 3), np.uint8)
    mask[:, 1:] = (255, 0, 0)
    dataset.add_sample(fo.Sample("a.png", truth=fo.Segmentation(mask=mask)))
    dataset.mask_targets = {"truth": {"#ff0000": "road"}}
    yield dataset
    dataset.delete()


def test_ground_truth_gets_its_classes_once(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(3)
    done = summarize(dataset[:2], "ground_truth")
    assert str(done) == "the classes of 2 masks are in 'ground_truth_classes'"
    assert str(summarize(dataset, "ground_truth")) == (
        "the classes of 1 masks are in 'ground_truth_classes'; 2 had a summary already"
    )
    for sample in dataset:
        truth = sample.ground_truth.get_mask()
        assert shares(sample, "ground_truth_classes") == pytest.approx(of_mask(truth))
        assert {found.confidence for found in sample.ground_truth_classes.classifications} == {None}


def test_masks_that_were_edited_are_listed_anew(make_dataset: MakeDataset, fast_model: ResCLIPModel) -> None:
    dataset = make_dataset(2)
    label(dataset, fast_model)
    sample = dataset.first()
    sample.resclip.mask = np.full_like(sample.resclip.mask, 9)
    sample.save()
    assert summarize(dataset).images == 0
    assert summarize(dataset, overwrite=True).field == "resclip_classes"  # not a second field beside that of the run
    dataset.reload()
    assert shares(dataset.first()) == {"snow": 1.0}


def test_colours_are_read_by_their_mask_targets(colours: fo.Dataset) -> None:
    summarize(colours, "truth")
    assert shares(colours.first(), "truth_classes") == {"road": 0.75}


def test_masks_that_can_not_be_read_cost_only_themselves(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(3)
    Path(dataset.first().ground_truth.mask_path).write_bytes(b"nothing")
    done = summarize(dataset, "ground_truth")
    assert done.images == 2
    assert list(done.failures) == [dataset.first().id]
    assert "sample" in str(done) and "must be a readable" in str(done)
    assert [value is None for value in dataset.values("ground_truth_classes")] == [True, False, False]


def test_what_is_not_a_field_of_masks_is_refused(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(1)
    with pytest.raises(DatasetError, match="field of masks 'ground_truht' is unknown; did you mean 'ground_truth'"):
        summarize(dataset, "ground_truht")
    with pytest.raises(DatasetError, match="the name of a field must be text, but got NoneType"):
        summarize(dataset, None)  # type: ignore[arg-type]
    dataset.mask_targets = {}
    with pytest.raises(DatasetError, match="field 'ground_truth' needs mask targets"):
        summarize(dataset, "ground_truth")
    assert "ground_truth_classes" not in dataset.get_field_schema()
