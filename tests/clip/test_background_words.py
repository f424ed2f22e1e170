"""Background words that are chosen by their text features."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from fiftyone_resclip.clip import background_words
from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.clip.background_words import MOST_WORDS, TOO_SIMILAR, lexicon, spread, with_chosen_background
from fiftyone_resclip.errors import VocabularyError
from fiftyone_resclip.model import load_model
from fiftyone_resclip.vocabulary import Vocabulary


def test_every_word_of_the_lexicon_has_a_known_source() -> None:
    path = Path(background_words.__file__).parent / "background_lexicon.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    assert all(set(sources) <= set(content["sources"]) and sources for sources in content["words"].values())
    assert len(lexicon()) == len({word.casefold() for word in lexicon()}) > 2 * MOST_WORDS


def test_words_that_would_take_pixels_from_a_class_are_never_chosen(tiny: Backbone) -> None:
    words = Vocabulary.parse({"snow": ["snow"], "road": ["gravel", "asphalt"]})
    found = with_chosen_background(tiny, words)
    assert found.class_names == ("snow", "road", "background") and found.background == "background"
    chosen = found.phrases[-1]
    assert 1 <= len(chosen) <= MOST_WORDS and set(chosen) <= set(lexicon())
    similar = tiny.encode_text(chosen) @ tiny.encode_text(words.flat_phrases).T
    assert float(similar.max()) < TOO_SIMILAR


def test_chosen_members_cover_the_others_and_the_best_comes_first() -> None:
    groups = torch.tensor([0, 0, 0, 1, 1, 2])
    similarity = (groups[:, None] == groups[None, :]).float()
    assert [int(groups[number]) for number in spread(similarity, 3)] == [0, 1, 2]
    assert sorted(spread(similarity, 99)) == list(range(6))


def test_a_model_chooses_its_background_words_by_itself() -> None:
    model = load_model("resclip-tiny", ["red cloth"], background="auto", device="cpu")
    assert model.segmenter.vocabulary.background == "background"
    assert model.mask_targets == {1: "red cloth", 2: "background"}
    named = load_model("resclip-tiny", ["red cloth", "auto"], background="auto", device="cpu")
    assert named.segmenter.vocabulary.class_names == ("red cloth", "auto")
    with pytest.raises(VocabularyError, match="each class must occur once, but 'background' is there twice"):
        load_model("resclip-tiny", ["red cloth", "background"], background="auto", device="cpu")
