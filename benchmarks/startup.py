"""Measures what a user waits for at the start: importing the package, and the App's server.

``python -m benchmarks.startup FILE`` writes the results as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.timing import seconds
from fiftyone_resclip.doors import own_database
from fiftyone_resclip.doors.install import install
from fiftyone_resclip.published.provenance import provenance

#: What the App's server does before it answers: load its own code, and all plugins it finds.
SERVER = """
import fiftyone.server.app
from fiftyone.operators.registry import OperatorRegistry
OperatorRegistry().list_operators()
"""


def import_ratio(rounds: int) -> float:
    """Times ``import fiftyone_resclip`` in fresh interpreters against their start without it."""
    pairs = [(_run("pass"), _run("import fiftyone_resclip")) for _ in range(rounds)]
    return median(imported / bare for bare, imported in pairs)


def server_ratio(rounds: int) -> float:
    """Times the start of the App's server with this plugin against its start without plugins."""
    with tempfile.TemporaryDirectory() as folder:
        bare, installed = Path(folder) / "none", Path(folder) / "plugins"
        bare.mkdir()
        install(installed, Path(folder) / "zoo")
        pairs = [tuple(_run(SERVER, FIFTYONE_PLUGINS_DIR=str(plugins)) for plugins in (bare, installed)) for _ in range(rounds)]
    return median(with_plugin / without for without, with_plugin in pairs)


def _run(code: str, **environment: str) -> float:
    return seconds(lambda: subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | environment))


def main() -> None:
    """Measures and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    own_database.use()
    origin = provenance()
    figures = {
        "rounds": options.rounds,
        "start_with_import_over_bare_start": round(import_ratio(options.rounds), 3),
        "server_with_plugin_over_without": round(server_ratio(options.rounds), 3),
    }
    print(figures)
    options.file.write_text(json.dumps({**origin, **figures}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
