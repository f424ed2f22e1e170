"""The user's classes in words: reads and checks names, synonyms and background words.

This module does not encode text; see :meth:`fiftyone_resclip.clip.backbone.Backbone.encode_text`.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, KeysView, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeAlias

from fiftyone_resclip.checks import check_known
from fiftyone_resclip.errors import VocabularyError
from fiftyone_resclip.text_files import read_text

logger = logging.getLogger(__name__)

Classes: TypeAlias = "Vocabulary | Mapping[str, Sequence[str] | str] | Sequence[str] | str | Path"

#: Phrases of each class of the published benchmarks, by name.
PUBLISHED: Mapping[str, list[list[str]]] = json.loads((Path(__file__).parent / "phrases.json").read_text(encoding="utf-8"))

#: Words for what is not an object: the published background class of VOC and COCO-Object.
BACKGROUND_WORDS: tuple[str, ...] = tuple(PUBLISHED["voc21"][0])

#: Ready-made lists of background words, by name.
BACKGROUNDS: Mapping[str, tuple[str, ...]] = {
    "26 words of VOC": BACKGROUND_WORDS,
    "just 'background'": ("background",),
    "ground and sky": ("ground", "floor", "wall", "sky"),
}

_LINE_ENDS = "\r\n\v\f\x1c\x1d\x1e\x85\u2028\u2029"

#: A character of a text, a line end, or a backslash and the sign that it makes an ordinary one.
_PIECE = re.compile(r"\\[^\w]|\r\n|.", re.DOTALL)
#: What starts a line of a list: a dash, star, dot or number, and a space.
_BULLET = re.compile(r"\s*(?:[-*•]|\d+[.)])\s+")
_NEEDS_BACKSLASH = re.compile(rf"[\\,:#;{_LINE_ENDS}]|\A\s|\s\Z|\A[\[{{]|\A[-*•](?=\s)|(?<=\d)[.)](?=\s)")
#: Files with classes are read only if they are plain text; these are not, or have a grammar of their own.
_OTHER_FILES = {".csv", ".tsv", ".json", ".jsonl", ".yaml", ".yml", ".xml", ".xls", ".xlsx", ".md", ".pdf"}


class _Entry(NamedTuple):
    """A class as it stands in a text; lines are counted from 1."""

    line: int
    name: str
    phrases: list[str]


@dataclass(frozen=True)
class Vocabulary:
    """Classes, each with the phrases that stand for it.

    Attributes:
        class_names: ``C`` different names, in order
        phrases: the phrases of each class, at least one per class
        background: the class that uncertain pixels get; ``None`` leaves them unlabelled
    """

    class_names: tuple[str, ...]
    phrases: tuple[tuple[str, ...], ...]
    background: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_names", _as_tuple(self.class_names))
        object.__setattr__(self, "phrases", tuple(map(_as_tuple, self.phrases)))
        if not self.class_names:
            raise VocabularyError("classes must name at least one class, such as 'road, sky', but got none")
        if len(self.phrases) != len(self.class_names):
            raise VocabularyError(f"each of the {len(self.class_names)} classes needs phrases, but got {len(self.phrases)} lists")
        _refuse_blank_and_repeated("class", self.class_names)
        for name, phrases in zip(self.class_names, self.phrases, strict=True):
            if not phrases:
                raise VocabularyError(f"class {name!r} must have at least one phrase, but got none")
            _refuse_blank_and_repeated(f"phrase of class {name!r}", phrases)
        if self.background is not None and self.background not in self.class_names:
            raise VocabularyError(f"background must be one of the classes, but got {self.background!r}; add it to the classes")

    @property
    def flat_phrases(self) -> tuple[str, ...]:
        """All ``Q`` phrases, class by class."""
        return tuple(phrase for phrases in self.phrases for phrase in phrases)

    @property
    def phrase_classes(self) -> tuple[int, ...]:
        """The class index of each of the ``Q`` phrases."""
        return tuple(index for index, phrases in enumerate(self.phrases) for _ in phrases)

    @property
    def fallback(self) -> int:
        """The class index that uncertain pixels get: the background class, or -1 for unlabelled."""
        return -1 if self.background is None else self.class_names.index(self.background)

    def with_background(self, words: Sequence[str] | str, name: str = "background") -> Vocabulary:
        """Adds a background class, for pixels of no other class and for uncertain pixels.

        Args:
            words: its phrases, a list or a text with commas; words that another class already has are skipped
            name ("background"): its name

        Returns:
            the vocabulary with the background class last

        Raises:
            VocabularyError: if a class has that name already, or no words remain
        """
        heard = set(map(_heard, self.flat_phrases))
        left = tuple(word for word in _phrases(words) if _heard(word) not in heard)
        return Vocabulary((*self.class_names, name), (*self.phrases, left), name)

    def without(self, name: str) -> Vocabulary:
        """Returns the vocabulary without a class; without its background class, uncertain pixels stay unlabelled."""
        left = {known: words for known, words in zip(self.class_names, self.phrases, strict=True) if known != name}
        return Vocabulary(tuple(left), tuple(left.values()), None if self.background == name else self.background)

    def extended(self, other: Vocabulary) -> Vocabulary:
        """Adds the classes of another vocabulary, and its phrases for classes that both have.

        Args:
            other: phrases that this vocabulary has already, in whatever class, are not added

        Returns:
            the vocabulary; the new classes are last, and the background is this one's if it has one
        """
        known, words = set(self.flat_phrases), dict(zip(self.class_names, self.phrases, strict=True))
        for name, phrases in zip(other.class_names, other.phrases, strict=True):
            new = tuple(phrase for phrase in phrases if phrase not in known)
            if new:
                words[name] = (*words.get(name, ()), *new)
        background = self.background or (other.background if other.background in words else None)
        return Vocabulary(tuple(words), tuple(words.values()), background)

    def to_text(self) -> str:
        """Returns the classes as text, one per line, with a backslash before each comma, colon and ``#`` of a name.

        :meth:`from_text` reads back the same classes and phrases; which class is the background is not in the text.
        """
        pairs = zip(self.class_names, self.phrases, strict=True)
        return "\n".join(
            _escaped(name) if words == (name,) else f"{_escaped(name)}: {', '.join(map(_escaped, words))}"
            for name, words in pairs
        )

    @classmethod
    def from_text(cls, text: str, background: str | None = None) -> Vocabulary:
        """Reads classes from text.

        Args:
            text: one class per line, or several separated by commas; ``car: car, sedan, taxi`` gives synonyms, ``#`` starts a
                comment, and lines may start with ``-``, ``*`` or a number, as in a list. A backslash before a sign makes it part
                of the name
            background (None): the class that uncertain pixels get

        Returns:
            the vocabulary

        Raises:
            VocabularyError: if a class or phrase is blank or repeated, two classes share a phrase, there are no classes, or the
                text has semicolons or is JSON
        """
        if not isinstance(text, str):
            raise VocabularyError(f"classes must be text, but got {type(text).__name__}")
        return cls._from_entries(_entries(text), background)

    @classmethod
    def parse(cls, classes: Classes, background: str | None = None) -> Vocabulary:
        """Reads classes in any of the forms that users may pass.

        Args:
            classes: a list of names; a mapping of names to phrases, each a list or a text with commas; a text as in
                :meth:`from_text`; the path of a file with such a text, as a ``Path`` or as one line that ends in ``.txt`` or
                starts like a path; or a vocabulary
            background (None): the class that uncertain pixels get

        Returns:
            the vocabulary

        Raises:
            VocabularyError: if a class or phrase is blank or repeated, two classes share a phrase, there are no classes, they
                have no order, or the file can't be read; for a file, the message gives the line but never quotes it
        """
        if isinstance(classes, Vocabulary):
            return classes if background is None else replace(classes, background=background)
        if isinstance(classes, Path) or (isinstance(classes, str) and _is_path(classes)):
            return cls._from_entries(_entries_of_file(Path(str(classes).strip())), background)
        if isinstance(classes, str):
            return cls.from_text(classes, background)
        if isinstance(classes, Mapping):
            names = _in_order("classes", list(classes))
            return cls._from_pairs([(name, _phrases(classes[name], f"phrases of {name!r}")) for name in names], background)
        names = _in_order("classes", classes)
        joined = [name for name in names if "," in name or ":" in name]
        if joined:
            logger.warning("%r is read as one name; for several or for synonyms, pass one text, or {'car': ['sedan']}", joined[0])
        return cls._from_pairs([(name, [name]) for name in names], background)

    @classmethod
    def preset(cls, name: str) -> Vocabulary:
        """Returns the classes of a benchmark with the phrases behind the published numbers.

        Args:
            name: a published preset, such as ``"voc21"``

        Returns:
            the vocabulary; the name of a class is its first phrase, except that the class of background words is ``"background"``

        Raises:
            ConfigError: if there is no such benchmark; the message suggests the nearest name
        """
        check_known("vocabulary", name, PUBLISHED)
        phrases = tuple(tuple(words) for words in PUBLISHED[name])
        names = tuple("background" if words == BACKGROUND_WORDS else words[0] for words in phrases)
        return cls(names, phrases, "background" if names[0] == "background" else None)

    @classmethod
    def _from_pairs(cls, pairs: Sequence[tuple[str, Sequence[str]]], background: str | None) -> Vocabulary:
        names = tuple(name.strip() for name, _ in pairs)
        phrases = tuple(tuple(phrase.strip() for phrase in phrases) for _, phrases in pairs)
        return cls(names, phrases, background)._without_shared_phrases()

    @classmethod
    def _from_entries(cls, entries: Sequence[_Entry], background: str | None) -> Vocabulary:
        names = tuple(entry.name for entry in entries)
        return cls(names, tuple(tuple(entry.phrases) for entry in entries), background)._without_shared_phrases()

    def _without_shared_phrases(self) -> Vocabulary:
        """Refuses a phrase of two classes, of which the second would never win. A published list of words has one: "bed"."""
        owners: dict[str, str] = {}
        for name, phrases in zip(self.class_names, self.phrases, strict=True):
            for phrase in phrases:
                owner = owners.setdefault(_heard(phrase), name)
                if owner != name:
                    raise VocabularyError(
                        f"a phrase must belong to one class, but {phrase!r} belongs to {owner!r} and {name!r} (CLIP ignores "
                        "capitals); remove one"
                    )
        return self


def split_words(text: str) -> list[str]:
    """Splits a line of words at its commas.

    Args:
        text: words separated by commas, as in :meth:`Vocabulary.from_text`

    Returns:
        the words, without outer spaces; an empty text gives one empty word
    """
    return [_joined(part) for part in _split(_PIECE.findall(text), ",")]


def _as_tuple(texts: Iterable[str]) -> tuple[str, ...]:
    if isinstance(texts, str):
        raise VocabularyError("classes and their phrases must be tuples of text, but got text; use Vocabulary.parse")
    return tuple(texts)


def _phrases(phrases: object, kind: str = "phrases") -> list[str]:
    return split_words(phrases) if isinstance(phrases, str) else _in_order(kind, phrases)


def _in_order(kind: str, texts: object) -> list[str]:
    if isinstance(texts, Set) and not isinstance(texts, KeysView):
        raise VocabularyError(f"{kind} must have an order, but got a {type(texts).__name__}; pass a list")
    if not isinstance(texts, Iterable) or isinstance(texts, bytes):
        raise VocabularyError(f"{kind} must be a list, a text or a mapping, but got {texts!r} ({type(texts).__name__})")
    found = list(texts)
    for text in found:
        if not isinstance(text, str):
            raise VocabularyError(f"classes and phrases must be text, but got {text!r} ({type(text).__name__})")
    return found


def _heard(phrase: str) -> str:
    """Returns what CLIP's tokenizer makes of a phrase: it ignores capitals and the width of spaces."""
    return " ".join(phrase.lower().split())


