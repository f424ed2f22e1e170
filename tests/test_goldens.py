"""Numbers of the authors' release, and that they can fail."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fiftyone_resclip.clip.backbone import Backbone
from tests.golden import check, sensitivity

OWN = Path(check.__file__).parent
WHOLE = OWN.parents[2] / "shared" / "goldens"
CASES = {case["name"]: case for case in json.loads((OWN / "cases.json").read_text())}


@pytest.fixture(scope="module")
def golden_backbone() -> Backbone:
    return check.load_backbone(OWN)


@pytest.mark.parametrize("name", CASES)
def test_golden_case(name: str, golden_backbone: Backbone) -> None:
    outcome = check.check_case(OWN, CASES[name], golden_backbone)
    assert bool(outcome.decision) == (name == "p22_grid7x28")
    assert outcome.decision or outcome.differences
    assert not outcome.failed, str(outcome)


@pytest.mark.parametrize("kind", check.UNIT_KINDS)
def test_golden_unit(kind: str, golden_backbone: Backbone) -> None:
    outcomes = list(check.check_units(OWN, kind, golden_backbone))
    assert outcomes
    assert [str(outcome) for outcome in outcomes if outcome.failed] == []


@pytest.mark.parametrize("mistake", sensitivity.MISTAKES, ids=lambda mistake: mistake.name)
def test_a_small_mistake_is_noticed(mistake: sensitivity.Mistake, golden_backbone: Backbone) -> None:
    assert sensitivity.try_mistake(mistake, OWN, CASES, golden_backbone).failed_case


def test_no_mistake_is_left_behind(golden_backbone: Backbone) -> None:
    nothing = sensitivity.Mistake("none")
    assert sensitivity.try_mistake(nothing, OWN, CASES, golden_backbone).failed_case is None


def test_the_command_counts_and_fails(tmp_path: Path) -> None:
    for name in ("weights.safetensors", "p25_small_160x192.npz", "p25_small_160x192.png"):
        (tmp_path / name).symlink_to(OWN / name)
    case = CASES["p25_small_160x192"]
    unbuilt = {**case, "name": "unbuilt", "attn_strategy": "maskclip"}
    (tmp_path / "cases.json").write_text(json.dumps([case, unbuilt]))
    run = subprocess.run([sys.executable, OWN / "check.py", tmp_path], capture_output=True, text=True, check=False)
    assert run.stdout.splitlines()[-1] == "1 passed, 1 failed", run.stdout + run.stderr
    assert "unbuilt" in run.stdout
    assert run.returncode == 1


@pytest.mark.skipif(not WHOLE.is_dir(), reason="the whole folder of goldens is not at hand")
def test_the_whole_folder_where_it_is_at_hand() -> None:
    outcomes = list(check.check_folder(WHOLE, skip=CASES))
    assert len(outcomes) > 15
    assert [str(outcome) for outcome in outcomes if outcome.failed or outcome.error] == []
