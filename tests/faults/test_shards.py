"""Several processes share the samples of one field; one of them may be killed and started again."""

from __future__ import annotations

import signal
from collections.abc import Callable

import fiftyone as fo
import numpy as np
import pytest

import fiftyone_resclip as resclip
from fiftyone_resclip.errors import ConfigError
from fiftyone_resclip.fields import masks
from fiftyone_resclip.labeling import sharding
from fiftyone_resclip.labeling.label import label
from fiftyone_resclip.model import load_model
from tests.faults import processes

MakeDataset = Callable[..., fo.Dataset]
WORDS = "red cloth,snow"
SHARD = """
import signal
index, count, killed_at = int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
def report(report):
    if report.done == killed_at:
        os.kill(os.getpid(), signal.SIGKILL)
report = label(dataset, model, "pred", overwrite=True, shard=(index, count), batch_size=1, progress=report)
print(report.labelled, report.skipped)
"""


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
def test_each_sample_is_labelled_once_though_a_process_is_killed(make_dataset: MakeDataset, count: int) -> None:
    dataset = make_dataset(24)
    calm, before = load_model("resclip-tiny", WORDS.split(","), sfr=None, device="cpu"), ["gravel", "asphalt", "snow"]
    label(dataset, calm, "calm")
    label(dataset, load_model("resclip-tiny", before, sfr=None, device="cpu"), "pred")
    sizes = [sum(sharding.is_in((index, count), sample) for sample in dataset.values("id")) for index in range(count)]
    assert sum(sizes) == 24
    workers = [processes.start(SHARD, dataset.name, WORDS, str(i), str(count), str(2 if i == 0 else -1)) for i in range(count)]
    outputs = [worker.communicate(timeout=200) for worker in workers]
    assert workers[0].returncode == -signal.SIGKILL
    assert [out for out, _ in outputs[1:]] == [f"{size} 0\n" for size in sizes[1:]], outputs
    assert [run.state for run in resclip.list_runs(dataset) if run.label_field == "pred"] == ["killed"]
    done = {sample.id: sample.pred.id for sample in dataset.exists("pred")}
    assert 2 <= len(done) - sum(sizes[1:]) < sizes[0]
    labelled, skipped = processes.run(SHARD, dataset.name, WORDS, "0", str(count), "-1").split()
    assert int(labelled) + int(skipped) == sizes[0]
    dataset.reload()
    assert {sample.id: sample.pred.id for sample in dataset}.items() >= done.items()
    for sample in dataset:
        np.testing.assert_array_equal(masks.read_mask(sample.pred), masks.read_mask(sample.calm))
    run = next(run for run in resclip.list_runs(dataset) if run.label_field == "pred")
    assert run.state == "finished"
    assert (run.passes[-1]["labelled"], run.passes[-1]["done"]) == (24, list(range(count)))


def test_a_sample_belongs_to_one_shard_for_ever() -> None:
    ids = [f"{number:024x}" for number in range(1000)]
    for count in (1, 2, 7):
        parts = [{sample for sample in ids if sharding.is_in((index, count), sample)} for index in range(count)]
        assert sum(map(len, parts)) == len(set().union(*parts)) == 1000
        assert min(map(len, parts)) > 1000 / count * 0.75
    assert [sharding.is_in((0, 2), sample) for sample in ids[:8]] == [False, False, False, False, True, True, True, False]


@pytest.mark.parametrize(
    ("environment", "shard"),
    [
        ({"RANK": "3", "WORLD_SIZE": "8"}, (3, 8)),
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, (1, 2)),
        ({"SLURM_ARRAY_TASK_ID": "12", "SLURM_ARRAY_TASK_MIN": "10", "SLURM_ARRAY_TASK_COUNT": "4"}, (2, 4)),
        ({"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_COUNT": "2", "SLURM_PROCID": "1", "SLURM_NTASKS": "3"}, (4, 6)),
    ],
)
def test_launchers_say_which_shard_a_process_is(environment: dict[str, str], shard: sharding.Shard) -> None:
    assert sharding.parse("auto", environment) == shard


def test_a_shard_is_given_as_text() -> None:
    assert sharding.parse("1/4") == (1, 4)
    for text in ("4/4", "1", "a/b", "-1/2", "1/2/3"):
        with pytest.raises(ConfigError, match="shard must be an index from 0 and the number of parts"):
            sharding.parse(text)
    with pytest.raises(ConfigError, match="neither torchrun nor SLURM"):
        sharding.parse("auto", {})