def _is_path(text: str) -> bool:
    line = text.strip()
    is_line = len(line.splitlines()) == 1 and "," not in line
    return is_line and (Path(line).suffix.lower() in {".txt", *_OTHER_FILES} or line.startswith(("/", "./", "../", "~/")))


def _escaped(name: str) -> str:
    return _NEEDS_BACKSLASH.sub(lambda found: "\\" + found.group(), name)


def _entries(text: str, source: str = "the text of classes") -> list[_Entry]:
    if text.lstrip().startswith(("[", "{")):
        raise VocabularyError(f"{source} must have one class per line, such as 'car: car, sedan', but is JSON or Python")
    entries: list[_Entry] = []
    for number, line in enumerate(_split(_PIECE.findall(text), _LINE_ENDS), start=1):
        content = _without_bullet(line[: line.index("#")] if "#" in line else line)
        if not _joined(content):
            continue
        if ";" in content:
            raise VocabularyError(
                f"{source} must separate classes by commas or line ends, but line {number} has a semicolon; write a comma, or "
                "\\; if it belongs to a name"
            )
        if ":" in content:
            colon = content.index(":")
            phrases = [_joined(part) for part in _split(content[colon + 1 :], ",")]
            entries.append(_Entry(number, _joined(content[:colon]), phrases))
        else:
            entries.extend(_Entry(number, name, [name]) for name in map(_joined, _split(content, ",")))
    return entries


