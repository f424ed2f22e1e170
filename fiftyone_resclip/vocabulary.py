"""The user's classes in words: reads and checks names, synonyms and background words.

This module does not encode text; see :meth:`fiftyone_resclip.clip.backbone.Backbone.encode_text`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from fiftyone_resclip.errors import ConfigError, VocabularyError, unknown

Classes: TypeAlias = "Vocabulary | Mapping[str, Sequence[str] | str] | Sequence[str] | str | Path"

_PUBLISHED: Mapping[str, list[list[str]]] = json.loads((Path(__file__).parent / "phrases.json").read_text(encoding="utf-8"))

#: Words for what is not an object: the published background class of VOC and COCO-Object.
BACKGROUND_WORDS: tuple[str, ...] = tuple(_PUBLISHED["voc21"][0])

#: Ready-made lists of background words, by name.
BACKGROUNDS: Mapping[str, tuple[str, ...]] = {
    "26 words of VOC": BACKGROUND_WORDS,
    "just 'background'": ("background",),
    "ground and sky": ("ground", "floor", "wall", "sky"),
}


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
        if not self.class_names:
            raise VocabularyError("classes must name at least one class, but got none; pass classes=['road', 'sky', ...]")
        if len(self.phrases) != len(self.class_names):
            raise VocabularyError(f"each of the {len(self.class_names)} classes needs phrases, but got {len(self.phrases)} lists")
        _refuse_blank_and_repeated("class", self.class_names)
        for name, phrases in zip(self.class_names, self.phrases, strict=True):
            if not phrases:
                raise VocabularyError(f"class {name!r} must have at least one phrase, but got none")
            _refuse_blank_and_repeated(f"phrase of class {name!r}", phrases)
        if self.background is not None and self.background not in self.class_names:
            raise VocabularyError(f"background must be one of the classes, but got {self.background!r}")

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

    def with_background(self, words: Sequence[str], name: str = "background") -> Vocabulary:
        """Adds a background class, for pixels of no other class and for uncertain pixels.

        Args:
            words: its phrases; words that another class already has are skipped
            name ("background"): its name

        Returns:
            the vocabulary with the background class last

        Raises:
            VocabularyError: if a class has that name already, or no words remain
        """
        left = tuple(word for word in words if word not in self.flat_phrases)
        return Vocabulary((*self.class_names, name), (*self.phrases, left), name)

    def to_text(self) -> str:
        """Returns the classes as text, one per line; :meth:`parse` reads them back, except which class is the background."""
        pairs = zip(self.class_names, self.phrases, strict=True)
        return "\n".join(name if words == (name,) else f"{name}: {', '.join(words)}" for name, words in pairs)

    @classmethod
    def parse(cls, classes: Classes, background: str | None = None) -> Vocabulary:
        """Reads classes in any of the forms that users may pass.

        Args:
            classes: a list of names; a mapping of names to phrases; the path of a text file; a text; or a vocabulary.
                Text has one class per line, or several separated by commas; ``car: car, sedan, taxi`` gives synonyms and ``#``
                starts a comment
            background (None): the class that uncertain pixels get

        Returns:
            the vocabulary

        Raises:
            VocabularyError: if a class or phrase is blank or repeated, if there are no classes, or if the file can't be read
        """
        if isinstance(classes, Vocabulary):
            return classes if background is None else replace(classes, background=background)
        if isinstance(classes, Path) or (isinstance(classes, str) and classes.strip().endswith(".txt")):
            classes = _read(Path(classes))
        if isinstance(classes, str):
            return cls._from_pairs(_parse_text(classes), background)
        if isinstance(classes, Mapping):
            pairs = [(name, [phrases] if isinstance(phrases, str) else list(phrases)) for name, phrases in classes.items()]
            return cls._from_pairs(pairs, background)
        if not isinstance(classes, Iterable):
            raise VocabularyError(f"classes must be names, a mapping or a text file, but got {type(classes).__name__}")
        return cls._from_pairs([(name, [name]) for name in classes], background)

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
        if name not in _PUBLISHED:
            raise ConfigError(unknown("vocabulary", name, _PUBLISHED))
        phrases = tuple(tuple(words) for words in _PUBLISHED[name])
        names = tuple("background" if words == BACKGROUND_WORDS else words[0] for words in phrases)
        return cls(names, phrases, "background" if names[0] == "background" else None)

    @classmethod
    def _from_pairs(cls, pairs: Sequence[tuple[str, Sequence[str]]], background: str | None) -> Vocabulary:
        for text in (t for name, phrases in pairs for t in (name, *phrases)):
            if not isinstance(text, str):
                raise VocabularyError(f"classes and phrases must be text, but got {text!r} ({type(text).__name__})")
        names = tuple(name.strip() for name, _ in pairs)
        phrases = tuple(tuple(phrase.strip() for phrase in phrases) for _, phrases in pairs)
        return cls(names, phrases, background)


def _read(path: Path) -> str:
    try:
        return path.expanduser().read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise VocabularyError(f"class file {str(path)!r} must be a readable UTF-8 text file, but: {error}") from error


def _parse_text(text: str) -> list[tuple[str, list[str]]]:
    pairs: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        content = line.split("#", 1)[0].strip()
        if not content:
            continue
        name, colon, synonyms = content.partition(":")
        if colon:
            pairs.append((name, synonyms.split(",")))
        else:
            pairs.extend((part, [part]) for part in content.split(","))
    return pairs


def _refuse_blank_and_repeated(kind: str, texts: Sequence[str]) -> None:
    seen: set[str] = set()
    for text in texts:
        if not text.strip():
            raise VocabularyError(f"each {kind} must not be blank, but got {text!r} in {list(texts)}")
        if text in seen:
            raise VocabularyError(f"each {kind} must occur once, but {text!r} is there twice; remove one")
        seen.add(text)
