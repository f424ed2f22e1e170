"""A labelling run that is killed, stopped or cut off goes on where it was, and ends as if nothing had happened."""

from __future__ import annotations

import os
import random
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest

import fiftyone_resclip as resclip
from fiftyone_resclip.errors import StorageError
from fiftyone_resclip.fields import masks
from fiftyone_resclip.labeling.label import label
from fiftyone_resclip.model import load_model
from tests.faults import processes

MakeDataset = Callable[..., fo.Dataset]
WORDS = "red cloth,snow"
IMAGES = 24

#: Labels again and again until it is killed; kills itself at the moment that is asked for.
LABEL = """
import signal, threading
field, folder, overwrite, seconds = sys.argv[3], sys.argv[4] or None, sys.argv[5] == "True", float(sys.argv[6])
def report(report):
    if report.done == 0 and seconds >= 0:
        threading.Timer(seconds, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
done = label(dataset, model, field, output_dir=folder, overwrite=overwrite, batch_size=1, progress=report)
print(done)
os._exit(0)
"""


def read(dataset: fo.Dataset, field: str) -> list[np.ndarray[Any, Any]]:
    return [masks.read_mask(sample[field]) for sample in dataset]


@pytest.mark.slow
@pytest.mark.parametrize(("on_disk", "overwrite"), [(False, False), (True, True)])
def test_killed_five_times_it_ends_like_an_undisturbed_run(
    make_dataset: MakeDataset, tmp_path: Path, on_disk: bool, overwrite: bool
) -> None:
    dataset = make_dataset(IMAGES)
    model = load_model("resclip-tiny", WORDS.split(","), sfr=None, device="cpu")
    label(dataset, model, "calm")
    folder = str(tmp_path / "masks") if on_disk else ""
    if overwrite:
        other = load_model("resclip-tiny", ["gravel", "purple cloth", "asphalt"], sfr=None, device="cpu")
        label(dataset, other, "pred", output_dir=folder or None)
    rng = random.Random(f"{on_disk}{overwrite}")
    kills = 0
    for attempt in range(6):
        seconds = rng.uniform(0.0, 0.6) if attempt < 5 else -1
        process = processes.start(LABEL, dataset.name, WORDS, "pred", folder, str(overwrite), str(seconds))
        out, err = process.communicate(timeout=120)
        if process.returncode == -signal.SIGKILL:
            kills += 1
            assert "Traceback" not in err
            dataset.reload()
            states = {run.key: run for run in resclip.list_runs(dataset)}
            if "pred" in states and states["pred"].recipe["classes"][0][0] == "red cloth":
                assert states["pred"].state == "killed"
                assert str(states["pred"]).endswith("to go on, label the field again with the same settings")
        else:
            assert process.returncode == 0, err
            assert "of" in out and "images labelled" in out
            break
    assert kills >= 1
    dataset.reload()
    assert [run.state for run in resclip.list_runs(dataset)] == ["finished", "finished"]
    for calm, pred in zip(read(dataset, "calm"), read(dataset, "pred"), strict=True):
        np.testing.assert_array_equal(calm, pred)
    files = [str(path) for path in tmp_path.rglob("*") if "masks" in path.parts and path.is_file()]
    assert sorted(files) == (sorted(dataset.values("pred.mask_path")) if on_disk else [])


def test_a_full_disk_ends_the_run_and_costs_nothing(make_dataset: MakeDataset, tmp_path: Path) -> None:
    dataset = make_dataset(6, sizes=((400, 400),))
    model = load_model("resclip-tiny", WORDS.split(","), sfr=None, device="cpu")
    label(dataset[:2], model, "pred", output_dir=tmp_path / "masks")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))
    try:
        with pytest.raises(StorageError, match="masks can't be written to .*File too large; what was saved is kept"):
            label(dataset, model, "pred", output_dir=tmp_path / "masks")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    files = [path for path in (tmp_path / "masks").rglob("*") if path.is_file()]
    assert sorted(map(str, files)) == sorted(dataset.exists("pred").values("pred.mask_path"))
    assert dataset.count("pred") == 2
    assert label(dataset, model, "pred", output_dir=tmp_path / "masks").labelled == 4


@pytest.fixture
def own_mongod(tmp_path: Path) -> Iterator[tuple[str, Callable[[], subprocess.Popen[bytes]]]]:
    """Starts a database that a test may stop and start again, always on the same port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    program = Path(fo.__file__).parent / "db" / "bin" / "mongod"
    folder = tmp_path / "database"
    folder.mkdir()
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        command = [str(program), "--dbpath", str(folder), "--port", port, "--bind_ip", "127.0.0.1"]
        started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        return started[-1]

    yield port, start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize("at", ["first step", "third image"])
def test_a_database_that_goes_away_for_a_while_is_waited_for(
    own_mongod: tuple[str, Callable[[], subprocess.Popen[bytes]]], make_dataset: MakeDataset, at: str
) -> None:
    paths = make_dataset(IMAGES).values("filepath")
    port, start = own_mongod
    mongod = start()
    code = f"""
        import os, sys
        os.environ["FIFTYONE_DATABASE_URI"] = "mongodb://127.0.0.1:{port}/?serverSelectionTimeoutMS=2000"
        import fiftyone as fo
        from fiftyone_resclip import label, load_model
        from fiftyone_resclip.labeling.passes import Pass
        dataset = fo.Dataset("away", persistent=True)
        dataset.add_samples([fo.Sample(path) for path in {paths!r}], progress=False)
        model = load_model("resclip-tiny", ["red cloth", "snow"], sfr=None, device="cpu")
        def pause():
            print("now", flush=True)
            sys.stdin.readline()
        begun = Pass.begun
        if {at!r} == "first step":
            Pass.begun = lambda self: (pause(), begun(self))[1]
        def report(report):
            if report.done == 3 and {at!r} == "third image":
                pause()
        print(label(dataset, model, "pred", batch_size=1, progress=report).labelled, dataset.count("pred"))
    """
    environment = {**os.environ, "FIFTYONE_DATABASE_VALIDATION": "false"}
    process = processes.start_plain(code, environment)
    assert process.stdout and process.stdin and process.stderr
    assert process.stdout.readline() == "now\n"
    mongod.send_signal(signal.SIGTERM)
    mongod.wait()
    process.stdin.write("go\n")
    process.stdin.flush()
    time.sleep(4)
    start()
    out, err = process.communicate(timeout=120)
    assert out == f"{IMAGES} {IMAGES}\n", err[-2000:]
    assert "FiftyOne's database does not answer; waiting for it" in err
