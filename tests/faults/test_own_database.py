"""Tests, demo and benchmarks neither touch the user's datasets nor leave a mongod behind; with real processes and databases."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.constants as foc
import psutil
import pytest
from pymongo import MongoClient

from fiftyone_resclip.doors import own_database
from fiftyone_resclip.errors import DatabaseError

ROOT = Path(__file__).parents[2]
DEMO = ("-m", "fiftyone_resclip", "demo", "--images", "2", "--out")
#: What must leave a user's database alone, besides the demo.
COMMANDS = {
    "benchmarks.evaluation": "{}/evaluation.json --images 1 --repeats 1",
    "benchmarks.evidence": "{}/evidence.json --pool 2 --test 1 --draws 1 --examples 1",
    "benchmarks.startup": "{}/startup.json --rounds 1",
    "benchmarks.pipeline": "{}/pipeline.json --images 1 --rounds 1 --network resclip-tiny --photo 1200x1600",
    "pytest": "-p no:cacheprovider -k left_alone tests/test_demo.py tests/published/test_loading.py",
}

FILL = """
import fiftyone as fo
for name in ("resclip-demo", "resclip-voc21", "my-photographs"):
    dataset = fo.Dataset(name, persistent=True)
    dataset.add_sample(fo.Sample(filepath=f"/data/{name}.jpg", note="by hand"))
"""
USE = """
import sys, time
from pathlib import Path
from fiftyone_resclip.doors import own_database
own_database.use(Path(sys.argv[1]))
import fiftyone as fo
fo.Dataset("kept" + str(len(fo.list_datasets())), persistent=True)
print("ready", flush=True)
time.sleep(600 if len(sys.argv) > 2 else 0)
"""


def python(*arguments: Any, uri: str) -> subprocess.CompletedProcess[str]:
    """Runs Python for a user whose FiftyOne uses the database at ``uri``."""
    command, environment = [sys.executable, *map(str, arguments)], os.environ | {"FIFTYONE_DATABASE_URI": uri}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)


def content(uri: str) -> dict[str, list[Any]]:
    """Returns everything that a database of FiftyOne contains."""
    with MongoClient(uri) as client:
        database = client[fo.config.database_name]
        return {name: list(database[name].find(sort=[("_id", 1)])) for name in sorted(database.list_collection_names())}


def visits(uri: str) -> int:
    """Counts the connections that FiftyOne has ever made to a database that was launched here."""
    with MongoClient(uri) as client:
        folder = client.admin.command("getCmdLineOpts")["parsed"]["storage"]["dbPath"]
    return (Path(folder) / "mongod.log").read_text(encoding="utf-8").count(f'"name":"{foc.DATABASE_APPNAME}"')


def processes(text: Any) -> list[psutil.Process]:
    """Returns the running processes that name a folder in their command line."""
    return [process for process in psutil.process_iter(["cmdline"]) if str(text) in " ".join(process.info["cmdline"] or ())]


def wait_until(condition: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
    return value


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URI of a user's database, with datasets of the names that we use."""
    uri = own_database.launch(tmp_path_factory.mktemp("user") / "database")
    python("-c", FILL, uri=uri).check_returncode()
    return uri


@pytest.fixture
def untouched(user: str) -> Iterator[str]:
    """The URI of the user's database, which must be the same at the end, and which nobody may have opened."""
    before, visited = content(user), visits(user)
    assert visited > 0
    assert [document["name"] for document in before["datasets"]] == ["resclip-demo", "resclip-voc21", "my-photographs"]
    yield user
    assert content(user) == before
    assert visits(user) == visited


@pytest.mark.slow
@pytest.mark.parametrize("module", COMMANDS)
def test_a_users_database_stays_as_it_is(untouched: str, tmp_path: Path, module: str) -> None:
    run = python("-m", module, *COMMANDS[module].format(tmp_path).split(), uri=untouched)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_demo_keeps_its_database_beside_its_pictures(untouched: str, tmp_path: Path) -> None:
    run = python(*DEMO, tmp_path / "out", uri=untouched)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "out" / "report.json").is_file()
    assert not processes(tmp_path)
    kept = content(own_database.launch(tmp_path / "out" / "database"))["datasets"]
    assert [(document["name"], document["persistent"]) for document in kept] == [("resclip-demo", True)]


def test_the_app_of_the_demo_shows_its_database_although_a_users_app_has_the_port(untouched: str, tmp_path: Path) -> None:
    log, command = tmp_path / "log", [sys.executable, *DEMO, str(tmp_path / "out"), "--app"]
    with socket.create_server(("127.0.0.1", 0)) as users_app, log.open("w") as output:
        taken = {"FIFTYONE_DATABASE_URI": untouched, "FIFTYONE_DEFAULT_APP_PORT": str(users_app.getsockname()[1])}
        environment = os.environ | taken | {"BROWSER": "true"}
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output) as demo:
            try:
                address = wait_until(lambda: re.search(r"http://localhost:\d+", log.read_text()), 300)[0]
                query, kind = b'{"query": "{estimatedDatasetCount}"}', {"Content-Type": "application/json"}
                with urllib.request.urlopen(urllib.request.Request(f"{address}/graphql", query, kind), timeout=60) as answer:
                    assert json.load(answer) == {"data": {"estimatedDatasetCount": 1}}
                demo.send_signal(signal.SIGINT)
                assert demo.wait(120) == 0
            finally:
                demo.kill()
    assert "Traceback" not in log.read_text()
    wait_until(lambda: not processes(tmp_path))


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_mongod_ends_with_its_process_and_what_was_written_stays(untouched: str, tmp_path: Path, end: signal.Signals) -> None:
    folder, environment = tmp_path / "database", os.environ | {"FIFTYONE_DATABASE_URI": untouched}
    command = [sys.executable, "-c", USE, str(folder), "wait"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        refused = python("-c", USE, folder, uri=untouched)
        assert "must start in" in refused.stderr and "DBPathInUse" in refused.stderr.splitlines()[-1]
        process.send_signal(end)
    wait_until(lambda: not processes(folder))
    python("-c", USE, folder, uri=untouched).check_returncode()
    assert [document["name"] for document in content(own_database.launch(folder))["datasets"]] == ["kept0", "kept1"]


def test_a_folder_with_other_files_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "WiredTiger").touch()  # such as the database of the user
    with pytest.raises(DatabaseError, match="must be empty or a database that fiftyone-resclip made, but it holds other files"):
        own_database.launch(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["WiredTiger"]


def test_a_process_that_is_connected_already_is_refused(user: str, tmp_path: Path) -> None:
    run = python("-c", "import fiftyone as fo; fo.list_datasets();" + USE, tmp_path / "database", uri=user)
    assert re.search(r"DatabaseError: FiftyOne must use the database in .*, but this process is connected to", run.stderr)


def test_without_mongod_and_with_one_that_does_not_run_the_reason_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foc, "FIFTYONE_DB_BIN_DIR", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DatabaseError, match=r"needs the program mongod, but it is neither in .*none nor on PATH; install"):
        own_database.launch(tmp_path / "database")
    assert not (tmp_path / "database").exists()
    (tmp_path / "mongod").write_text("#!/bin/sh\necho libcrypto.so.1.1: cannot open shared object file >&2\nexit 127\n")
    (tmp_path / "mongod").chmod(0o755)
    with pytest.raises(DatabaseError, match=r"mongod must start in .*, but did not; .* mongod says: libcrypto.so.1.1: cannot"):
        own_database.launch(tmp_path / "database")
