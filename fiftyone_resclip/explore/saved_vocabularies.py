"""Vocabularies saved by name in FiftyOne's database; all datasets share them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from fiftyone.operators.store import ExecutionStore

from fiftyone_resclip.errors import VocabularyError, unknown
from fiftyone_resclip.fields.names import checked
from fiftyone_resclip.vocabulary import Vocabulary

_STORE = "fiftyone-resclip.vocabularies"
_KIND = "saved vocabulary"


def save(name: str, vocabulary: Vocabulary) -> None:
    """Saves a vocabulary; replaces an earlier one of the same name.

    Args:
        name: the name for the vocabulary
        vocabulary: the classes

    Raises:
        VocabularyError: if the name is blank or not text
    """
    _store().set(checked(name, _KIND, VocabularyError).strip(), asdict(vocabulary))


def load(name: str) -> Vocabulary:
    """Loads a saved vocabulary.

    Args:
        name: the name it was saved under

    Returns:
        the vocabulary, exactly as it was saved

    Raises:
        VocabularyError: if the name is blank or not text, the stored entry is damaged, or there is no such vocabulary; then the
            message suggests the nearest name
    """
    saved = _store().get(checked(name, _KIND, VocabularyError).strip())
    if saved is None:
        raise VocabularyError(unknown(_KIND, name, names()))
    try:
        return _restored(saved)
    except (KeyError, TypeError, AttributeError, VocabularyError) as error:
        raise VocabularyError(f"{_KIND} {name!r} must hold classes, but its entry is damaged; save it again") from error


def names() -> list[str]:
    """Lists the names of the saved vocabularies, sorted."""
    return sorted(_store().list_keys())


def delete(name: str) -> None:
    """Deletes a saved vocabulary; does nothing if it does not exist.

    Raises:
        VocabularyError: if the name is blank or not text
    """
    _store().delete(checked(name, _KIND, VocabularyError).strip())


def _restored(saved: Mapping[str, Any]) -> Vocabulary:
    if "classes" in saved:  # version 0.1.0 saved a text without backslashes
        return Vocabulary.from_text(saved["classes"].replace("\\", "\\\\").replace(";", "\\;"), saved["background"])
    return Vocabulary(tuple(saved["class_names"]), tuple(map(tuple, saved["phrases"])), saved["background"])


def _store() -> ExecutionStore:
    return ExecutionStore.create(_STORE)
