from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
import torch
from PIL import Image

from fiftyone_resclip.errors import ConfigError, DatasetError
from fiftyone_resclip.fields.readers import PictureReader
from fiftyone_resclip.labeling import writers
from fiftyone_resclip.labeling.batches import LabelingReport, _Writer
from fiftyone_resclip.labeling.label import iter_label, label
from fiftyone_resclip.labeling.runs import list_runs
from fiftyone_resclip.model import ResCLIPModel, load_model

MakeDataset = Callable[..., fo.Dataset]


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_view_is_labelled_and_the_rest_left_alone(
    make_dataset: MakeDataset, fast_model: ResCLIPModel, tmp_path: Path, on_disk: bool
) -> None:
    dataset = make_dataset(5)
    output_dir = tmp_path / "masks" if on_disk else None
    seen: list[int] = []
    report = label(dataset[1:4], fast_model, "pred", output_dir=output_dir, batch_size=2, progress=lambda r: seen.append(r.done))
    assert (report.total, report.labelled, report.skipped, report.failures) == (3, 3, 0, {})
    assert seen == [0, 1, 3]
    assert [s.pred is not None for s in dataset] == [False, True, True, True, False]
    for sample in dataset.exists("pred"):
        assert sample.pred.get_mask().dtype == np.uint8
        assert Path(sample.pred.mask_path).name.startswith(f"{sample.id}-") if on_disk else sample.pred.mask is not None
    assert dataset.mask_targets["pred"] == fast_model.mask_targets


def test_what_was_done_is_kept_when_the_run_stops_and_not_done_again(make_dataset: MakeDataset, fast_model: ResCLIPModel) -> None:
    dataset = make_dataset(9)
    run = iter_label(dataset, fast_model, "pred", batch_size=2)
    for _ in range(3):
        next(run)
    run.close()  # as a user's cancel does
    kept = {s.id: s.pred.id for s in dataset.exists("pred")}
    assert len(kept) in (3, 5, 7)  # what was yielded, and what was under way
    report = label(dataset, fast_model, "pred", overwrite=False, progress=False)
    assert (report.total, report.labelled, report.skipped) == (9 - len(kept), 9 - len(kept), len(kept))
    assert {s.id: s.pred.id for s in dataset}.items() >= kept.items()
    assert f"{len(kept)} had a label already" in str(report)