def _without_bullet(pieces: list[str]) -> list[str]:
    bullet = _BULLET.match("".join(pieces))  # a piece with a backslash is no bullet, so pieces are characters here
    return pieces[bullet.end() :] if bullet else pieces


def _split(pieces: Iterable[str], separators: str) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for piece in pieces:
        if piece in separators:
            parts.append([])
        else:
            parts[-1].append(piece)
    return parts


def _joined(pieces: Sequence[str]) -> str:
    """Joins pieces to a name, without outer spaces unless they have a backslash."""
    inside = [index for index, piece in enumerate(pieces) if not piece.isspace()]
    return "".join(piece[-1] for piece in pieces[inside[0] : inside[-1] + 1]) if inside else ""


def _entries_of_file(path: Path) -> list[_Entry]:
    """Reads the classes of a file.

    Its errors never quote a line: the App reads files of its server for users who may not be allowed to see them.
    """
    if path.suffix.lower() in _OTHER_FILES:
        raise VocabularyError(
            f"class file {str(path)!r} must be plain text with one class per line, such as 'car: car, sedan', but it ends in "
            f"{path.suffix}; save it as .txt"
        )
    try:
        text = read_text(path.expanduser())
    except ValueError as error:
        raise VocabularyError(f"class file {str(path)!r} must be a readable UTF-8 text file, but {error}") from error
    entries = _entries(text, f"class file {str(path)!r}")
    lines: dict[str, int] = {}
    owners: dict[str, int] = {}
    for line, name, phrases in entries:
        taken = [owners[_heard(phrase)] for phrase in phrases if _heard(phrase) in owners]
        fault = None
        if not (name.strip() and all(phrase.strip() for phrase in phrases)):
            fault = "has a blank class or phrase"
        elif len(set(phrases)) < len(phrases):
            fault = "has a phrase twice"
        elif name in lines:
            fault = f"repeats the class of line {lines[name]}"
        elif taken:
            fault = f"has a phrase of line {taken[0]}"
        if fault:
            raise VocabularyError(f"class file {str(path)!r} must have different classes and phrases, but line {line} {fault}")
        lines[name] = line
        owners |= dict.fromkeys(map(_heard, phrases), line)
    return entries


def _refuse_blank_and_repeated(kind: str, texts: Sequence[str]) -> None:
    seen: set[str] = set()
    for text in texts:
        if not text.strip():
            raise VocabularyError(f"each {kind} must not be blank, but got {text!r} in {list(texts)}")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise VocabularyError(f"each {kind} must be valid Unicode, but got {text!r}") from None
        if text in seen:
            raise VocabularyError(f"each {kind} must occur once, but {text!r} is there twice; remove one")
        seen.add(text)
