"""Starts Python in processes that need not import the large libraries, because they are forks of one that has done so.

A fresh interpreter takes ten seconds of a processor to import torch, open_clip and what FiftyOne builds on. FiftyOne itself is
imported after the fork, since it connects to the database; and so is this project.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import os
import random
import socket
import subprocess
import sys
import types
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

is_possible = sys.platform == "linux"

_IMPORTED = "open_clip", "pandas", "plotly.graph_objects", "scipy.spatial.transform", "scipy.stats", "sklearn.linear_model"
_PR_SET_CHILD_SUBREAPER = 36
_ROOT = Path(__file__).parents[2]


class Fork(subprocess.Popen[str]):
    """A child process that runs code as ``python -c`` does, with pipes for input and output.

    Args:
        code: what to run
        arguments: what it finds in ``sys.argv``
        environment: its environment variables
    """

    def __init__(self, code: str, arguments: tuple[str, ...], environment: Mapping[str, str]) -> None:
        self._request = json.dumps([code, arguments, dict(environment), str(Path.cwd())]).encode()
        pipe = subprocess.PIPE
        super().__init__("", stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    def _execute_child(self, *arguments: Any) -> None:
        """Replaces Popen's own start of a child; its arguments 10 to 15 are both ends of the three pipes."""
        ends = [arguments[place] for place in (10, 13, 15)]
        self.pid, self._child_created = _fork(self._request, ends), True
        for end in ends:
            os.close(end)


def _fork(request: bytes, pipes: list[int]) -> int:
    """Asks for a fork, which becomes a child of this process, so that this process can wait for it."""
    connection = _source_of_forks()
    _adopt_orphans(True)
    try:
        socket.send_fds(connection, [len(request).to_bytes(4, "big")], pipes)
        connection.sendall(request)
        return int.from_bytes(connection.recv(4), "big")
    finally:
        _adopt_orphans(False)


def _adopt_orphans(wanted: bool) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0)


@cache
def _source_of_forks() -> socket.socket:
    """Returns a connection to the process that forks; it ends with this one."""
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "tests.faults.forking", str(theirs.fileno())]
    nothing = subprocess.DEVNULL
    with theirs:
        source = subprocess.Popen(command, cwd=_ROOT, stdin=nothing, stdout=nothing, pass_fds=[theirs.fileno()])
    atexit.register(source.wait)
    atexit.register(ours.close)
    return ours


def _fork_on_request(connection: socket.socket) -> str:
    """Forks for each request until the other end is closed; returns only in the forks, with the code to run."""
    for module in _IMPORTED:
        importlib.import_module(module)
    gc.freeze()  # collections in the forks would copy all of its memory
    while True:
        size, pipes, _, _ = socket.recv_fds(connection, 4, 3)
        if not size:
            sys.exit()
        request = connection.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL)
        reading, writing = os.pipe()
        middle = os.fork()
        if not middle:
            child = os.fork()
            if not child:
                connection.close()
                return _prepared(request, pipes)
            os.write(writing, child.to_bytes(4, "big"))
            os._exit(0)
        os.waitpid(middle, 0)  # from now on, its child is that of the process that asked
        connection.sendall(os.read(reading, 4))
        for end in (reading, writing, *pipes):
            os.close(end)


def _prepared(request: bytes, pipes: list[int]) -> str:
    """Makes a fork look like a fresh interpreter."""
    import numpy as np

    code, arguments, environment, folder = json.loads(request)
    for number, pipe in enumerate(pipes):
        os.dup2(pipe, number)
        os.close(pipe)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["-c", *arguments]
    random.seed()
    np.random.seed()
    return str(code)


if __name__ == "__main__":
    given = _fork_on_request(socket.socket(fileno=int(sys.argv[1])))
    sys.modules["__main__"] = types.ModuleType("__main__")
    exec(compile(given, "<string>", "exec"), vars(sys.modules["__main__"]))