def test_a_run_that_stops_names_every_file_that_it_could_not_read(
    make_dataset: MakeDataset,
    fast_model: ResCLIPModel,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    write = _Writer.write
    monkeypatch.setattr(_Writer, "write", lambda *a: (threading.Event().wait(0.3), write(*a))[1])  # others are computed meanwhile
    dataset = make_dataset(9)
    broken = dataset.values("filepath")[2:]
    for path in broken:
        Path(path).write_bytes(b"nothing")
    run = iter_label(dataset, fast_model, "pred", batch_size=2)
    reports = [next(run) for _ in range(3)]
    run.close()
    report = reports[-1]
    assert report.labelled == 2
    assert set(report.failures) == {path for path in broken if path in caplog.text}
    assert len(report.failures) >= 4


def test_overwriting_leaves_no_files_behind(make_dataset: MakeDataset, fast_model: ResCLIPModel, tmp_path: Path) -> None:
    dataset = make_dataset(2)
    for _ in range(2):
        label(dataset, fast_model, "pred", overwrite=True, output_dir=tmp_path / "out", progress=False)
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert sorted(files) == sorted(Path(sample.pred.mask_path) for sample in dataset)
    assert {path.name.partition("-")[0] for path in files} == set(dataset.values("id"))


def test_threads_that_read_leave_the_other_processors_to_the_network(
    make_dataset: MakeDataset, fast_model: ResCLIPModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    while_reading, while_computing, read = list[int](), list[int](), PictureReader.__call__
    monkeypatch.setattr(PictureReader, "__call__", lambda *a: (while_reading.append(torch.get_num_threads()), read(*a))[1])
    compute = fast_model.label_maps
    monkeypatch.setattr(
        fast_model, "label_maps", lambda a, **kw: (while_computing.append(torch.get_num_threads()), compute(a, **kw))[1]
    )
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        label(make_dataset(3), fast_model, "pred", batch_size=2, progress=False)
    finally:
        torch.set_num_threads(before)
    assert while_reading == [1] * 3
    assert while_computing == [3] * 2


def test_an_error_in_the_callback_ends_the_run(make_dataset: MakeDataset, fast_model: ResCLIPModel) -> None:
    dataset = make_dataset(6)

    def fail(report: LabelingReport) -> None:
        if report.done:
            raise RuntimeError("the user's mistake")

    with pytest.raises(RuntimeError) as caught:
        label(dataset, fast_model, "pred", batch_size=1, progress=fail)
    assert caught.value.__traceback__  # keeps the frames alive, as a notebook does
    assert [run.state for run in list_runs(dataset)] == ["stopped"]
    report = label(dataset, fast_model, "pred")
    assert (report.skipped > 0, report.labelled + report.skipped) == (True, 6)


@pytest.mark.parametrize("batch_size", [0, -3])
def test_a_batch_of_nothing_is_refused(make_dataset: MakeDataset, fast_model: ResCLIPModel, batch_size: int) -> None:
    with pytest.raises(ConfigError, match=f"batch_size must be a whole number of at least 1, but got {batch_size}"):
        label(make_dataset(1), fast_model, "pred", batch_size=batch_size)


def test_a_broken_file_is_reported_and_its_neighbours_are_labelled(make_dataset: MakeDataset, fast_model: ResCLIPModel) -> None:
    dataset = make_dataset(3, suffix=".jpg")
    path = Path(list(dataset)[1].filepath)
    path.write_bytes(path.read_bytes()[:300])
    report = label(dataset, fast_model, "pred", num_workers=1, progress=False)
    assert (report.labelled, list(report.failures)) == (2, [str(path)])
    assert str(path) in str(report)
    assert [s.pred is not None for s in dataset] == [True, False, True]


def test_masks_of_other_classes_are_not_mixed(make_dataset: MakeDataset, fast_model: ResCLIPModel) -> None:
    dataset = make_dataset(3)
    label(dataset, fast_model, "pred", progress=False)
    before = [s.pred.mask.copy() for s in dataset]
    other = load_model("resclip-tiny", ["cloth", "ground"], sfr=None, device="cpu")
    for samples, overwrite in ((dataset, False), (dataset[:1], True)):
        with pytest.raises(DatasetError, match="holds 3 masks of other classes .red cloth.*; use another field"):
            label(samples, other, "pred", overwrite=overwrite, progress=False)
    assert all((a == s.pred.mask).all() for a, s in zip(before, dataset, strict=True))
    assert dataset.mask_targets["pred"] == fast_model.mask_targets
    assert label(dataset, other, "pred", overwrite=True, progress=False).labelled == 3
    assert dataset.mask_targets["pred"] == {1: "cloth", 2: "ground"}
    assert max(s.pred.mask.max() for s in dataset) <= 2


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_field_of_another_type_keeps_its_values(make_dataset: MakeDataset, fast_model: ResCLIPModel, overwrite: bool) -> None:
    dataset = make_dataset(2)
    dataset.set_values("score", [0.25, 0.75])
    with pytest.raises(DatasetError, match="field 'score' must hold Segmentation labels or be new"):
        label(dataset, fast_model, "score", overwrite=overwrite, progress=False)
    assert dataset.values("score") == [0.25, 0.75]


def test_masks_without_names_are_somebody_elses(make_dataset: MakeDataset, fast_model: ResCLIPModel) -> None:
    dataset = make_dataset(2)
    dataset.default_mask_targets = {7: "car"}
    dataset.add_sample_field("gt", fo.EmbeddedDocumentField, embedded_doc_type=fo.Segmentation)
    first = dataset.first()
    first["gt"] = fo.Segmentation(mask=np.full((4, 4), 7, np.uint8))
    first.save()
    with pytest.raises(DatasetError, match="field 'gt' holds a mask that no labelling run made"):
        label(dataset, fast_model, "gt", progress=False)
    assert dataset.first().gt.mask.max() == 7
    assert "gt" not in dataset.mask_targets


def test_a_view_of_patches_is_refused_for_its_labels_would_be_lost(make_dataset: MakeDataset, fast_model: ResCLIPModel) -> None:
    dataset = make_dataset(1)
    dataset.set_values("boxes", [fo.Detections(detections=[fo.Detection(label="a", bounding_box=[0, 0, 1, 1])])])
    with pytest.raises(DatasetError, match="samples must be of the dataset itself"):
        label(dataset.to_patches("boxes"), fast_model, "pred", progress=False)


def test_an_image_too_thin_for_a_patch_costs_its_own_label_only(
    make_dataset: MakeDataset, fast_model: ResCLIPModel, tmp_path: Path
) -> None:
    dataset = make_dataset(1)
    Image.new("RGB", (10_000, 1)).save(tmp_path / "thin.png")
    dataset.add_sample(fo.Sample(str(tmp_path / "thin.png")))
    report = label(dataset, fast_model, "pred", progress=False)
    assert report.labelled == 1
    assert "thin.png' can't be used: it is 10000x1 px, too thin" in str(report)


@pytest.mark.parametrize("kind", ["empty", "path", "wrong field", "video", "group"])
def test_what_can_not_be_labelled_is_refused(
    make_dataset: MakeDataset, fast_model: ResCLIPModel, kind: str, tmp_path: Path
) -> None:
    dataset = make_dataset(1)
    samples: object = dataset
    message = "image"
    if kind == "empty":
        samples, message = dataset.limit(0), "there are no images to label: the collection is empty"
    elif kind == "path":
        samples, message = "/photos", "samples must be a FiftyOne dataset or view, but got str"
    elif kind == "wrong field":
        dataset.add_sample_field("pred", fo.FloatField)
        message = "field 'pred' must hold Segmentation labels"
    elif kind == "video":
        samples, message = fo.Dataset(), "samples must be images, but are of type 'video'; .*to_frames"
        samples.add_sample(fo.Sample(str(tmp_path / "a.mp4")))
    else:
        samples, message = fo.Dataset(), "samples must be images, but are of type 'group'; use select_group_slices"
        samples.add_group_field("group", default="left")
        samples.add_sample(fo.Sample(str(tmp_path / "a.png"), group=fo.Group().element("left")))
    with pytest.raises(DatasetError, match=message):
        label(samples, fast_model, "pred", progress=False)


def test_the_report_is_a_line_for_people() -> None:
    report = LabelingReport(
        total=3, labelled=2, failed=1, failures={"a.jpg": "'a.jpg' must be a readable image, but: truncated"}, seconds=4.2
    )
    assert str(report) == "2 of 3 images labelled in 4 s; not labelled: 'a.jpg' must be a readable image, but: truncated"
    assert report.done == 3


@pytest.fixture
def videos(make_dataset: Callable[..., fo.Dataset], tmp_path: Path) -> Iterator[fo.Dataset]:
    """Two videos whose frames have been sampled to files."""
    dataset = fo.Dataset()
    images = iter(make_dataset(5).values("filepath"))
    for name, count in (("a", 3), ("b", 2)):
        sample = fo.Sample(str(tmp_path / f"{name}.mp4"))
        for number in range(1, count + 1):
            sample.frames[number] = fo.Frame(filepath=next(images))
        dataset.add_sample(sample)
    yield dataset
    dataset.delete()


def test_frames_of_videos_are_labelled_where_they_belong(videos: fo.Dataset, fast_model: ResCLIPModel) -> None:
    frames = videos.to_frames()
    assert label(frames.limit(2), fast_model, "seen", progress=False, batch_size=1).labelled == 2
    assert [len(f) for f in videos.values("frames.seen")] == [3, 2]
    assert [[v is not None for v in f] for f in videos.values("frames.seen")] == [[True, True, False], [False, False]]
    report = label(frames, fast_model, "seen", progress=False)
    assert (report.labelled, report.skipped) == (3, 2)
    assert videos.mask_targets["frames.seen"] == fast_model.mask_targets
    assert videos.count("frames.seen") == 5
    np.testing.assert_array_equal(videos.first().frames[1].seen.mask, frames.first().seen.mask)


def test_masks_of_other_classes_on_frames_are_not_mixed(videos: fo.Dataset, fast_model: ResCLIPModel) -> None:
    frames = videos.to_frames()
    label(frames.limit(1), fast_model, "seen", progress=False)
    other = load_model("resclip-tiny", ["snow", "gravel"], sfr=None, device="cpu")
    with pytest.raises(DatasetError, match="field 'frames.seen' holds a mask of other classes"):
        label(frames, other, "seen", overwrite=True, progress=False)
    assert videos.count("frames.seen") == 1
    with pytest.raises(DatasetError, match=r"are of type 'video'; .* to_frames\(sample_frames=True\) for videos"):
        label(videos, fast_model, "seen")


@pytest.mark.parametrize("n_images", [2, 3, 4])
def test_a_run_is_stopped_only_if_images_are_left(
    n_images: int, make_dataset: Callable[..., fo.Dataset], fast_model: ResCLIPModel
) -> None:
    dataset = make_dataset(n_images)
    run = iter_label(dataset, fast_model, "pred", batch_size=1)
    next(run)
    writers.stop_all(dataset, "pred")
    last = list(run)[-1]  # batches that are under way when the run stops are written, too
    assert last.stopped == (last.done < n_images) and len(dataset.exists("pred")) == last.labelled
