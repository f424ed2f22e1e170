from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest

from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.evaluation.error_masks import COLOURS, TARGETS, write_error_masks
from fiftyone_resclip.evaluation.matching import UNLABELLED
from fiftyone_resclip.fields import masks
from fiftyone_resclip.fields.colour_scheme import colours_of
from fiftyone_resclip.fields.private import database, dataset_id
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
    folder = tmp_path / "out" / str(dataset_id(dataset)) / "errors"
    assert sorted(path.stem for path in folder.iterdir()) == sorted(dataset.values("id")[:2])
    assert colours_of(dataset, "errors") == COLOURS
    assert [f["path"] for f in dataset.app_config.color_scheme.fields] == ["errors", "gt", "pred"]


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


def test_a_clone_gets_files_of_its_own(dataset: fo.Dataset, tmp_path: Path) -> None:
    write_error_masks(dataset, "pred", "gt", "errors", tmp_path)
    clone = dataset.clone()
    clone.set_values("pred", list(reversed(clone.values("pred"))))
    before = drawn(dataset)
    write_error_masks(clone, "pred", "gt", "errors", tmp_path)
    assert drawn(dataset) == before != drawn(clone)
    clone.delete()


_KILLED = """
import os, sys, signal, fiftyone as fo
from pymongo import monitoring

class Killer(monitoring.CommandListener):
    left = None
    def started(self, event):
        if Killer.left is not None and event.command_name in ("insert", "update", "delete"):
            Killer.left -= 1
            if Killer.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
    def succeeded(self, event): pass
    def failed(self, event): pass

monitoring.register(Killer())
from fiftyone_resclip.evaluation.error_masks import COLOURS, TARGETS, write_error_masks
for number in range(1, 40):
    child = os.fork()
    if child == 0:
        dataset = fo.load_dataset(sys.argv[1])
        Killer.left = number
        write_error_masks(dataset, "pred", "gt", "errors", sys.argv[2])
        os._exit(0)
    os.waitpid(child, 0)
    print(number, flush=True)
    sys.stdin.readline()
"""


@pytest.mark.slow
def test_a_killed_call_is_done_again(dataset: fo.Dataset, tmp_path: Path) -> None:
    write_error_masks(dataset, "pred", "gt", "errors", tmp_path / "whole")
    whole = drawn(dataset)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", _KILLED, dataset.name, str(tmp_path)], text=True, **pipes) as process:
        assert process.stdin and process.stdout
        for _ in process.stdout:
            database()["fiftyone_resclip.leases"].delete_many({})  # they end by themselves after 15 seconds
            dataset.reload()
            write_error_masks(dataset, "pred", "gt", "errors", tmp_path)
            assert drawn(dataset) == whole
            dataset.delete_sample_field("errors")
            dataset.mask_targets.pop("errors")
            dataset.info.clear()
            dataset.save()
            process.stdin.write("\n")
            process.stdin.flush()
