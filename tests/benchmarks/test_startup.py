from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.startup import SERVER, import_ratio, server_ratio
from fiftyone_resclip.doors.install import install
from tests.benchmarks.conftest import Clock


def test_the_server_that_is_timed_loads_this_plugin(tmp_path: Path) -> None:
    install(tmp_path / "plugins", tmp_path / "zoo")
    code = SERVER + "print([o.uri for o in OperatorRegistry().list_operators() if 'resclip/segment' in o.uri])"
    environment = os.environ | {"FIFTYONE_PLUGINS_DIR": str(tmp_path / "plugins")}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip().endswith("['@fiftyone-resclip/resclip/segment']")


@pytest.fixture
def interpreters(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str, Any], float]], None]:
    """Replaces interpreters by some that do nothing, and take the time that a function says for their code and plugins."""

    def replace(cost: Callable[[str, Any], float]) -> None:
        def run(command: list[str], *, check: bool, env: dict[str, str]) -> None:
            assert command[:2] == [sys.executable, "-c"] and check
            clock.now += cost(command[2], Path(env.get("FIFTYONE_PLUGINS_DIR", "")))

        monkeypatch.setattr("benchmarks.startup.subprocess.run", run)

    return replace


@pytest.mark.parametrize("cost", [1.0, 3.0])
def test_the_ratio_is_that_of_a_start_with_the_import_to_one_without(interpreters: Any, cost: float) -> None:
    interpreters(lambda code, plugins: 2.0 + {"pass": 0.0, "import fiftyone_resclip": cost}[code])
    assert import_ratio(2) == (2.0 + cost) / 2.0


def test_the_ratio_is_that_of_a_server_with_this_plugin_to_one_without_plugins(interpreters: Any) -> None:
    interpreters(lambda code, plugins: {SERVER: 4.0}[code] + len(list(plugins.glob("*/fiftyone.yml"))))
    assert server_ratio(2) == 5.0 / 4.0
