"""Imports go to the same or a lower layer only; and importing the package stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "fiftyone_resclip"
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "config", "vocabulary", "pipeline"),
    ("core",),
    ("backbone", "architectures", "weights", "text_cache"),
    ("batching", "segmenter", "memory", "explain"),
    ("images", "masks", "metrics", "boundaries", "figures", "plots", "database", "install", "provenance", "vocabularies"),
    ("model", "labeling", "plan", "playground", "readings", "review", "evaluation", "datasets", "zoo_source", "zoo", "tiny"),
    ("app",),
    ("demo", "benchmark", "bench", "cli"),
)
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names}
TORCH_FREE = ("errors", "config", "vocabulary", "pipeline", "metrics", "boundaries", "install", "figures")
FIFTYONE_FROM = LAYER["images"]


def imports(path: Path) -> set[str]:
    """Every module a file imports, wherever in the file it does so."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def violations(package: Path) -> list[str]:
    problems = []
    for path in sorted(package.rglob("*.py")):
        own = path.relative_to(package).parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        if own not in LAYER:
            problems.append(f"{own} is in no layer")
            continue
        for name in sorted(imports(path)):
            parts = name.split(".")
            if parts[0] == "fiftyone_resclip" and len(parts) > 1 and LAYER.get(parts[1], -1) > LAYER[own]:
                problems.append(f"{own} imports {parts[1]} from a higher layer")
            if parts[0] == "fiftyone" and LAYER[own] < FIFTYONE_FROM:
                problems.append(f"{own} imports fiftyone below its layer")
            if parts[0] in ("torch", "open_clip") and own in TORCH_FREE:
                problems.append(f"{own} imports {parts[0]}")
    return problems


def test_imports_go_down_only() -> None:
    assert violations(PACKAGE) == []


@pytest.mark.parametrize(
    ("file", "line", "problem"),
    [
        ("core/pamr.py", "from fiftyone_resclip.segmenter import ResCLIP", "core imports segmenter from a higher layer"),
        ("segmenter.py", "import fiftyone as fo", "segmenter imports fiftyone below its layer"),
        ("config.py", "def f():\n    import torch", "config imports torch"),
        ("helpers.py", "", "helpers is in no layer"),
    ],
)
def test_the_layer_test_can_fail(tmp_path: Path, file: str, line: str, problem: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(line)
    assert problem in violations(tmp_path)


def loaded_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*sorted(m for m in ('torch', 'fiftyone', 'open_clip', 'numpy') if m in sys.modules))"
    return set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())


def test_importing_the_package_loads_neither_torch_nor_fiftyone() -> None:
    assert loaded_after("import fiftyone_resclip") == set()


def test_the_import_test_can_fail() -> None:
    assert "torch" in loaded_after("import fiftyone_resclip; fiftyone_resclip.Backbone")


def test_public_names_are_those_that_can_be_imported() -> None:
    import fiftyone_resclip

    assert {name: getattr(fiftyone_resclip, name).__name__ for name in fiftyone_resclip.__all__ if name.islower()} == {
        name: name for name in fiftyone_resclip.__all__ if name.islower()
    }
    assert set(fiftyone_resclip.__all__) <= set(dir(fiftyone_resclip))
    with pytest.raises(AttributeError, match="no attribute 'segment'"):
        fiftyone_resclip.segment  # noqa: B018
