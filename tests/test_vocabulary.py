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
        ({"car": "car, sedan", "sky": "sky"}, ("car", "sky"), (("car", "sedan"), ("sky",))),
        ("- road\n- car: car, sedan", ("road", "car"), (("road",), ("car", "sedan"))),
        ("* road\n\u2022 sky", ("road", "sky"), (("road",), ("sky",))),
        ("1. road\n 2) sky", ("road", "sky"), (("road",), ("sky",))),
        ("road\\; wet, sky", ("road; wet", "sky"), (("road; wet",), ("sky",))),
        ({"sky": 1, "road": 2}.keys(), ("sky", "road"), (("sky",), ("road",))),
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
        ([], "at least one class, such as 'road, sky', but got none"),
        ("", "at least one class, such as 'road, sky', but got none"),
        ("# only a note", "at least one class, such as 'road, sky', but got none"),
        (["road", " "], "each class must not be blank"),
        ("road,,sky", "each class must not be blank"),
        (["road", "road"], "'road' is there twice"),
        ({"car": []}, "class 'car' must have at least one phrase"),
        ({"car": ["taxi", "taxi"]}, "each phrase of class 'car' must occur once"),
        ({"car": [""]}, "each phrase of class 'car' must not be blank"),
        (["road", 3], "must be text, but got 3"),
        ({"road": 3}, r"phrases of 'road' must be a list, a text or a mapping, but got 3 \(int\)"),
        (["a\udcff"], "each class must be valid Unicode"),
        (7, r"classes must be a list, a text or a mapping, but got 7 \(int\)"),
        (b"road", r"classes must be a list, a text or a mapping, but got b'road' \(bytes\)"),
        (None, "classes must be a list, a text or a mapping, but got None"),
        ({"road", "sky"}, "classes must have an order, but got a set; pass a list"),
        ({"car": frozenset({"car", "sedan"})}, "phrases of 'car' must have an order, but got a frozenset; pass a list"),
        ("road; sky", r"the text of classes must separate .* line 1 has a semicolon; write a comma, or \\; if it"),
        ("sky\nroad: road; street", "line 2 has a semicolon"),
        ('["road", "sky"]', "must have one class per line, such as 'car: car, sedan', but is JSON or Python"),
        ('{"car": ["car"]}', "but is JSON or Python"),
        ("words.csv", "class file 'words.csv' must be plain text .* but it ends in .csv; save it as .txt"),
        ("data/words.YAML", "but it ends in .YAML; save it as .txt"),
        (Path("words.json"), "but it ends in .json; save it as .txt"),
        ("/no/such/words", "class file '/no/such/words' must be a readable UTF-8 text file, but it does not exist"),
        ("~/nowhere", "class file '~/nowhere' must be a readable"),
        ({"car": ["car", "auto"], "vehicle": ["auto"]}, "'auto' belongs to 'car' and 'vehicle' .*; remove one"),
        (["Road", "road"], r"'road' belongs to 'Road' and 'road' \(CLIP ignores capitals\); remove one"),
        ("car: car, auto\nvehicle: Auto", "'Auto' belongs to 'car' and 'vehicle'"),
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


@pytest.mark.parametrize(
    ("words", "phrases"),
    [("sky", ("sky",)), ("sky, ground", ("sky", "ground")), (["sky", "Car", "car"], ("sky",)), (("ground",), ("ground",))],
)
def test_words_for_the_background_are_a_list_or_a_text(words: Any, phrases: tuple[str, ...]) -> None:
    assert Vocabulary.parse(["car"]).with_background(words).phrases == (("car",), phrases)


@pytest.mark.parametrize(
    ("words", "message"), [(3, "phrases must be a list"), (None, "phrases must be a list"), ({"a", "b"}, "must have an order")]
)
def test_other_words_for_the_background_are_refused(words: Any, message: str) -> None:
    with pytest.raises(VocabularyError, match=message):
        Vocabulary.parse(["car"]).with_background(words)


def test_a_vocabulary_is_made_of_tuples_of_text() -> None:
    lists: Any = (["car"], [["car", "auto"]])
    assert hash(Vocabulary(*lists)) == hash(Vocabulary(("car",), (("car", "auto"),)))
    for names, phrases in (("ab", (("a",), ("b",))), (("a", "b"), ("a", "b"))):
        with pytest.raises(VocabularyError, match="must be tuples of text, but got text; use Vocabulary.parse"):
            Vocabulary(names, phrases)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("secret; place", "line 1 has a semicolon"),
        ("[secret]", "must have one class per line, such as .* but is JSON or Python"),
        ("car: secret\nvan: Secret", "line 2 has a phrase of line 1"),
    ],
)
def test_an_error_about_a_file_names_its_line_and_never_quotes_it(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "words.txt"
    path.write_text(text)
    with pytest.raises(VocabularyError, match=fault) as caught:
        Vocabulary.parse(path)
    assert str(path) in str(caught.value) and "secret" not in str(caught.value).lower()


SIGNS = "\\,:#; \r\n\u2028-*1.)[{"
WORDS = st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from(SIGNS)), min_size=1).filter(str.strip)


@given(st.lists(WORDS, min_size=1, unique_by=lambda word: " ".join(word.lower().split())), st.integers(1, 3))
def test_text_reads_back_whatever_the_names(phrases: list[str], each: int) -> None:
    parts = [tuple(phrases[start : start + each]) for start in range(0, len(phrases), each)]
    words = Vocabulary(tuple(part[-1] for part in parts), tuple(parts))
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


def test_a_vocabulary_takes_the_new_words_of_another() -> None:
    old = Vocabulary.parse("car: car, taxi\nrest: wall", background="rest")
    new = Vocabulary.parse("sky\ncar: taxi, van\nbus: car\nground: snow", background="ground")
    both = old.extended(new)
    assert dict(zip(both.class_names, both.phrases, strict=True)) == {
        "car": ("car", "taxi", "van"), "rest": ("wall",), "sky": ("sky",), "ground": ("snow",),
    }  # fmt: skip
    assert both.background == "rest" and old.extended(old) == old
    assert both.without("rest").background is None and "rest" not in both.without("rest").class_names
    assert both.without("sky").background == "rest"
    assert Vocabulary.parse("car").extended(new).background == "ground"
