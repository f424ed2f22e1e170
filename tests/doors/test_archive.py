"""FiftyOne's own doors, end to end in other environments: a plugin and a zoo source from an archive of the repository."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import pytest
import tomllib
import yaml

from tests.conftest import CLASSES
from tests.doors.conftest import DEPENDENCIES, PACKAGE, ROOT, Run

DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
REPOSITORY = yaml.safe_load((ROOT / "fiftyone.yml").read_text())["url"]

Environments = Callable[..., Run]
MakeDataset = Callable[..., fo.Dataset]

PLUGIN = """
import sys
import fiftyone as fo, fiftyone.operators as foo, fiftyone.plugins as fop
name = "@fiftyone-resclip/resclip"
fop.download_plugin(sys.argv[1])
print("requires", len(fop.load_plugin_requirements(name)))
listed = [operator.name for operator in foo.list_operators() if operator.plugin_name == name]
operator = foo.get_operator(f"{name}/segment")
print(len(listed), operator.config.label)
if "missing" in operator.config.label:
    print(operator.text)
else:
    report = operator(fo.load_dataset(sys.argv[2]), sys.argv[3:], model="resclip-tiny", mode="fast")
    import fiftyone_resclip
    print(report, fiftyone_resclip.__file__)
"""

ZOO = """
import sys
import fiftyone.zoo as foz
foz.register_zoo_model_source(sys.argv[1])
foz.download_zoo_model(sys.argv[1], model_name="resclip-tiny")
model = foz.load_zoo_model(sys.argv[1], "resclip-tiny", classes=["red cloth", "snow"], device="cpu", **eval(sys.argv[2]))
print(type(model).__module__, model)
"""


def test_a_downloaded_plugin_works_without_the_package(
    environment_without: Environments, archive: str, make_dataset: MakeDataset
) -> None:
    dataset = make_dataset(2)
    done = environment_without(*PACKAGE)(PLUGIN, archive, dataset.name, *CLASSES)
    assert "2 of 2 images labelled" in done.stdout, done.stdout + done.stderr
    assert (
        "FIFTYONE_PLUGINS_DIR/@fiftyone-resclip/resclip/fiftyone_resclip/__init__.py" in done.stdout
    )  # the copy beside the shim
    dataset.reload()
    assert len(dataset.exists("resclip")) == 2


def test_a_downloaded_plugin_without_dependencies_says_what_to_install(environment_without: Environments, archive: str) -> None:
    done = environment_without(*PACKAGE, *DEPENDENCIES)(PLUGIN, archive)
    assert "1 ResCLIP: what is missing" in done.stdout, done.stdout + done.stderr
    assert (
        "ResCLIP needs open_clip_torch>=3.0, safetensors>=0.4, torch>=2.6. "
        "Run 'fiftyone plugins requirements @fiftyone-resclip/resclip --install' in the environment of the App"
    ) in done.stdout
    assert f"requires {len(DECLARED)}\n" in done.stdout


def test_the_installed_package_wins_over_a_downloaded_plugin_of_another_version(
    environment_without: Environments, checkout: Path, request: pytest.FixtureRequest, make_dataset: MakeDataset
) -> None:
    manifest = checkout / "fiftyone.yml"
    manifest.write_text(manifest.read_text().replace("version: 0.1.0", "version: 0.0.9"))
    archive = request.getfixturevalue("archive")
    done = environment_without()(PLUGIN, archive, make_dataset(1).name, *CLASSES, PYTHONPATH=str(ROOT))
    assert f"{ROOT}/fiftyone_resclip/__init__.py" in done.stdout, done.stdout + done.stderr
    assert "is of version 0.0.9, but the installed package of version 0.1.0 is used" in done.stderr


def test_a_shim_whose_package_was_removed_says_so(environment_without: Environments, tmp_path: Path) -> None:
    from fiftyone_resclip.doors.install import copy_shims

    copy_shims(tmp_path / "FIFTYONE_PLUGINS_DIR", tmp_path / "FIFTYONE_MODEL_ZOO_DIR")
    code = PLUGIN.replace("fop.download_plugin(sys.argv[1])", "").replace('print("requires"', "# ")
    done = environment_without(*PACKAGE)(code)
    assert "1 ResCLIP: what is missing" in done.stdout, done.stdout + done.stderr
    assert "The package fiftyone-resclip was removed from the environment of the App" in done.stdout


def test_a_zoo_source_is_registered_and_downloaded_without_the_package(environment_without: Environments, archive: str) -> None:
    run = environment_without(*PACKAGE)
    done = run(ZOO, archive, "{}")
    assert done.returncode != 0
    assert "fiftyone-resclip @ git+" in done.stderr and "install" in done.stderr  # FiftyOne's own check of the requirements
    unchecked = run(
        "import sys; " + ZOO.replace("foz.register_zoo_model_source(sys.argv[1])", ""), archive, "{'ensure_requirements': False}"
    )
    assert "the ResCLIP models need their package, but it can't be imported" in unchecked.stderr
    assert "pass install_requirements=True to load_zoo_model(), or run: pip install fiftyone-resclip" in unchecked.stderr


@pytest.mark.slow
def test_a_zoo_source_installs_its_requirements(environment_without: Environments, archive: str, checkout: Path) -> None:
    for command in (("init", "-q"), ("add", "-A"), ("-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "all")):
        subprocess.run(["git", *command], cwd=checkout, check=True)
    from_here = {
        "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.file://{checkout}.insteadOf", "GIT_CONFIG_VALUE_0": REPOSITORY
    }  # fmt: skip
    done = environment_without(*PACKAGE)(ZOO, archive, "{'install_requirements': True}", **from_here)
    assert "fiftyone_resclip.model ResCLIPModel('resclip-tiny'" in done.stdout, done.stdout + done.stderr
