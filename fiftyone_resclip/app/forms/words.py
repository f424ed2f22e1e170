"""The part of a form that asks for the classes: as words, as text, or from a file, a field, the dataset or a saved vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fiftyone.operators import types

from fiftyone_resclip.app import models
from fiftyone_resclip.app.forms import known_names
from fiftyone_resclip.app.messages import verbatim
from fiftyone_resclip.errors import VocabularyError, unknown
from fiftyone_resclip.explore import saved_vocabularies
from fiftyone_resclip.vocabulary import BACKGROUNDS, Vocabulary, split_words

CHIPS = "words"
_TYPED, _FILE, _FIELD, _DATASET, _SAVED = "typed", "file", "field", "dataset", "saved"
_NO_BACKGROUND, _OWN_BACKGROUND, _AUTO_BACKGROUND = "none", "own words", "auto"

#: The names of the inputs that :func:`read` uses.
NAMES = ("words_from", CHIPS, "classes", "class_file", "class_field", "vocabulary", "background", "background_words")

_SOURCES = {CHIPS: "Words", _TYPED: "Text", _FILE: "File", _FIELD: "Field", _DATASET: "Dataset", _SAVED: "Saved"}

#: The look of tabs that need a second line in a narrow panel.
_WRAPPED = {
    "& .MuiTabs-flexContainer": {"flexWrap": "wrap"},
    "& .MuiTab-root": {"minWidth": 0, "minHeight": 40, "px": 1.25, "py": 0.5},
    "& .MuiTabs-indicator": {"display": "none"},  # it would stay below the first line
    "& .Mui-selected": {"textDecoration": "underline", "textUnderlineOffset": "6px"},
}

_BACKGROUNDS = {
    _NO_BACKGROUND: "Yes, everything gets one of them",
    _AUTO_BACKGROUND: "No, choose words for the rest",
    **{name: f"No, the rest is {name}" for name in BACKGROUNDS},
    _OWN_BACKGROUND: "No, I name the rest",
}


def ask(inputs: types.Object, params: Mapping[str, Any], dataset: Any, source: str = _TYPED, **event: Any) -> None:
    """Adds the inputs to a form or panel.

    Args:
        inputs: the inputs of the form or panel
        params: the values of the form, as in :func:`read`
        dataset: a FiftyOne dataset
        source ("typed"): where the classes come from until the user chooses; :data:`CHIPS` for one box with a chip for each word
        **event: ``on_change`` for the inputs of a panel
    """
    tabs = types.TabsView(componentsProps={"tabs": {"sx": _WRAPPED}})
    for value, label in _SOURCES.items():
        tabs.add_choice(value, label=label)
    current = _source(params, source)
    inputs.enum("words_from", list(_SOURCES), default=current, required=False, label="Classes from", view=tabs, **event)
    _ASK[current](inputs, params, dataset, event)
    inputs.enum(
        "background",
        list(_BACKGROUNDS),
        default=_NO_BACKGROUND,
        required=False,
        label="Do these classes cover the whole picture?",
        description="If not, the rest and uncertain pixels get a class 'background' with words of its own",
        view=_dropdown(_BACKGROUNDS),
        **event,
    )
    if params.get("background") == _OWN_BACKGROUND:
        inputs.str("background_words", required=True, label="Background words", description="Separated by commas", **event)


def input_of(params: Mapping[str, Any], source: str = _TYPED) -> str:
    """Returns the name of the input that has the classes, so that a mistake in them can be shown there."""
    return _INPUTS[_source(params, source)]


def given(params: Mapping[str, Any]) -> bool:
    """Returns whether the user has entered any classes yet; an empty form is not an error."""
    return any(params.get(name) for name in _INPUTS.values()) or params.get("words_from") == _DATASET


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
    source, background = _source(params), params.get("background") or _NO_BACKGROUND
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


def written(vocabulary: Vocabulary) -> dict[str, Any]:
    """Returns the values of the form with which :func:`read` gives a vocabulary."""
    if vocabulary.background is None:
        return {"words_from": _TYPED, "classes": vocabulary.to_text(), "background": _NO_BACKGROUND}
    rest, words = vocabulary.without(vocabulary.background), vocabulary.phrases[vocabulary.fallback]
    own = {"background": _OWN_BACKGROUND, "background_words": ", ".join(words)}
    return {"words_from": _TYPED, "classes": rest.to_text(), **own}


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


def _source(params: Mapping[str, Any], first: str = _TYPED) -> str:
    """Returns where the classes come from; programs need not say it."""
    if params.get("words_from"):
        return str(params["words_from"])
    return CHIPS if params.get(CHIPS) else _TYPED if params.get("classes") else first


def _ask_chips(inputs: types.Object, params: Mapping[str, Any], dataset: Any, event: Mapping[str, Any]) -> None:
    box = types.AutocompleteView(allow_duplicates=False, filter_selected_options=True)
    for name in known_names.every(dataset):
        box.add_choice(Vocabulary((name,), ((name,),)).to_text(), label=name)
    meaning = "Press Enter after each class, such as 'road'; 'car: car, sedan, taxi' gives a class several phrases"
    inputs.list(CHIPS, types.String(), required=True, label="Classes", description=meaning, view=box, **event)


def _ask_typed(inputs: types.Object, params: Mapping[str, Any], dataset: Any, event: Mapping[str, Any]) -> None:
    inputs.str(
        "classes",
        default="\n".join(params.get(CHIPS) or ()) or None,
        required=True,
        label="Classes",
        description="Separated by commas or one per line; a line 'car: car, sedan, taxi' gives a class several phrases",
        view=types.TextFieldView(multiline=True),
        **event,
    )


def _ask_file(inputs: types.Object, params: Mapping[str, Any], dataset: Any, event: Mapping[str, Any]) -> None:
    description = "Path of a .txt file on the App's machine; one class per line, in the same form as text"
    inputs.str("class_file", required=True, label="File", description=description, **event)


def _ask_field(inputs: types.Object, params: Mapping[str, Any], dataset: Any, event: Mapping[str, Any]) -> None:
    inputs.enum("class_field", list(known_names.of_fields(dataset)), required=True, label="Field of masks", **event)


def _ask_dataset(inputs: types.Object, params: Mapping[str, Any], dataset: Any, event: Mapping[str, Any]) -> None:
    names = known_names.of_dataset(dataset)
    inputs.view("dataset_classes", types.Notice(label=verbatim(", ".join(names)) or "The dataset lists no classes."))


def _ask_saved(inputs: types.Object, params: Mapping[str, Any], dataset: Any, event: Mapping[str, Any]) -> None:
    inputs.enum("vocabulary", saved_vocabularies.names(), required=True, label="Saved vocabulary", **event)


def _read_chips(params: Mapping[str, Any], dataset: Any) -> Vocabulary:
    words = params.get(CHIPS) or []
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise VocabularyError(f"{CHIPS} must be a list of texts, but got {words!r}")
    return Vocabulary.from_text("\n".join(words))


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
    names = known_names.of_fields(dataset).get(_text(params, "class_field"))
    if not names:
        raise VocabularyError("choose a field that has class names in its mask targets")
    return Vocabulary.parse(names)


def _read_dataset(params: Mapping[str, Any], dataset: Any) -> Vocabulary:
    names = known_names.of_dataset(dataset)
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


_INPUTS = {
    CHIPS: CHIPS, _TYPED: "classes", _FILE: "class_file", _FIELD: "class_field", _DATASET: "dataset_classes",
    _SAVED: "vocabulary",
}  # fmt: skip
_ASK = {
    CHIPS: _ask_chips, _TYPED: _ask_typed, _FILE: _ask_file, _FIELD: _ask_field, _DATASET: _ask_dataset, _SAVED: _ask_saved,
}  # fmt: skip
_READ = {
    CHIPS: _read_chips, _TYPED: _read_typed, _FILE: _read_file, _FIELD: _read_field, _DATASET: _read_dataset, _SAVED: _read_saved,
}  # fmt: skip
