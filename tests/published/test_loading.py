from __future__ import annotations

from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest

from fiftyone_resclip.errors import ConfigError, DatasetError
from fiftyone_resclip.fields import masks
from fiftyone_resclip.presets import preset
from fiftyone_resclip.published.folders import FOLDERS, find_pairs
from fiftyone_resclip.published.loading import GROUND_TRUTH, load_benchmark
from fiftyone_resclip.published.numbers import published_miou
from fiftyone_resclip.vocabulary import Vocabulary
from tests.published.conftest import NAMES, draw_mask

STUFF = "coco_stuff164k/annotations/val2017"
EXPECTED = {
    "voc21": ["background", "aeroplane", "television monitor", None],
    "voc20": [None, "aeroplane", "television monitor", None],
    "context60": ["background", "aeroplane", "wood"],
    "context59": [None, "aeroplane", "wood"],
    "coco_object": ["person", "stop sign", "toothbrush", "background", "background", None],
    "coco_stuff": ["person", "stopsign", "toothbrush", "banner", "wood", None],
    "ade20k": [None, "wall", "flag"],
    "cityscapes": [None, "road", "building", "bicycle", None],
}


def stripes(sample: fo.Sample, targets: dict[int, str]) -> list[str | None]:
    """Returns the class names of a mask from left to right."""
    mask = masks.read_mask(sample[GROUND_TRUTH])
    assert (mask == mask[0]).all()
    row = mask[0]
    return [targets.get(int(value)) for value in row[np.append(True, row[1:] != row[:-1])]]


def joined(names: list[str | None]) -> list[str | None]:
    """Merges equal neighbours into one stripe, as :func:`stripes` does."""
    return [name for index, name in enumerate(names) if index == 0 or name != names[index - 1]]


@pytest.mark.parametrize("name", FOLDERS)
def test_every_benchmark_loads_with_its_class_names(root: Path, tmp_path: Path, name: str) -> None:
    samples = load_benchmark(name, root, tmp_path / "work")
    targets = samples._dataset.mask_targets[GROUND_TRUTH]
    assert list(targets.values()) == list(Vocabulary.preset(name).class_names)
    assert [stripes(sample, targets) for sample in samples] == [joined(EXPECTED[name])] * 2
    assert [Path(path).name.split("_")[0].split(".")[0] for path in samples.values("filepath")] == list(NAMES)


@pytest.mark.parametrize(
    ("name", "mask", "values", "expected"),
    [
        ("coco_object", f"{STUFF}/one_instanceTrainIds.png", (0, 1, 80, 255), ["background", "person", "toothbrush", None]),
        ("coco_stuff", f"{STUFF}/one_labelTrainIds.png", (0, 80, 170, 255), ["person", "banner", "wood", None]),
        ("cityscapes", "cityscapes/gtFine/val/town-one/one_gtFine_labelTrainIds.png", (0, 18, 255), ["road", "bicycle", None]),
    ],
)  # fmt: skip
def test_masks_that_need_no_conversion_are_taken_first(
    root: Path, tmp_path: Path, name: str, mask: str, values: tuple[int, ...], expected: list[str | None]
) -> None:
    draw_mask(root / mask, values)
    samples = load_benchmark(name, root, tmp_path / "work", limit=1)
    assert stripes(samples.first(), samples._dataset.mask_targets[GROUND_TRUTH]) == expected


def test_the_folder_itself_will_do_as_data_root(root: Path) -> None:
    assert len(find_pairs("voc21", root / "VOCdevkit" / "VOC2012")) == 2
    assert len(find_pairs("cityscapes", root / "cityscapes", limit=1)) == 1


