"""Imports go to a lower floor only, without circles; a file name occurs once; importing the package stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "fiftyone_resclip"
#: From the ground up; rooms on one floor do not import each other.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "text_files", "tiny"),
    ("checks",),
    ("config",),
    ("presets", "vocabulary"),
    ("core",),
    ("clip",),
    ("segmenter",),
    ("fields", "drawing"),
    ("embedding",),
    ("model",),
    ("evaluation",),
    ("evidence",),
    ("labeling",),
    ("explore", "published"),
    ("doors",),
    ("app", "zoo"),
    ("demo",),
    ("cli",),
    ("__main__",),
)
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
FIFTYONE_FROM = FLOOR["fields"]
#: Files that need no torch, so that the App's server and the command line start quickly.
TORCH_FREE = (
    "errors",
    "checks",
    "text_files",
    "config",
    "presets",
    "vocabulary",
    "cli",
    "app",
    "drawing",
    "tiny",
    "fields/values",
    "evaluation/metrics",
)


def modules_of(package: Path) -> dict[str, Path]:
    """Files by dotted name below the package, such as ``core.pamr``."""
    files = {path: path.relative_to(package).with_suffix("").parts for path in sorted(package.rglob("*.py"))}
    return {".".join(part for part in parts if part != "__init__"): path for path, parts in files.items()}


def imports(path: Path, package: Path, *, at_load: bool = False) -> Iterator[str]:
    """Yields every module a file imports, wherever in the file; relative imports as if they were absolute.

    With ``at_load`` only what is imported when the file is loaded: neither inside functions nor for type checkers.
    """
    parts = path.relative_to(package.parent).with_suffix("").parts
    here = parts if path.name != "__init__.py" else (*parts[:-1], "__init__")
    for node in _at_load(ast.parse(path.read_text(encoding="utf-8"))) if at_load else ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join((package.name, *here[1 : len(here) - node.level])) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def _at_load(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        later = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        if later or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            continue
        yield node
        yield from _at_load(node)


def violations(package: Path) -> list[str]:
    problems = []
    for path in modules_of(package).values():
        own = path.relative_to(package).parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        if own not in FLOOR:
            problems.append(f"{own} is on no floor")
            continue
        place = path.relative_to(package).with_suffix("").as_posix()
        light = any(place == name or place.startswith(f"{name}/") for name in TORCH_FREE)
        for name in sorted(set(imports(path, package))):
            parts = name.split(".")
            other = parts[1] if parts[0] == package.name and len(parts) > 1 else own
            if other != own and FLOOR.get(other, -1) >= FLOOR[own]:
                problems.append(f"{own} imports {other}, which is not below it")
            if parts[0] == "fiftyone" and FLOOR[own] < FIFTYONE_FROM:
                problems.append(f"{own} imports fiftyone below its floor")
        loaded = {name.split(".")[0] for name in imports(path, package, at_load=True)}
        problems += [f"{own} imports {name}" for name in sorted(loaded & {"torch", "open_clip"}) if light]
    return problems


def circle(package: Path) -> list[str]:
    """Files that import each other in a circle when they are loaded; empty without one."""
    modules = modules_of(package)
    needs = {
        name: {
            other
            for found in imports(path, package, at_load=True)
            if (other := found.removeprefix(f"{package.name}.")) in modules
        }
        for name, path in modules.items()
    }
    try:
        TopologicalSorter({name: others - {name} for name, others in needs.items()}).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def twins(package: Path) -> list[str]:
    """File names that occur more than once outside ``app/``; ``benchmarks/`` beside the package counts."""
    files = [path for path in package.rglob("*.py") if path.relative_to(package).parts[0] != "app"]
    files += (package.parent / "benchmarks").glob("*.py")
    return sorted(name for name, count in Counter(path.name for path in files if path.stem != "__init__").items() if count > 1)


def test_imports_go_down_only() -> None:
    assert violations(PACKAGE) == []


def test_no_files_import_each_other_in_a_circle() -> None:
    assert circle(PACKAGE) == []


def test_a_file_name_occurs_once() -> None:
    assert twins(PACKAGE) == []


def test_at_most_ten_files_lie_flat() -> None:
    assert len([path for path in PACKAGE.glob("*.py") if path.stem not in ("__init__", "__main__")]) <= 10


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """An empty package beside which tests may put files."""
    package = tmp_path / "fiftyone_resclip"
    package.mkdir()
    return package


def put(package: Path, file: str, line: str) -> None:
    path = package / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(line)


@pytest.mark.parametrize(
    ("file", "line", "problem"),
    [
        ("core/pamr.py", "from fiftyone_resclip.segmenter import ResCLIP", "core imports segmenter, which is not below it"),
        ("core/pamr.py", "from ..segmenter import ResCLIP", "core imports segmenter, which is not below it"),
        ("core/kernels/tiles.py", "from ... import segmenter", "core imports segmenter, which is not below it"),
        ("core/__init__.py", "from .. import segmenter", "core imports segmenter, which is not below it"),
        ("errors.py", "from . import config", "errors imports config, which is not below it"),
        (
            "explore/review.py",
            "def f():\n    from ..published import run",
            "explore imports published, which is not below it",
        ),
        ("segmenter.py", "import fiftyone as fo", "segmenter imports fiftyone below its floor"),
        ("config.py", "import torch", "config imports torch"),
        ("evaluation/metrics.py", "if True:\n    import torch", "evaluation imports torch"),
        ("helpers.py", "", "helpers is on no floor"),
    ],
)
def test_the_test_of_floors_can_fail(house: Path, file: str, line: str, problem: str) -> None:
    put(house, file, line)
    assert any(found.startswith(problem) for found in violations(house))


def test_the_tests_of_circles_and_names_can_fail(house: Path) -> None:
    put(house, "core/pamr.py", "from . import labels")
    put(house, "core/labels.py", "from fiftyone_resclip.core.pamr import refine")
    put(house, "clip/labels.py", "")
    put(house.parent, "benchmarks/pamr.py", "")
    assert set(circle(house)) == {"core.pamr", "core.labels"}
    assert twins(house) == ["labels.py", "pamr.py"]


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
