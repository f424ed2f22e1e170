"""Starts a real FiftyOne App server and a headless Chromium; saves screenshots in ``test-artefacts/``."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fiftyone_resclip import cli

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARTEFACTS = Path(__file__).parents[2] / "test-artefacts"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Starts an App server with the plugin installed and yields its address."""
    with served(tmp_path_factory.mktemp("server")) as address:
        yield address


@pytest.fixture
def page(server: str, request: pytest.FixtureRequest) -> Iterator[object]:
    """Yields a browser page that can reach only the server; saves a screenshot of it at the end of the test."""
    with opened_page(server) as page:
        yield page
        page.screenshot(path=str(ARTEFACTS / f"{request.node.name}.png"))


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Starts an App server with the plugin installed and yields its address; its log goes to a folder."""
    ARTEFACTS.mkdir(exist_ok=True)
    assert cli.main(["install"]) == 0
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    spec = importlib.util.find_spec("fiftyone")
    assert spec is not None and spec.origin is not None
    main = Path(spec.origin).parent / "server" / "main.py"
    with (folder / "log").open("w") as log:
        command = [sys.executable, "-u", str(main), "--port", str(port), "--address", "127.0.0.1"]
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        address = f"http://127.0.0.1:{port}"
        try:
            _wait_for(f"{address}/fiftyone")
            yield address
        finally:
            process.terminate()
            process.wait(120)
            cli.main(["uninstall"])


@contextmanager
def opened_page(address: str) -> Iterator[Any]:
    """Opens a browser page that can reach only the server."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        context = browser.new_context(viewport={"width": 1500, "height": 950})
        context.add_init_script("localStorage.setItem('fiftyone-enterprise-tooltip-seen', 'true')")
        own = (address, "data:", "blob:")
        context.route("**/*", lambda route: route.continue_() if route.request.url.startswith(own) else route.abort())
        try:
            page = context.new_page()
            page.set_default_timeout(120_000)  # a machine that does other work, too, needs a multiple of the usual time
            yield page
        finally:
            context.close()
            browser.close()


def _wait_for(url: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                answer.read()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
