"""A user's first steps: installs the built wheel into a new environment with pip, then labels images with no network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

import fiftyone as fo
import pytest

from tests.conftest import CLASSES

ROOT = Path(__file__).parents[2]
PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check")

FIRST_STEPS = """
import socket, sys
connect = socket.socket.connect
def only_here(self, address):
    assert self.family == socket.AF_UNIX or address[0] in ("127.0.0.1", "::1"), f"contacts {address}"
    return connect(self, address)
socket.socket.connect = only_here
import fiftyone as fo, fiftyone.operators as foo, fiftyone.zoo as foz, fiftyone_resclip as resclip
assert resclip.__file__.startswith(sys.prefix), "the checkout was imported instead of the wheel"
dataset = fo.load_dataset(sys.argv[1])
print(resclip.label(dataset, resclip.load_model("resclip-tiny", sys.argv[2:]), "resclip"))
dataset.apply_model(foz.load_zoo_model("resclip-tiny", classes=sys.argv[2:]), "from_the_zoo")
assert len(dataset.exists("resclip")) == len(dataset.exists("from_the_zoo")) == len(dataset)
foo.get_operator("@fiftyone-resclip/resclip/segment")
print(resclip.evaluate(dataset, "resclip", "ground_truth"))
"""


def relative_links(wheel: Path) -> list[str]:
    """Returns the links and pictures in a wheel's description that lead nowhere outside the repository."""
    with ZipFile(wheel) as files:
        metadata = next(name for name in files.namelist() if name.endswith("METADATA"))
        description = files.read(metadata).decode()
    assert "](https://" in description
    return [target for target in re.findall(r"\]\(([^)]*)\)", description) if not target.startswith(("https://", "#"))]


@pytest.mark.slow
def test_the_wheel_works_in_a_fresh_environment(make_dataset: Callable[..., fo.Dataset]) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with TemporaryDirectory() as name:  # gigabytes, which pytest's folders would keep
        folder = Path(name)
        for variable in ("FIFTYONE_PLUGINS_DIR", "FIFTYONE_MODEL_ZOO_DIR"):
            environment[variable] = str(folder / variable)

        def run(*command: object) -> str:
            done = subprocess.run(
                [str(part) for part in command], cwd=folder, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        run(sys.executable, "-m", "venv", folder / "fresh")
        bin_folder = folder / "fresh" / "bin"
        run(bin_folder / "python", *PIP, "install", "build")
        run(bin_folder / "python", "-m", "build", "--outdir", folder, ROOT)  # the wheel is built from the sdist
        wheel = next(folder.glob("*.whl"))
        assert len(list(folder.glob("*.tar.gz"))) == 1
        assert relative_links(wheel) == []
        run(bin_folder / "python", *PIP, "install", wheel)
        assert run(bin_folder / "fiftyone-resclip", "install").count("installed ") == 3
        printed = run(bin_folder / "python", "-c", FIRST_STEPS, make_dataset(2).name, *CLASSES)
    assert "2 of 2 images labelled" in printed and "mIoU" in printed
