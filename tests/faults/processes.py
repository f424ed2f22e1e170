"""Runs Python in processes of their own, which tests kill, stop and compare."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping

from tests.faults import forking

#: What every process needs to label a dataset with the tiny model: ``dataset`` and ``model``.
PREPARED = """
import os, sys, fiftyone as fo
from fiftyone_resclip import label, load_model
dataset = fo.load_dataset(sys.argv[1])
model = load_model("resclip-tiny", sys.argv[2].split(","), sfr=None, device="cpu")
"""


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    """Starts Python code after :data:`PREPARED`.

    Args:
        code: what to run
        *arguments: name of the dataset, classes separated by commas, and whatever the code reads from ``sys.argv``

    Returns:
        the process, with pipes for input and output
    """
    return start_plain(PREPARED + textwrap.dedent(code), None, *arguments)


def start_plain(code: str, environment: Mapping[str, str] | None, *arguments: str) -> subprocess.Popen[str]:
    """Starts Python code with an environment, by default that of this process."""
    code, environment = textwrap.dedent(code), os.environ if environment is None else environment
    if forking.is_possible:
        return forking.Fork(code, arguments, environment)
    command, pipe = [sys.executable, "-c", code, *arguments], subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment)


def run(code: str, *arguments: str) -> str:
    """Runs Python code after :data:`PREPARED` to its end and returns its output; raises an error if the code does."""
    return _output(start(code, *arguments))


def run_plain(code: str, *arguments: str) -> str:
    """Does what :func:`run` does, without :data:`PREPARED`."""
    return _output(start_plain(code, None, *arguments))


def _output(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err[-2000:]
    return out
