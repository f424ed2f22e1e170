"""Vocabularies saved by name in FiftyOne's database; all datasets share them."""

from __future__ import annotations

from fiftyone.operators.store import ExecutionStore

from fiftyone_resclip.errors import VocabularyError, unknown
from fiftyone_resclip.vocabulary import Vocabulary

_STORE = "fiftyone-resclip.vocabularies"


def save(name: str, vocabulary: Vocabulary) -> None:
    """Saves a vocabulary; replaces an earlier one of the same name.

    Args:
        name: the name for the vocabulary
        vocabulary: the classes

    Raises:
        VocabularyError: if the name is blank
    """
    if not name.strip():
        raise VocabularyError("a saved vocabulary needs a name, but the name is empty")
    _store().set(name.strip(), {"classes": vocabulary.to_text(), "background": vocabulary.background})


def load(name: str) -> Vocabulary:
    """Loads a saved vocabulary.

    Args:
        name: the name it was saved under

    Returns:
        the vocabulary

    Raises:
        VocabularyError: if there is no such vocabulary; the message suggests the nearest name
    """
    saved = _store().get(name)
    if saved is None:
        raise VocabularyError(unknown("saved vocabulary", name, names()))
    return Vocabulary.parse(saved["classes"], saved["background"])


def names() -> list[str]:
    """Lists the names of the saved vocabularies, sorted."""
    return sorted(_store().list_keys())


def delete(name: str) -> None:
    """Deletes a saved vocabulary; does nothing if it does not exist."""
    _store().delete(name)


def _store() -> ExecutionStore:
    return ExecutionStore.create(_STORE)
