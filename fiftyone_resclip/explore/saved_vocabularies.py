"""Vocabularies saved by name: kept in FiftyOne's database, shared by all datasets."""

from __future__ import annotations

from fiftyone.operators.store import ExecutionStore

from fiftyone_resclip.errors import VocabularyError, unknown
from fiftyone_resclip.vocabulary import Vocabulary

_STORE = "fiftyone-resclip.vocabularies"


def save(name: str, vocabulary: Vocabulary) -> None:
    """Saves a vocabulary; one of the same name is replaced.

    Args:
        name: what to call it
        vocabulary: the classes

    Raises:
        VocabularyError: if the name is blank
    """
    if not name.strip():
        raise VocabularyError("a saved vocabulary needs a name, but got none")
    _store().set(name.strip(), {"classes": vocabulary.to_text(), "background": vocabulary.background})


def load(name: str) -> Vocabulary:
    """Gives a saved vocabulary.

    Args:
        name: as it was saved

    Returns:
        the vocabulary

    Raises:
        VocabularyError: if there is none of that name; the nearest one is offered
    """
    saved = _store().get(name)
    if saved is None:
        raise VocabularyError(unknown("saved vocabulary", name, names()))
    return Vocabulary.parse(saved["classes"], saved["background"])


def names() -> list[str]:
    """Lists the saved vocabularies by name."""
    return sorted(_store().list_keys())


def delete(name: str) -> None:
    """Forgets a saved vocabulary; one that is not there is no error."""
    _store().delete(name)


def _store() -> ExecutionStore:
    return ExecutionStore.create(_STORE)
