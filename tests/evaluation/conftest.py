"""Fixtures that create datasets from pairs of masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest

Make = Callable[..., fo.Dataset]


def label(mask: Any) -> fo.Segmentation | None:
    return None if mask is None else fo.Segmentation(mask=np.array(mask, np.uint8))


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Creates a dataset of images from pairs of masks, truth first; ``None`` omits a label."""
    made: list[fo.Dataset] = []

    def fill(pairs: list[tuple[Any, Any]], truth: dict[Any, str], predicted: dict[Any, str]) -> fo.Dataset:
        dataset = fo.Dataset()
        made.append(dataset)
        for field in ("gt", "pred"):
            dataset.add_sample_field(field, fo.EmbeddedDocumentField, embedded_doc_type=fo.Segmentation)
        dataset.mask_targets = {"gt": truth, "pred": predicted}
        for index, (gt, pred) in enumerate(pairs):
            dataset.add_sample(fo.Sample(str(tmp_path / f"{index}.png"), gt=label(gt), pred=label(pred)))
        return dataset

    yield fill
    for dataset in made:
        dataset.delete()


@pytest.fixture
def make_video(tmp_path: Path) -> Iterator[Make]:
    """Creates a dataset of videos, each from a list of pairs of masks; the video files do not exist."""
    made: list[fo.Dataset] = []

    def fill(videos: list[list[tuple[Any, Any]]], targets: dict[int, str]) -> fo.Dataset:
        dataset = fo.Dataset()
        made.append(dataset)
        dataset.mask_targets = {"frames.gt": targets, "frames.pred": targets}
        for index, pairs in enumerate(videos):
            sample = fo.Sample(str(tmp_path / f"{index}.mp4"))
            for number, (gt, pred) in enumerate(pairs, start=1):
                sample.frames[number] = fo.Frame(gt=label(gt), pred=label(pred))
            dataset.add_sample(sample)
        return dataset

    yield fill
    for dataset in made:
        dataset.delete()
