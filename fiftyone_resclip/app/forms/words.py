"""The part of a form that asks for the classes: typed or pasted, or from a file, a field, the dataset or a saved vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fiftyone.operators import types

from fiftyone_resclip.app import models
from fiftyone_resclip.app.messages import verbatim
from fiftyone_resclip.errors import VocabularyError, unknown
from fiftyone_resclip.evaluation.void import DEFAULT_VALUE
from fiftyone_resclip.explore import saved_vocabularies
from fiftyone_resclip.vocabulary import BACKGROUNDS, Vocabulary, split_words

_TYPED, _FILE, _FIELD, _DATASET, _SAVED = "typed", "file", "field", "dataset", "saved"
_NO_BACKGROUND, _OWN_BACKGROUND, _AUTO_BACKGROUND = "none", "own words", "auto"

#: The names of the inputs that :func:`read` uses.
NAMES = ("words_from", "classes", "class_file", "class_field", "vocabulary", "background", "background_words")

_SOURCES = {
    _TYPED: "typed or pasted here",
    _FILE: "a text file",
    _FIELD: "the classes of a field of masks",
    _DATASET: "the classes of the dataset",
    _SAVED: "a saved vocabulary",
}

_BACKGROUNDS = {
    _NO_BACKGROUND: "none: the classes cover the picture, so every pixel gets one of them",
    _AUTO_BACKGROUND: "words chosen automatically",
    **{name: name for name in BACKGROUNDS},
    _OWN_BACKGROUND: "own words",
}


def ask(inputs: types.Object, params: Mapping[str, Any], dataset: Any, **event: Any) -> None:
    """Adds the inputs to a form or panel.

    Args:
        inputs: the inputs of the form or panel
        params: the values of the form, as in :func:`read`
        dataset: a FiftyOne dataset
        **event: ``on_change`` for the inputs of a panel
    """
    source = params.get("words_from") or _TYPED
    choose = {"default": _TYPED, "required": False, **event}
    inputs.enum("words_from", list(_SOURCES), label="Classes from", view=_dropdown(_SOURCES), **choose)
    _ASK[source](inputs, dataset, event)
    inputs.enum(
        "background",
        list(_BACKGROUNDS),
        default=_NO_BACKGROUND,
        required=False,
        label="Background",
        description="Do your classes cover the whole picture? If not, words for the rest help; uncertain pixels get it, too",
        view=_dropdown(_BACKGROUNDS),
        **event,
    )
    if params.get("background") == _OWN_BACKGROUND:
        inputs.str("background_words", required=True, label="Background words", description="Separated by commas", **event)


def given(params: Mapping[str, Any]) -> bool:
    """Returns whether the user has entered any classes yet; an empty form is not an error."""
    return any(params.get(name) for name in ("classes", "class_file", "class_field", "vocabulary")) or (
        params.get("words_from") == _DATASET
    )


def read(params: Mapping[str, Any], dataset: Any) -> Vocabulary:
    """Reads the classes from a form's values, without a background whose words are chosen automatically.

    Args:
        params: the values of the form
        dataset: a FiftyOne dataset

    Returns:
        the vocabulary

    Raises:
        VocabularyError: if the source has no classes, or the classes are invalid
    """
    source, background = params.get("words_from") or _TYPED, params.get("background") or _NO_BACKGROUND
    for kind, name, known in (
        ("source", source, _READ),
        ("background", background, _BACKGROUNDS),
    ):
        if name not in list(known):
            raise VocabularyError(unknown(kind, name, known))
    vocabulary = _READ[source](params, dataset)
    if background in (_NO_BACKGROUND, _AUTO_BACKGROUND):
        return vocabulary
    if background == _OWN_BACKGROUND:
        words = split_words(_text(params, "background_words"))
        return vocabulary.with_background([word for word in words if word])
    return vocabulary.with_background(BACKGROUNDS[background])


def read_for(model: str, params: Mapping[str, Any], dataset: Any) -> Vocabulary:
    """Reads the classes as :func:`read` does, and lets a model choose the words for the background if the form asks for that.

    Args:
        model: a name in ``presets.MODELS``; it is loaded if it has to choose
        params: the values of the form
        dataset: a FiftyOne dataset

    Returns:
        the vocabulary

    Raises:
        VocabularyError: as :func:`read`, or if a class is called ``"background"`` already
        BackboneError: if the model can't be loaded
    """
    vocabulary = read(params, dataset)
    if params.get("background") != _AUTO_BACKGROUND:
        return vocabulary
    return models.in_turn(lambda: models.with_background(model, vocabulary))


def chosen(params: Mapping[str, Any], vocabulary: Vocabulary) -> list[str]:
    """Returns a line with the words that were chosen for the background; nothing if the form did not ask for that."""
    if params.get("background") != _AUTO_BACKGROUND:
        return []
    return [f"Words chosen for the background: {', '.join(vocabulary.phrases[vocabulary.fallback])}"]


def _dropdown(choices: Mapping[str, str]) -> types.DropdownView:
    view = types.DropdownView()
    for value, label in choices.items():
        view.add_choice(value, label=label)
    return view


def _ask_typed(inputs: types.Object, dataset: Any, event: Mapping[str, Any]) -> None:
    inputs.str(
        "classes",
        required=True,
        label="Classes",
        description="Separated by commas or one per line; a line 'car: car, sedan, taxi' gives a class several phrases",
        view=types.TextFieldView(multiline=True),
        **event,
    )


def _ask_file(inputs: types.Object, dataset: Any, event: Mapping[str, Any]) -> None:
    description = "Path of a .txt file on the App's machine; one class per line, in the same form as typed classes"
    inputs.str("class_file", required=True, label="File", description=description, **event)


def _ask_field(inputs: types.Object, dataset: Any, event: Mapping[str, Any]) -> None:
    inputs.enum("class_field", list(_named_fields(dataset)), required=True, label="Field", **event)


def _ask_dataset(inputs: types.Object, dataset: Any, event: Mapping[str, Any]) -> None:
    names = _dataset_classes(dataset)
    inputs.view("dataset_classes", types.Notice(label=verbatim(", ".join(names)) or "the dataset lists no classes"))


def _ask_saved(inputs: types.Object, dataset: Any, event: Mapping[str, Any]) -> None:
    inputs.enum("vocabulary", saved_vocabularies.names(), required=True, label="Saved vocabulary", **event)


def _read_typed(params: Mapping[str, Any], dataset: Any) -> Vocabulary:
    return Vocabulary.from_text(params.get("classes") or "")


def _read_file(params: Mapping[str, Any], dataset: Any) -> Vocabulary:
    path = Path(_text(params, "class_file"))
    if not path.name:
        raise VocabularyError("enter the path of the file with the classes")
    if path.suffix != ".txt":  # so that the App's users can't read any file of its machine as classes
        raise VocabularyError(f"the name of a class file must end in '.txt', but got {str(path)!r}; rename the file")
    return Vocabulary.parse(path)


def _read_field(params: Mapping[str, Any], dataset: Any) -> Vocabulary:
    names = _named_fields(dataset).get(_text(params, "class_field"))
    if not names:
        raise VocabularyError("choose a field that has class names in its mask targets")
    return Vocabulary.parse(names)


def _read_dataset(params: Mapping[str, Any], dataset: Any) -> Vocabulary:
    names = _dataset_classes(dataset)
    if not names:
        raise VocabularyError("the dataset lists no classes; set dataset.default_classes or type them")
    return Vocabulary.parse(names)


def _read_saved(params: Mapping[str, Any], dataset: Any) -> Vocabulary:
    return saved_vocabularies.load(params.get("vocabulary") or "")


def _text(params: Mapping[str, Any], name: str) -> str:
    text = params.get(name) or ""
    if not isinstance(text, str):
        raise VocabularyError(f"{name} must be text, but got {type(text).__name__}")
    return text


def _named_fields(dataset: Any) -> dict[str, list[str]]:
    """The class names of each field that has mask targets."""
    named = {
        field: [name for value, name in targets.items() if value != DEFAULT_VALUE]
        for field, targets in dataset.mask_targets.items()
    }
    return {field: list(dict.fromkeys(names)) for field, names in named.items() if names}


def _dataset_classes(dataset: Any) -> list[str]:
    """The dataset's default classes or default mask targets; without these, the classes of its fields."""
    defaults = dataset.default_classes or list((dataset.default_mask_targets or {}).values())
    return list(dict.fromkeys(defaults or [name for names in dataset.classes.values() for name in names]))


_ASK = {_TYPED: _ask_typed, _FILE: _ask_file, _FIELD: _ask_field, _DATASET: _ask_dataset, _SAVED: _ask_saved}
_READ = {_TYPED: _read_typed, _FILE: _read_file, _FIELD: _read_field, _DATASET: _read_dataset, _SAVED: _read_saved}
