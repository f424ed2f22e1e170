"""FiftyOne's file of evaluation settings: our method goes in and out, everything else stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fiftyone_resclip.doors.evaluation_config import register_method, unregister_method
from fiftyone_resclip.errors import ResCLIPError

OTHERS = {
    "default_segmentation_backend": "theirs",
    "segmentation_backends": {"theirs": {"config_cls": "theirs.Config"}},
}
#: FiftyOne must find our method before anything of ours is imported.
EVALUATE = """
import sys, fiftyone as fo
from fiftyone_resclip.doors import own_database
own_database.use()
assert "fiftyone_resclip.evaluation.method" not in sys.modules
import numpy as np
dataset = fo.Dataset()
mask = np.array([[1, 2]], np.uint8)
sample = fo.Sample("a.png", truth=fo.Segmentation(mask=mask), pred=fo.Segmentation(mask=mask))
dataset.add_sample(sample)
dataset.mask_targets = {name: {1: "road", 2: "sky"} for name in ("truth", "pred")}
print(type(dataset.evaluate_segmentations("pred", "truth", method="resclip")).__name__)
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "settings" / "evaluation_config.json"
    monkeypatch.setenv("FIFTYONE_EVALUATION_CONFIG_PATH", str(path))
    return path


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=dict(os.environ))


def test_a_fresh_process_knows_the_method_once_it_is_registered(path: Path) -> None:
    assert "Unsupported segmentation evaluation method 'resclip'" in run(EVALUATE).stderr
    assert register_method() == path
    done = run(EVALUATE)
    assert done.stdout.split()[-1:] == ["SemanticEvaluationResults"], done.stderr


def test_everything_else_in_the_file_stays(path: Path) -> None:
    path.parent.mkdir()
    path.write_text(json.dumps(OTHERS))
    register_method()
    register_method()  # again
    assert set(json.loads(path.read_text())["segmentation_backends"]) == {"theirs", "resclip"}
    assert unregister_method() == path
    assert json.loads(path.read_text()) == OTHERS
    assert unregister_method() is None


def test_a_file_that_only_we_wrote_goes_again(path: Path) -> None:
    assert unregister_method() is None
    register_method()
    assert unregister_method() == path
    assert not path.exists()


def test_an_entry_that_somebody_changed_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    path.write_text(json.dumps({"segmentation_backends": {"resclip": {"config_cls": "mine.Config"}}}))
    assert unregister_method() is None
    assert "mine.Config" in path.read_text()


def test_a_link_to_the_file_stays_a_link(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir()
    path.symlink_to(tmp_path / "dotfiles.json")
    register_method()
    assert path.is_symlink() and "resclip" in (tmp_path / "dotfiles.json").read_text()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"must be a JSON file, but .* is not \(Expecting property name"),
        ("[]", "must map names to settings, but"),
        ('{"segmentation_backends": []}', "must map names to settings, but"),
    ],
)
def test_a_file_that_is_damaged_is_not_touched(path: Path, content: str, message: str) -> None:
    path.parent.mkdir()
    path.write_text(content)
    for change in (register_method, unregister_method):
        with pytest.raises(ResCLIPError, match=message):
            change()
    assert path.read_text() == content


def test_a_folder_that_can_not_be_written_is_named(path: Path, tmp_path: Path) -> None:
    (tmp_path / "settings").write_text("a file, where a folder should be")
    with pytest.raises(ResCLIPError, match=r"evaluation_config\.json can't be written: .*; mend that"):
        register_method()
