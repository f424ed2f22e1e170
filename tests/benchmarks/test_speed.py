from __future__ import annotations

import copy
import json
import sys
from pathlib import Path

import pytest
import torch
from open_clip.transformer import VisionTransformer

from benchmarks import speed
from benchmarks.cases import CASES
from benchmarks.stages import calls_of
from fiftyone_resclip import segmenter
from fiftyone_resclip.clip.backbone import Backbone
from tests.benchmarks.conftest import Clock

ROW = {"image_hw": [3, 4], "batches": [[1]], "phrases": 5, "ratio_to_plain": 1.0, "stage_shares": {"trunk": 1.0}}
HEADERS = ["case", "image", "crops", "phrases", "time / plain forward", "trunk", "PAMR", "rest", "memory above weights"]


@pytest.mark.parametrize("trunk", [3.0, 7.0])
def test_a_ratio_is_that_of_the_method_to_the_plain_forward(tiny: Backbone, clock: Clock, trunk: float) -> None:
    """The plain forward takes 4 s, the trunk 3 s or 7 s, the labels 1 s, a phrase 2 s and the rest nothing."""
    clock.charge(VisionTransformer, "forward", lambda *_: 4.0)
    clock.charge(Backbone, "trunk", lambda *_: trunk)
    clock.charge(segmenter, "label_map", lambda *_, **__: 1.0)
    clock.charge(Backbone, "encode_text", lambda backbone, phrases: 2.0 * len(phrases))
    figures = speed.measure("voc21-like-fast", tiny, "float32", 1)
    assert figures["ratio_to_plain"] == (trunk + 1) / 4
    assert figures["text_of_a_phrase_to_plain"] == 2 / 4
    assert {stage: share for stage, share in figures["stage_shares"].items() if share} == {
        "trunk": round(trunk / (trunk + 1), 4),
        "up-sampling, labels": round(1 / (trunk + 1), 4),
    }
    assert figures["batches"] == [[1, 3, 336, 448]]
    assert "images_per_second" not in figures  # a CPU is measured by ratios only
    header, _, row = ([cell.strip() for cell in line.strip("|").split("|")] for line in speed.table([figures]).splitlines())
    shares = [f"{100 * share:.0f} %" for share in (trunk / (trunk + 1), 0, 1 / (trunk + 1))]
    assert header == HEADERS
    assert row == ["voc21-like-fast", "336x448", "1", "56", f"{(trunk + 1) / 4:.2f}", *shares, ""]


def test_the_plain_forward_gets_the_crops_that_the_method_takes(tiny: Backbone) -> None:
    """Six windows of one image, for both sides the same pixels."""
    with calls_of(VisionTransformer, "forward") as plain, calls_of(Backbone, "trunk") as ours:
        speed.measure("ade20k-like-fast", tiny, "float32", 1)
    method, tower = ([pixels for pixels, *_ in calls] for calls in (ours, plain))
    assert sum(map(len, method[: len(method) // 4])) == 6  # the method ran four times, once of them to be timed by stages
    pairs = zip(tower, method[: len(method) // 4] * 2, strict=True)  # the tower ran twice, once of them to warm up
    assert all(torch.equal(*pair) for pair in pairs)


def test_the_plain_forward_is_open_clips_own(tiny: Backbone, clock: Clock) -> None:
    """With a table of positions that fits the crops, all zeros."""
    pixels = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    results = clock.charge(VisionTransformer, "forward", lambda *_: 0.0)
    speed.plain_forward(tiny, [pixels, pixels[..., :48]], "float32")()
    tower = copy.deepcopy(tiny.model.visual)
    tower.positional_embedding.data.zero_()
    torch.testing.assert_close(results[0], tower(pixels))
    assert results[1].shape == results[0].shape


def test_a_case_that_is_measured_alone_leaves_the_others_in_the_file(
    tiny: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cases stay in their order, and each says at which commit and with which versions it was measured."""
    monkeypatch.setattr(Backbone, "random", lambda *_: tiny)
    monkeypatch.setattr(speed, "measure", lambda name, *_: {**ROW, "case": name})
    monkeypatch.setattr(speed, "_in_fresh_process", lambda *_: 1.0)
    file = tmp_path / "speed.json"
    for cases in (["12mp-5", "voc21-like"], ["ade20k-like"], ["voc21-like"]):
        arguments = [part for case in cases for part in ("--case", case)]
        monkeypatch.setattr(sys, "argv", ["speed", str(file), "--rounds", str(len(cases)), *arguments])
        speed.main()
    content = json.loads(file.read_text())
    assert [(row["case"], row["rounds"]) for row in content["cases"]] == [("voc21-like", 1), ("ade20k-like", 1), ("12mp-5", 2)]
    assert {row["commit"] for row in content["cases"]} == {content["commit"]}
    assert all(row["versions"] == content["versions"] for row in content["cases"])
    assert len(speed.table(content["cases"]).splitlines()) == 2 + 3


@pytest.mark.parametrize("name", CASES)
def test_each_case_has_the_settings_of_its_benchmark(name: str) -> None:
    case = CASES[name]
    config = case.config
    parts = config.rcs is not None, config.sfr is not None, config.pamr is not None
    assert parts == {"fast": (True, False, False), "sharp": (False, False, True)}.get(name.split("-")[-1], (True, True, False))
    assert case.photo_hw == (3000, 4000) if name.startswith("12mp") else max(case.photo_hw) < 2049
    named = [int(part) for part in name.split("-") if part.isdecimal()]
    assert named in ([], [len(case.vocabulary.flat_phrases)])
    assert config.short_side_px == (560 if name.startswith("cityscapes") else 336)
    assert case.image.shape == (3, *case.image_hw) and case.image.dtype == torch.uint8
