"""Lessons: files without code that give back exactly what was saved, or say that they can't."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import fiftyone_resclip as resclip
from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.clip.identity import identity
from fiftyone_resclip.core.teaching import Taught
from fiftyone_resclip.core.text import Correction
from fiftyone_resclip.errors import ConfigError, DatasetError, StorageError
from fiftyone_resclip.presets import TINY


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FIFTYONE_RESCLIP_LESSONS", str(tmp_path / "lessons"))
    return tmp_path / "lessons"


@pytest.fixture
def taught(tiny: Backbone) -> Taught:
    draw = torch.Generator().manual_seed(1)
    weights = torch.randn(2, tiny.feature_width, generator=draw)
    return Taught(
        class_names=("snow", "red cloth"),
        correction=Correction(weights / 10, torch.tensor([0.1, -0.1])),
        strength=1.0,
        scores={0.0: 0.4, 1.0: 0.5},
        examples={"snow": 2, "red cloth": 1},
        sample_ids=("a", "b"),
        unlabelled=7,
        unknown=("cat",),
        skipped={"/x.png": "is void"},
        weights=identity(tiny),
        settings=TINY.last_block,
    )


def test_a_lesson_comes_back_as_it_was_saved(folder: Path, taught: Taught) -> None:
    for name in ("snow and cloth", "../../esc", "Snow"):
        assert resclip.save_lesson(name, taught).parent == folder
    assert resclip.list_lessons() == ["../../esc", "Snow", "snow and cloth"]
    found = resclip.load_lesson("snow and cloth")
    assert torch.equal(found.correction.weights, taught.correction.weights)
    assert found.to_json() == taught.to_json() and str(found) == str(taught)
    resclip.delete_lesson("Snow")
    resclip.delete_lesson("Snow")
    assert resclip.list_lessons() == ["../../esc", "snow and cloth"]


def test_classes_are_matched_by_name_and_others_keep_their_words(taught: Taught) -> None:
    model = resclip.load_model("resclip-tiny", ["gravel", "red cloth"], device="cpu", taught=taught)
    words = model.segmenter.words
    assert torch.equal(words.features[0], model.segmenter.text_features[0]) and words.bias[0] == 0
    torch.testing.assert_close(words.features[1], model.segmenter.text_features[1] + taught.correction.weights[1])
    assert model.taught is taught


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        ({"weights": "other"}, {}, "examples taught a model with other weights"),
        (
            {},
            {"strategy": "sclip"},
            "other settings of the last block, on which features depend: strategy 'sclip' instead of 'naclip'",
        ),
        ({}, {"rcs": None}, "other settings of the last block, on which features depend: rcs None instead of"),
    ],
)
def test_another_model_or_another_last_block_refuses_a_lesson(
    taught: Taught, change: dict[str, Any], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        resclip.load_model("resclip-tiny", ["snow"], device="cpu", taught=replace(taught, **change), **settings)


def test_sfr_and_windows_may_differ_because_examples_teach_the_draft(taught: Taught) -> None:
    assert resclip.load_model("resclip-tiny", ["snow"], device="cpu", taught=taught, sfr=None, window=None).taught is taught


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text"])
def test_a_damaged_lesson_is_refused_and_not_listed(folder: Path, taught: Taught, damage: str) -> None:
    path = resclip.save_lesson("snow", taught)
    content = path.read_bytes()
    flipped = content[:-5] + bytes([content[-5] ^ 1]) + content[-4:]
    path.write_bytes({"cut": content[:-40], "flipped": flipped, "empty": b"", "text": b"hello"}[damage])
    with pytest.raises(DatasetError, match="lesson 'snow' must be the file that was saved, but is damaged"):
        resclip.load_lesson("snow")
    assert resclip.list_lessons() == []


def test_bad_names_and_folders_are_refused_in_a_sentence(
    folder: Path, taught: Taught, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match="lesson 'none' is unknown"):
        resclip.load_lesson("none")
    with pytest.raises(DatasetError, match="needs a name"):
        resclip.save_lesson(" ", taught)
    with pytest.raises(DatasetError, match="must be the `taught` of a model"):
        resclip.save_lesson("snow", None)  # type: ignore[arg-type]
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FIFTYONE_RESCLIP_LESSONS", str(tmp_path / "file"))
    with pytest.raises(StorageError, match="lesson 'snow' must be saved to"):
        resclip.save_lesson("snow", taught)
