from __future__ import annotations

import json
import math
from pathlib import Path

import fiftyone as fo
import pytest
from PIL import Image

from fiftyone_resclip import demo
from fiftyone_resclip.demo import METHODS, N_EXAMPLES, TAUGHT
from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.tiny.scenes import COLOURS_AND_GROUNDS


def test_the_demo_ends_with_picture_table_and_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = demo.run(tmp_path, n_images=6)
    printed = capsys.readouterr().out
    report = json.loads((tmp_path / "report.json").read_text())
    assert list(results) == [*METHODS, TAUGHT] == list(report["methods"])
    for name, result in results.items():
        assert result.images == 6
        assert f"{name:<20}  {result.miou:6.2f}" in printed
        assert report["methods"][name]["miou"] == round(result.miou, 2)
        assert result.confusion.sum() == 6 * 144 * 192, "a pixel was not counted"
    assert results["NACLIP"].miou > results["CLIP (vanilla)"].miou
    assert results[TAUGHT].miou > results["ResCLIP"].miou + 2
    assert "8 examples of 9 of 9 classes" in report["methods"][TAUGHT]["taught"]
    with Image.open(tmp_path / "overview.png") as picture:
        assert picture.width > 1000
    dataset = fo.load_dataset(demo.DATASET_NAME)
    assert len(dataset) == 6 + N_EXAMPLES
    for name in results:
        assert not dataset.match_tags("example").exists(demo.field_of(name)), "an example was labelled"
        assert len(dataset.exists(demo.field_of(name))) == 6
        assert dataset.mask_targets[demo.field_of(name)] == dict(enumerate(COLOURS_AND_GROUNDS, start=1))
    dataset.delete()
    assert not math.isnan(results["ResCLIP"].miou)


def test_a_dataset_of_the_user_is_left_alone_and_one_of_the_demo_is_replaced(tmp_path: Path) -> None:
    own = fo.Dataset(demo.DATASET_NAME)
    own.add_sample(fo.Sample(filepath="/data/own.jpg"))
    try:
        with pytest.raises(DatasetError, match="dataset 'resclip-demo' must be one that the demo made, but is another; rename"):
            demo.make_dataset(tmp_path, 1)
        assert own.values("filepath") == ["/data/own.jpg"]
        own.name = "another name"
        assert [len(demo.make_dataset(tmp_path, count)) for count in (1, 2)] == [1 + N_EXAMPLES, 2 + N_EXAMPLES]
        assert len(fo.load_dataset("another name")) == 1
    finally:
        own.delete()
        fo.delete_dataset(demo.DATASET_NAME)


def test_fields_of_methods_are_names_and_differ() -> None:
    fields = [demo.field_of(name) for name in (*METHODS, TAUGHT)]
    assert len(set(fields)) == len(fields)
    assert all(field.isidentifier() and "__" not in field for field in fields)


def test_the_demo_advises_what_a_wheel_has(tmp_path: Path) -> None:
    advice = demo._farewell(tmp_path)
    assert "fiftyone-resclip demo --app" in advice and "make " not in advice
