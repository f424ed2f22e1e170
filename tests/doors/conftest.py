"""Environments in which the package or its dependencies are missing, and a loopback server with an archive of the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SITE = Path(sysconfig.get_path("purelib"))
PACKAGE = ("fiftyone_resclip*", "_fiftyone_resclip*", "__editable__*")
DEPENDENCIES = ("torch", "torch-*", "open_clip*", "safetensors*")

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment_without(tmp_path: Path) -> Callable[..., Run]:
    """Makes an environment with links to all that is installed here, except some packages; returns what runs Python there."""

    def make(*patterns: str) -> Run:
        python = tmp_path / "environment" / "bin" / "python"
        subprocess.run([sys.executable, "-m", "venv", tmp_path / "environment"], check=True)
        site = next((tmp_path / "environment" / "lib").glob("python*")) / "site-packages"
        linked = tmp_path / "linked"
        linked.mkdir()
        for entry in SITE.iterdir():
            if not any(fnmatch(entry.name, pattern) for pattern in (*patterns, "pip", "pip-*", "*.pth")):
                (linked / entry.name).symlink_to(entry)
        (site / "linked.pth").write_text(f"{linked}\n")
        folders = {name: str(tmp_path / name) for name in ("FIFTYONE_PLUGINS_DIR", "FIFTYONE_MODEL_ZOO_DIR")}
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | folders

        def run(code: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [str(python), "-c", code, *arguments], cwd=tmp_path, env={**environment, **variables}, capture_output=True,
                text=True, check=False,
            )  # fmt: skip

        return run

    return make


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the repository's files, as an archive of it holds them."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    copy = tmp_path / "served" / "fiftyone-resclip-main"
    for name in listed.stdout.splitlines():
        if name.split("/")[0] not in ("tests", "benchmarks") and (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture
def archive(checkout: Path) -> Iterator[str]:
    """The URL of a zip archive of the repository on a loopback server; made when it is asked for."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    shutil.make_archive(str(checkout), "zip", checkout.parent, checkout.name)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(checkout.parent)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/{checkout.name}.zip"
    server.shutdown()
    server.server_close()
