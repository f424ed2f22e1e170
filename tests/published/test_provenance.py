from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fiftyone_resclip.published import provenance


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (
        "fiftyone_resclip/published/provenance.py",
        "fiftyone_resclip/tiny/CARD.md",
        "benchmarks/results/speed.json",
        "README.md",
        "docs/GUIDE.md",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("as committed")
    for command in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "Begin"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "fiftyone_resclip" / "published" / "provenance.py"))
    return tmp_path


def test_what_benchmarks_write_leaves_the_commit_as_it_is(checkout: Path) -> None:
    written = ("fiftyone_resclip/tiny/CARD.md", "benchmarks/results/speed.json", "benchmarks/results/new.json")
    for name in (*written, "README.md", "docs/GUIDE.md"):
        (checkout / name).write_text("measured")
    head = subprocess.run(["git", "-C", str(checkout), "rev-parse", "HEAD"], capture_output=True, text=True).stdout
    assert provenance.provenance()["commit"] == head[:12]


@pytest.mark.parametrize("name", ["fiftyone_resclip/published/provenance.py", "fiftyone_resclip/new.py", "pyproject.toml"])
def test_other_changes_are_marked(checkout: Path, name: str) -> None:
    (checkout / name).write_text("changed")
    assert provenance.provenance()["commit"].endswith("+")


def test_outside_a_checkout_the_commit_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))
    assert provenance.provenance()["commit"] == "unknown"
