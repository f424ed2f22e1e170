from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.startup import SERVER, import_ratio
from fiftyone_resclip.doors.install import install


def test_the_server_that_is_timed_loads_this_plugin(tmp_path: Path) -> None:
    install(tmp_path / "plugins", tmp_path / "zoo")
    code = SERVER + "print([o.uri for o in OperatorRegistry().list_operators() if 'resclip/segment' in o.uri])"
    environment = os.environ | {"FIFTYONE_PLUGINS_DIR": str(tmp_path / "plugins")}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip().endswith("['@fiftyone-resclip/resclip/segment']")


def test_a_start_with_the_import_takes_longer_than_none() -> None:
    assert import_ratio(1) > 0
