"""The components for the browser: one small file, built from the source in ``web/``, in all places where the App looks for it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import fiftyone as fo
import pytest
import yaml
from fiftyone.plugins import get_plugin

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "web"
BUNDLE = ROOT / yaml.safe_load((ROOT / "fiftyone.yml").read_text())["js_bundle"]


def test_the_bundle_is_small_and_stands_alone() -> None:
    assert [path.name for path in BUNDLE.parent.iterdir()] == [BUNDLE.name]
    assert BUNDLE.stat().st_size < 100_000


@pytest.mark.skipif(not (SOURCE / "node_modules").is_dir(), reason="run 'npm ci' in web/ to compare the bundle with its source")
def test_the_bundle_is_what_its_source_builds(tmp_path: Path) -> None:
    npx = shutil.which("npx")
    assert npx is not None
    for command in (["tsc"], ["vite", "build", "--outDir", str(tmp_path)]):
        done = subprocess.run([npx, *command], cwd=SOURCE, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / BUNDLE.name).read_text() == BUNDLE.read_text(), "run 'make web' and commit the bundle"


def test_fiftyone_finds_the_bundle_of_the_installed_plugin(installed: None) -> None:
    plugin = get_plugin("@fiftyone-resclip/resclip")
    assert plugin.has_js and Path(plugin.js_bundle_path).read_bytes() == BUNDLE.read_bytes()
    assert Path(plugin.js_bundle_path).is_relative_to(fo.config.plugins_dir)
