"""Names of classes in tags and labels."""

from __future__ import annotations

from typing import Any

import fiftyone as fo
import pytest

from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.evidence.presence import check_presence, present_classes
from fiftyone_resclip.vocabulary import Vocabulary

WORDS = Vocabulary.parse({"car": ["car", "sedan"], "traffic light": ["traffic light"], "rest": ["sky"]}, background="rest")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["car", "unknown"], [True, False, True]),
        (["Sedan "], [True, False, True]),
        ("traffic_light", [False, True, True]),
        (fo.Classification(label="car"), [True, False, True]),
        (fo.Classifications(classifications=[fo.Classification(label="car"), fo.Classification()]), [True, False, True]),
        (fo.Detections(detections=[fo.Detection(label="traffic light")]), [False, True, True]),
        (["unknown"], None),
        ([], None),
        (None, None),
        (fo.Detections(), None),
    ],
)
def test_only_named_classes_and_the_background_compete(value: Any, expected: list[bool] | None) -> None:
    found = present_classes(value, WORDS)
    assert (None if found is None else found.tolist()) == expected


def test_fields_that_name_nothing_are_refused() -> None:
    dataset = fo.Dataset()
    dataset.add_sample(fo.Sample("a.png", size=3))
    check_presence(dataset, "tags")
    for field in ("size", "no"):
        with pytest.raises(DatasetError, match=f"present must name a field of tags.*'{field}'"):
            check_presence(dataset, field)
