from __future__ import annotations

from pathlib import Path

from benchmarks.pipeline import measure, photographs, tiny_model
from fiftyone_resclip.fields.images import read_image


def test_labelling_is_timed_to_the_end_for_both_kinds_of_masks(tmp_path: Path) -> None:
    paths = photographs(tmp_path, 2)
    assert {read_image(path).size for path in paths} == {(1600, 1200)}
    result = measure(tiny_model(), paths, 1)
    assert list(result) == ["disk", "database"]
    # whatever the machine does besides, a run can't be much quicker than the network alone, nor a hundred times slower
    assert all(0.01 < figures["efficiency"] < 3 for figures in result.values())
    assert all(0.01 < figures["busy"] < 1 for figures in result.values())
