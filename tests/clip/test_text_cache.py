from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.clip.text_cache import text_features

PHRASES = ["snow", "red cloth", "snow"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FIFTYONE_RESCLIP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "text"


@pytest.fixture
def encoded(tiny: Backbone, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What was really encoded, call by call."""
    calls: list[list[str]] = []
    original = tiny.encode_text
    monkeypatch.setattr(tiny, "encode_text", lambda phrases: (calls.append(list(phrases)), original(phrases))[1])
    return calls


def test_a_phrase_is_encoded_once(tiny: Backbone, folder: Path, encoded: list[list[str]]) -> None:
    first = text_features(tiny, PHRASES)
    torch.testing.assert_close(first, tiny.encode_text(PHRASES))
    encoded.clear()
    assert torch.equal(text_features(tiny, PHRASES), first)
    assert encoded == []
    assert torch.equal(text_features(tiny, ["gravel", "snow"])[1], first[0])
    assert encoded == [["gravel"]]
    assert len(list(folder.rglob("*.feature"))) == 3
    assert list(folder.rglob("*.partial")) == []


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY nonsense", b"no array at all"])
def test_a_broken_file_is_encoded_again(content: bytes, tiny: Backbone, folder: Path, encoded: list[list[str]]) -> None:
    first = text_features(tiny, PHRASES)
    for path in folder.rglob("*.feature"):
        path.write_bytes(content)
    encoded.clear()
    assert torch.equal(text_features(tiny, PHRASES), first)
    assert encoded == [["snow", "red cloth"]]


def test_other_weights_have_features_of_their_own(tiny: Backbone, folder: Path) -> None:
    other = Backbone.load("resclip-tiny", device="cpu")
    other.model.ln_final.weight.data.mul_(-1)
    assert not torch.allclose(text_features(tiny, ["snow"]), text_features(other, ["snow"]))
    assert len(list(folder.iterdir())) == 2


def test_equal_weights_with_another_activation_have_features_of_their_own(tiny: Backbone, folder: Path) -> None:
    other = Backbone.load("resclip-tiny", device="cpu")
    for block in other.model.transformer.resblocks:
        block.mlp.gelu = nn.Tanh()
    assert not torch.allclose(text_features(tiny, ["snow"]), text_features(other, ["snow"]))


def test_equal_weights_with_other_heads_have_features_of_their_own(tiny: Backbone, folder: Path) -> None:
    other = Backbone.load("resclip-tiny", device="cpu")
    for block in other.model.transformer.resblocks:
        block.attn.num_heads = 1
    assert not torch.allclose(text_features(tiny, ["snow"]), text_features(other, ["snow"]))


def test_a_folder_that_can_not_be_written_costs_time_only(
    tiny: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    expected = tiny.encode_text(PHRASES)
    for place in (str(tmp_path / "file"), ""):
        monkeypatch.setenv("FIFTYONE_RESCLIP_CACHE", place)
        torch.testing.assert_close(text_features(tiny, PHRASES), expected)
    assert (tmp_path / "file").read_text() == "in the way"