def test_loading_goes_on_where_it_stopped(root: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    first = load_benchmark("ade20k", root, work, limit=1)
    written = (work / "ade20k" / GROUND_TRUTH / "one.png").stat().st_mtime_ns
    both = load_benchmark("ade20k", root, work)
    assert both.values("id")[:1] == first.values("id")
    assert len(both) == len(both._dataset) == 2
    assert (work / "ade20k" / GROUND_TRUTH / "one.png").stat().st_mtime_ns == written


def test_another_copy_of_a_dataset_is_not_mistaken_for_the_first(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_benchmark("ade20k", root, tmp_path / "work")
    fo.delete_dataset("resclip-ade20k")
    draw_mask(root / "ADEChallengeData2016/annotations/validation/one.png", (7, 8))
    monkeypatch.chdir(root / "cityscapes")
    samples = load_benchmark("ade20k", "..", tmp_path / "work")
    assert len(samples) == len(samples._dataset) == 2
    assert np.unique(masks.read_mask(samples.first()[GROUND_TRUTH])).tolist() == [7, 8]
    elsewhere = load_benchmark("ade20k", "../../data", tmp_path / "elsewhere")
    assert len(elsewhere._dataset) == 2
    assert all(str(tmp_path / "elsewhere") in path for path in elsewhere.values(f"{GROUND_TRUTH}.mask_path"))


def test_what_is_missing_is_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="benchmark 'voc12' is unknown; did you mean 'voc2"):
        find_pairs("voc12", root)
    with pytest.raises(DatasetError, match="data root must be the folder that contains the benchmarks' folders"):
        find_pairs("ade20k", tmp_path / "nowhere")
    with pytest.raises(
        DatasetError, match=r"ade20k needs ADE20K \(scene parsing challenge 2016\): annotations/validation must be in"
    ):
        find_pairs("ade20k", tmp_path)
    (root / "VOCdevkit/VOC2012/JPEGImages/two.jpg").unlink()
    (root / "VOCdevkit/VOC2012/SegmentationClass/one.png").unlink()
    with pytest.raises(DatasetError, match=r"these are missing: .*SegmentationClass/one.png, .*JPEGImages/two.jpg$"):
        find_pairs("voc21", root)
    for path in (root / STUFF).iterdir():
        path.unlink()
    with pytest.raises(DatasetError, match=r"these are missing: .*one.png, .*two.png"):
        find_pairs("coco_stuff", root)
    for path in (root / "cityscapes/leftImg8bit").rglob("*.png"):
        path.unlink()
    with pytest.raises(DatasetError, match="has no validation images"):
        find_pairs("cityscapes", root)


def test_masks_that_can_not_be_are_refused_and_named(root: Path, tmp_path: Path) -> None:
    folder = root / "ADEChallengeData2016/annotations/validation"
    draw_mask(folder / "one.png", (0, 1, 151))
    with pytest.raises(DatasetError, match=r"one.png must be a mask of ADE20K .*, but has the values \[151\]"):
        load_benchmark("ade20k", root, tmp_path / "work")
    (folder / "one.png").write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"ground truth can't be used: mask .*one.png' must be a readable image"):
        load_benchmark("ade20k", root, tmp_path / "work")


def test_a_dataset_of_the_user_is_left_alone(root: Path, tmp_path: Path) -> None:
    own = fo.Dataset("resclip-voc21")
    with pytest.raises(DatasetError, match="dataset 'resclip-voc21' must be this benchmark from .*, but is something else"):
        load_benchmark("voc21", root, tmp_path / "work")
    assert len(own) == 0


@pytest.mark.parametrize(
    ("name", "model", "changes", "expected"),
    [
        ("voc21", "resclip-vit-b-16", {}, 61.1),
        ("ade20k", "resclip-vit-b-16", {}, 18.0),
        ("cityscapes", "resclip-vit-b-16", {"rcs": None, "sfr": None}, 35.5),
        ("voc20", "resclip-vit-b-16", {"strategy": "clearclip"}, 87.1),
        ("voc20", "resclip-vit-b-16", {"strategy": "vanilla", "rcs": None, "sfr": None}, 41.8),
        ("context59", "resclip-vit-l-14", {"precision": "float16"}, 34.5),
        ("context59", "resclip-vit-l-14", {"strategy": "sclip"}, None),
        ("voc21", "resclip-vit-b-16", {"sfr": None}, None),
        ("voc21", "resclip-vit-b-16", {"prob_threshold": 0.2}, None),
        ("voc21", "resclip-tiny", {}, None),
    ],
)
def test_published_numbers_stand_beside_the_same_settings_only(
    name: str, model: str, changes: dict[str, object], expected: float | None
) -> None:
    assert published_miou(name, model, preset(name).varied(changes)) == expected
