"""A Ray cluster labels like one process, also when one of its actors is killed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import fiftyone as fo
import numpy as np
import psutil
import pytest

import fiftyone_resclip as resclip
from fiftyone_resclip.errors import ConfigError, StorageError
from fiftyone_resclip.fields import masks
from fiftyone_resclip.labeling import ray_engine
from fiftyone_resclip.labeling.batches import LabelingReport
from fiftyone_resclip.labeling.label import label
from fiftyone_resclip.model import ResCLIPModel, load_model

ray = pytest.importorskip("ray")
MakeDataset = Callable[..., fo.Dataset]
IMAGES = 40


@pytest.fixture(scope="module")
def two_actors() -> Iterator[None]:
    """A cluster of this machine with two actors, which get few images at a time."""
    patch = pytest.MonkeyPatch()
    patch.setattr(ray_engine, "_ITEMS_AT_ONCE", 4)
    patch.setattr(ray_engine, "_CPUS_EACH", 1)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()
    patch.undo()


@pytest.fixture(scope="module")
def model() -> ResCLIPModel:
    return load_model("resclip-tiny", ["red cloth", "snow"], sfr=None, device="cpu")


def actors() -> list[psutil.Process]:
    return [process for process in psutil.process_iter(["cmdline"]) if "Labeller" in " ".join(process.info["cmdline"] or ())]


@pytest.mark.slow
def test_two_actors_label_like_one_process_though_one_is_killed(
    two_actors: None, make_dataset: MakeDataset, model: ResCLIPModel, tmp_path: Path
) -> None:
    dataset = make_dataset(IMAGES)
    broken = dataset.values("filepath")[5]
    Path(broken).write_bytes(b"nothing")
    label(dataset, model, "calm")
    killed: list[int] = []

    def kill_one(report: LabelingReport) -> None:
        if report.done and not killed:
            victim = actors()[0]
            killed.append(victim.pid)
            victim.kill()

    report = label(dataset, model, "pred", engine="ray", output_dir=tmp_path, progress=kill_one)
    assert killed
    assert report.labelled == IMAGES - 1
    assert list(report.failures) == [broken]
    dataset.reload()
    for sample in dataset.exists("calm"):
        np.testing.assert_array_equal(masks.read_mask(sample.pred), masks.read_mask(sample.calm))
    files = [str(path) for path in tmp_path.rglob("*.png") if str(dataset._doc.id) in path.parts]
    assert sorted(files) == sorted(dataset.exists("pred").values("pred.mask_path"))
    assert [run.state for run in resclip.list_runs(dataset)] == ["finished", "finished"]
    assert label(dataset, model, "pred").skipped == IMAGES - 1


def test_an_error_of_an_actor_is_ours(two_actors: None, make_dataset: MakeDataset, model: ResCLIPModel) -> None:
    dataset = make_dataset(4)
    with pytest.raises(StorageError, match="masks can't be written to"):
        label(dataset, model, "pred", engine="ray", output_dir="/proc/nowhere")
    assert dataset.count("pred") == 0 if dataset.has_field("pred") else True


def test_an_unknown_engine_is_refused(make_dataset: MakeDataset, model: ResCLIPModel) -> None:
    with pytest.raises(ConfigError, match="engine 'rai' is unknown; did you mean 'ray'?"):
        label(make_dataset(1), model, "pred", engine="rai")  # type: ignore[arg-type]
