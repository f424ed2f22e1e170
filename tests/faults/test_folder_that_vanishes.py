"""A folder for mask files that is taken away in the middle of a run stops it; files that are gone at the end are counted."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import pytest

import fiftyone_resclip as resclip
from fiftyone_resclip.errors import StorageError
from fiftyone_resclip.fields import masks
from fiftyone_resclip.labeling.label import iter_label, label
from fiftyone_resclip.model import ResCLIPModel, load_model

MakeDataset = Callable[..., fo.Dataset]


@pytest.fixture
def model() -> ResCLIPModel:
    return load_model("resclip-tiny", ["red cloth", "snow"], sfr=None, device="cpu")


@pytest.mark.parametrize("replaced", [False, True])
@pytest.mark.parametrize("resumed", [False, True])
def test_a_folder_that_is_removed_is_not_created_anew(
    make_dataset: MakeDataset, tmp_path: Path, model: ResCLIPModel, replaced: bool, resumed: bool
) -> None:
    dataset, folder = make_dataset(12), tmp_path / "masks"
    if resumed:
        label(dataset[:4], model, "pred", output_dir=folder)
    steps = iter_label(dataset, model, "pred", output_dir=folder, batch_size=1)
    for _ in range(1 if resumed else 3):
        next(steps)
    inner = next(path for path in folder.rglob("*.png")).parent
    shutil.rmtree(folder)
    if replaced:
        inner.mkdir(parents=True)
    with pytest.raises(StorageError, match="must stay while masks are written to it, but it is missing or was replaced"):
        list(steps)
    assert list(tmp_path.glob("masks/**/*.png")) == []
    assert folder.exists() == replaced
    assert [run.state for run in resclip.list_runs(dataset)] == ["finished" if resumed else "stopped"]  # no pass began again
    report = label(dataset, model, "pred", output_dir=folder)
    assert (report.labelled, report.skipped) == (12, 0)
    assert sorted(map(str, folder.rglob("*.png"))) == sorted(dataset.values("pred.mask_path"))


def test_a_folder_that_goes_just_before_a_file_is_written_is_noticed(
    make_dataset: MakeDataset, tmp_path: Path, model: ResCLIPModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    # called between the check of the folder and the write
    monkeypatch.setattr(masks, "_remove_leftovers", lambda *_: shutil.rmtree(tmp_path / "masks"))
    with pytest.raises(StorageError, match="must stay while masks are written to it, but it is missing or was replaced"):
        label(make_dataset(1), model, "pred", output_dir=tmp_path / "masks")


def test_files_that_are_gone_at_the_end_are_not_called_labelled(
    make_dataset: MakeDataset, tmp_path: Path, model: ResCLIPModel, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = make_dataset(8)
    label(dataset[:3], model, "pred", output_dir=tmp_path / "masks")
    skipped = dataset.values("pred.mask_path")[:2]
    for report in iter_label(dataset, model, "pred", output_dir=tmp_path / "masks", batch_size=1):
        if report.done == 4:
            new = [path for path in dataset.values("pred.mask_path") if path][3:4]
            for path in (*skipped, *new):
                Path(path).unlink()
    assert (report.total, report.labelled, report.gone, report.skipped) == (5, 4, 1, 1)
    assert "3 masks of field 'pred' were removed while it was labelled" in caplog.text
    assert [run.state for run in resclip.list_runs(dataset)] == ["stopped"]
    report = label(dataset, model, "pred", output_dir=tmp_path / "masks")
    assert (report.labelled, report.skipped) == (3, 5)
    assert [run.state for run in resclip.list_runs(dataset)] == ["finished"]
