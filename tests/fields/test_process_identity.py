from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace

import pytest

from fiftyone_resclip.fields.process_identity import Process, pid_space

pytestmark = pytest.mark.skipif(pid_space() is None, reason="this system does not tell processes apart")
DESCRIBE = """
import json, sys
from dataclasses import asdict
from fiftyone_resclip.fields.process_identity import Process
print(json.dumps(asdict(Process.own())), flush=True)
sys.stdin.readline()
"""


def test_a_process_has_ended_once_it_is_killed_even_before_its_parent_notices() -> None:
    process = subprocess.Popen([sys.executable, "-c", DESCRIBE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    known = Process(**json.loads(process.stdout.readline()))
    assert (known.pid, known.has_ended()) == (process.pid, False)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it stays a zombie
    assert known.has_ended()
    process.communicate()
    assert known.has_ended()


def test_another_process_with_the_same_number_is_not_taken_for_it() -> None:
    me = Process.own()
    assert not me.has_ended()
    assert me.started is not None
    assert replace(me, started=me.started - 1).has_ended()


@pytest.mark.parametrize("space", [None, "another boot pid:[1]"])
def test_what_can_not_be_seen_from_here_is_not_called_ended(space: str | None) -> None:
    assert not replace(Process.own(), pid=2**22 + 1, space=space).has_ended()
    assert replace(Process.own(), pid=2**22 + 1).has_ended()


@pytest.mark.parametrize("options", [["--mount-proc"], []])
def test_a_container_with_the_same_host_name_is_told_apart(options: list[str]) -> None:
    command = ["unshare", "--pid", "--fork", *options, sys.executable, "-c", DESCRIBE]
    inside = subprocess.run(command, input="\n", capture_output=True, text=True, check=False)
    if inside.returncode:
        pytest.skip("this user may not make namespaces")
    known = Process(**json.loads(inside.stdout))
    assert known.host == Process.own().host
    assert known.space != pid_space()
    assert not known.has_ended()
    assert asdict(known)["pid"] == 1
