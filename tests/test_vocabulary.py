from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiftyone_resclip.errors import ConfigError, VocabularyError
from fiftyone_resclip.vocabulary import BACKGROUND_WORDS, Vocabulary, split_words


@pytest.mark.parametrize(
    ("classes", "names", "phrases"),
    [
        (["road", " sky "], ("road", "sky"), (("road",), ("sky",))),
        ({"car": ["car", "taxi"], "sky": "sky"}, ("car", "sky"), (("car", "taxi"), ("sky",))),
        ("road, sky", ("road", "sky"), (("road",), ("sky",))),
        ("road\nnotes.txt", ("road", "notes.txt"), (("road",), ("notes.txt",))),
        ("car: car, taxi\n\n# a note\nsky # above\n", ("car", "sky"), (("car", "taxi"), ("sky",))),
    ],
)
def test_classes_come_in_many_forms(classes: Any, names: tuple[str, ...], phrases: tuple[tuple[str, ...], ...]) -> None:
    vocabulary = Vocabulary.parse(classes)
    assert vocabulary == Vocabulary(names, phrases)
    assert Vocabulary.parse(vocabulary) is vocabulary


@pytest.mark.parametrize("as_text", [False, True])
def test_a_file_reads_like_its_text(tmp_path: Path, as_text: bool) -> None:
    path = tmp_path / "classes.txt"
    path.write_text("\ufeffcar: car, taxi\nEverything else\n", encoding="utf-8")
    vocabulary = Vocabulary.parse(str(path) if as_text else path)
    assert vocabulary == Vocabulary(("car", "Everything else"), (("car", "taxi"), ("Everything else",)))


def test_phrases_are_numbered_class_after_class() -> None:
    vocabulary = Vocabulary.parse({"background": BACKGROUND_WORDS, "car": ["car", "taxi"]}, background="background")
    assert vocabulary.flat_phrases == (*BACKGROUND_WORDS, "car", "taxi")
    assert vocabulary.phrase_classes == (0,) * 26 + (1, 1)
    assert vocabulary.fallback == 0
    assert Vocabulary.parse(["car"]).fallback == -1


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([], "at least one class, but got none"),
        ("", "at least one class, but got none"),
        ("# only a note", "at least one class, but got none"),
        (["road", " "], "each class must not be blank"),
        ("road,,sky", "each class must not be blank"),
        (["road", "road"], "'road' is there twice"),
        ({"car": []}, "class 'car' must have at least one phrase"),
        ({"car": ["taxi", "taxi"]}, "each phrase of class 'car' must occur once"),
        ({"car": [""]}, "each phrase of class 'car' must not be blank"),
        (["road", 3], "must be text, but got 3"),
        ({"road": 3}, "must be text, but got 3"),
        (["a\udcff"], "each class must be valid Unicode"),
        (7, "classes must be names, a mapping or a text file, but got int"),
        (Path("nowhere.txt"), "class file 'nowhere.txt' must be a readable"),
    ],
)
def test_bad_classes_are_refused(classes: Any, message: str) -> None:
    with pytest.raises(VocabularyError, match=message):
        Vocabulary.parse(classes)


@pytest.mark.parametrize(
    ("name", "classes", "phrases", "background"),
    [
        ("voc21", 21, 56, "background"),
        ("voc20", 20, 30, None),
        ("context60", 60, 60, "background"),
        ("context59", 59, 59, None),
        ("coco_object", 81, 113, "background"),
        ("coco_stuff", 171, 171, None),
        ("ade20k", 150, 150, None),
        ("cityscapes", 19, 19, None),
    ],
)
def test_benchmarks_come_with_the_published_phrases(name: str, classes: int, phrases: int, background: str | None) -> None:
    vocabulary = Vocabulary.preset(name)
    assert (len(vocabulary.class_names), len(vocabulary.flat_phrases), vocabulary.background) == (classes, phrases, background)
    assert vocabulary.fallback in (0, -1)


def test_a_class_is_called_by_its_first_phrase() -> None:
    voc = Vocabulary.preset("voc21")
    assert voc.class_names[0] == "background" and voc.phrases[0] == BACKGROUND_WORDS
    assert voc.class_names[15] == "person" and "person in shirt" in voc.phrases[15]
    with pytest.raises(ConfigError, match="vocabulary 'ade' is unknown; did you mean 'ade20k'?"):
        Vocabulary.preset("ade")


def test_a_background_must_be_a_class() -> None:
    words = Vocabulary.parse(["car", "road"])
    assert Vocabulary.parse(words, background="road").background == "road"
    for classes in (["car"], words):
        with pytest.raises(VocabularyError, match="background must be one of the classes, but got 'sky'"):
            Vocabulary.parse(classes, background="sky")


WORDS = st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from("\\,:# \r\n\u2028")), min_size=1).filter(str.strip)


@given(st.dictionaries(WORDS, st.lists(WORDS, min_size=1, unique=True), min_size=1))
def test_text_reads_back_whatever_the_names(phrases: dict[str, list[str]]) -> None:
    words = Vocabulary(tuple(phrases), tuple(map(tuple, phrases.values())))
    assert Vocabulary.from_text(words.to_text()) == words


def test_text_has_no_backslash_without_need() -> None:
    text = "car: car, sedan, taxi\nroad\nC\\# book\ncar\\, red: 5\\:3, a\\\\b"
    words = Vocabulary.parse(text)
    assert words.class_names == ("car", "road", "C# book", "car, red") and words.phrases[-1] == ("5:3", "a\\b")
    assert words.to_text() == text
    assert Vocabulary.parse("a\\b").class_names == ("a\\b",)


def test_words_are_split_at_commas_without_a_backslash() -> None:
    assert split_words("wall, car\\, red,floor") == ["wall", "car, red", "floor"]


def test_a_background_class_takes_words_that_no_class_has() -> None:
    words = Vocabulary.parse("sky, car").with_background(["sky", "wall"])
    assert (words.class_names, words.phrases[-1], words.background) == (("sky", "car", "background"), ("wall",), "background")
    with pytest.raises(VocabularyError, match="'background' is there twice"):
        words.with_background(["floor"])
    with pytest.raises(VocabularyError, match="class 'background' must have at least one phrase"):
        Vocabulary.parse("sky").with_background(["sky"])
