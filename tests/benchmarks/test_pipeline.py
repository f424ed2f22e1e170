from __future__ import annotations

from pathlib import Path
from typing import Any

import fiftyone as fo
import pytest

from benchmarks import pipeline
from fiftyone_resclip.fields.images import read_image
from fiftyone_resclip.model import ResCLIPModel
from tests.benchmarks.conftest import Clock

IMAGES = 2


@pytest.mark.parametrize(("besides", "efficiency"), [(0, 1.0), (IMAGES, 0.5)])
def test_labelling_is_timed_to_the_end_against_the_same_work_of_the_network(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, besides: int, efficiency: float
) -> None:
    """The network takes a second an image; ``besides`` is what a run takes after its last one."""
    paths = pipeline.photographs(tmp_path, IMAGES)
    assert {read_image(path).size for path in paths} == {(1600, 1200)}
    clock.charge(ResCLIPModel, "label_maps", lambda model, pictures, whole=False: len(pictures))
    label, on_disk = pipeline.label, list[bool]()

    def label_and_look(dataset: fo.Dataset, *arguments: Any, **keywords: Any) -> None:
        label(dataset, *arguments, **keywords)
        clock.now += besides
        on_disk.extend(segmentation.mask is None for segmentation in dataset.values("resclip"))

    monkeypatch.setattr(pipeline, "label", label_and_look)
    result = pipeline.measure(pipeline.tiny_model(), paths, 1)
    assert on_disk == [True] * IMAGES + [False] * IMAGES, "every image has its mask, in both places"
    assert {kind: (figures["efficiency"], figures["busy"]) for kind, figures in result.items()} == {
        "disk": (efficiency, efficiency),
        "database": (efficiency, efficiency),
    }


def test_the_table_has_a_row_for_each_network() -> None:
    figures = {"efficiency": 0.894, "busy": 0.993}
    case = {"photo_hw": [30, 40], "model": "resclip-tiny", "network_threads": 2, "disk": figures, "database": figures}
    text = pipeline.table([case])
    header, _, row = ([cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines())
    assert header == ["photographs", "network", "processors for it", "masks on disk", "masks in the database"]
    assert row == ["30x40", "resclip-tiny", "2", "0.89, busy 99 %", "0.89, busy 99 %"]
