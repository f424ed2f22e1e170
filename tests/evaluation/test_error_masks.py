from __future__ import annotations

from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest

from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.evaluation.error_masks import TARGETS, write_error_masks
from fiftyone_resclip.evaluation.matching import UNLABELLED
from fiftyone_resclip.fields import masks
from tests.evaluation.conftest import Make

NAMES = {0: "background", 1: "a", 2: "b"}
PREDICTED = {1: "a", 2: "b", 3: "background"}


@pytest.fixture
def dataset(make: Make) -> fo.Dataset:
    truth, prediction = [[1, 1, 1, 1, 0, 0, 0, 255]], [[1, 2, 3, 0, 3, 2, 0, 1]]
    return make([(truth, prediction), ([[2, 1]], [[2, 1]]), (None, [[1]])], NAMES, PREDICTED)


def drawn(dataset: fo.Dataset, field: str = "errors") -> list[list[str]]:
    labels = [sample[field] for sample in dataset if sample[field] is not None]
    return [[dataset.mask_targets[field].get(value, "") for value in masks.read_mask(label)[0].tolist()] for label in labels]


def test_each_pixel_is_right_wrong_missed_false_or_void(dataset: fo.Dataset, tmp_path: Path) -> None:
    skipped = write_error_masks(dataset, "pred", "gt", "errors", tmp_path / "out")
    assert drawn(dataset) == [["right", "wrong", "missed", "missed", "right", "false", "missed", "void"], ["right", "right"]]
    assert [Path(name).name for name in skipped] == ["2.png"]
    assert dataset.mask_targets["errors"] == TARGETS
    assert sorted(path.stem for path in (tmp_path / "out" / "errors").iterdir()) == sorted(dataset.values("id")[:2])
    assert [f["path"] for f in dataset.app_config.color_scheme.fields] == ["errors"]


def test_a_pair_marks_its_pixels_alone(dataset: fo.Dataset, tmp_path: Path) -> None:
    write_error_masks(dataset, "pred", "gt", "errors", tmp_path, pair=("a", "b"))
    assert drawn(dataset) == [["", "a taken for b", "", "", "", "", "", ""], ["", ""]]
    write_error_masks(dataset.limit(1), "pred", "gt", "errors", tmp_path, pair=("a", UNLABELLED))
    assert drawn(dataset) == [["", "", "", "a taken for (unlabelled)", "", "", "", ""]]  # the other sample's pair was deleted
    write_error_masks(dataset.limit(1), "pred", "gt", "errors", tmp_path, pair=("b", "b"))
    assert set(drawn(dataset)[0]) == {""}


def test_masks_of_the_user_are_never_written_over(dataset: fo.Dataset, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="field 'pred' must be new or hold error masks"):
        write_error_masks(dataset, "pred", "gt", "pred", tmp_path)
    with pytest.raises(DatasetError, match="class 'c' is unknown"):
        write_error_masks(dataset, "pred", "gt", "errors", tmp_path, pair=("a", "c"))
    with pytest.raises(DatasetError, match="'frames.errors' must be a field of samples"):
        write_error_masks(dataset, "pred", "gt", "frames.errors", tmp_path)
    assert dataset.first().pred.mask.tolist() == [[1, 2, 3, 0, 3, 2, 0, 1]]
    assert "errors" not in dataset.get_field_schema()


def test_frames_get_theirs(make_video: Make, tmp_path: Path) -> None:
    dataset = make_video([[([[1, 1]], [[1, 2]]), ([[1, 1]], [[1, 1]])]], {1: "a", 2: "b"})
    write_error_masks(dataset, "frames.pred", "frames.gt", "frames.errors", tmp_path)
    paths = dataset.values("frames.errors.mask_path", unwind=True)
    assert [Path(path).stem for path in paths] == [f"{dataset.first().id}-{n:06d}" for n in (1, 2)]
    assert masks.read_mask(fo.Segmentation(mask_path=paths[0])).tolist() == [[1, 2]]


def test_files_are_small(make: Make, tmp_path: Path) -> None:
    patches = np.kron(np.random.default_rng(0).integers(1, 3, (12, 16)), np.ones((40, 40), int))
    dataset = make([(patches, np.roll(patches, 9, 1))], NAMES, PREDICTED)
    write_error_masks(dataset, "pred", "gt", "errors", tmp_path)
    assert Path(dataset.first().errors.mask_path).stat().st_size < patches.size / 50


def test_errors_of_another_prediction_do_not_stay_and_fields_do_not_share_files(dataset: fo.Dataset, tmp_path: Path) -> None:
    dataset.clone_sample_field("pred", "other")
    dataset.mask_targets["other"] = PREDICTED
    write_error_masks(dataset, "pred", "gt", "errors", tmp_path)
    write_error_masks(dataset, "pred", "gt", "pair", tmp_path, pair=("a", "b"))
    assert drawn(dataset)[0][0] == "right" and drawn(dataset, "pair")[0][1] == "a taken for b"
    write_error_masks(dataset.limit(1), "other", "gt", "errors", tmp_path)
    assert dataset.count("errors") == 1
