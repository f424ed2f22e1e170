"""The part of a form that asks what the dataset knows beside the words: examples, regions, and what is present."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import fiftyone as fo
from fiftyone.operators import types

from fiftyone_resclip.app import models
from fiftyone_resclip.app.forms import known_names, method, words
from fiftyone_resclip.app.messages import verbatim
from fiftyone_resclip.errors import DatasetError, ResCLIPError, VocabularyError, counted
from fiftyone_resclip.fields.companions import is_companion
from fiftyone_resclip.fields.names import checked
from fiftyone_resclip.fields.schema import mask_fields
from fiftyone_resclip.fields.slices import select_slice
from fiftyone_resclip.presets import default_config

if TYPE_CHECKING:
    from fiftyone_resclip.core.teaching import Taught
    from fiftyone_resclip.evidence.learning import Studying
    from fiftyone_resclip.model import ResCLIPModel

_NOTHING = "nothing"
_KEPT, _ALL, _SAVED = "kept:", "all:", "saved:"

#: The input for what to learn from, which panels share with the form of *Segment*.
LEARN_FROM = "learn_from"


class Examples(NamedTuple):
    """Images whose masks are known.

    Attributes:
        samples: a FiftyOne view
        label_field: their masks
        kept: whether the masks were kept in a review
    """

    samples: Any
    label_field: str
    kept: bool


class Evidence(NamedTuple):
    """What is used beside the words.

    Attributes:
        examples: what to learn from
        taught: what a saved lesson taught, instead of examples
        lesson_name: the name to save under what the examples teach; ``None`` if it is not saved
        regions: field of outlines
        present: field that names the classes in an image
    """

    examples: Examples | None = None
    taught: Taught | None = None
    lesson_name: str | None = None
    regions: str | None = None
    present: str | None = None


def ask(inputs: types.Object, ctx: Any) -> None:
    """Adds the inputs to a form; they are optional, and shown once the user asks for them."""
    from fiftyone_resclip.evidence.presence import PRESENCE_TYPES
    from fiftyone_resclip.evidence.regions import REGION_TYPES

    inputs.bool("evidence", default=False, required=False, label="Use examples, regions or tags of the dataset")
    if not ctx.params.get("evidence"):
        return
    _ask_examples(inputs, ctx)
    samples = ctx.target_view()
    regions = _fields(samples.get_field_schema(embedded_doc_type=REGION_TYPES))
    meaning = "Outlines such as SAM's, whatever their classes: the pixels of each region get one class"
    _ask_one(inputs, "regions", "Regions", meaning, regions)
    labels = samples.get_field_schema(embedded_doc_type=PRESENCE_TYPES)
    named = {**_texts(samples), **{name: field for name, field in labels.items() if not is_companion(field)}}
    meaning = "What is named in an image: only these classes compete there"
    _ask_one(inputs, "present", "Present", meaning, _fields(named))


def read(params: Mapping[str, Any], dataset: Any) -> Evidence:
    """Reads the choices from a form's values; programs may leave out ``evidence``, which only shows the inputs.

    Args:
        params: the values of the form
        dataset: a FiftyOne dataset

    Returns:
        the evidence

    Raises:
        DatasetError: if there is no such choice of examples, or no mask of the chosen field is kept
    """
    if params.get("evidence") is False:
        return Evidence()
    taught, learn_from = lesson(params), _given(params, LEARN_FROM)
    examples = None if taught is not None or learn_from is None else _examples(learn_from, dataset)
    name = None if examples is None else _given(params, "lesson_name")
    if name is not None:
        checked(name, "lesson")
    return Evidence(examples, taught, name, _given(params, "regions"), _given(params, "present"))


def described(known: Evidence) -> list[str]:
    """Says in a few words each what is used beside the words."""
    parts = list[str]()
    if known.examples is not None:
        count = len(known.examples.samples.exists(known.examples.label_field))
        parts.append(f"{counted(count, 'mask')} of {known.examples.label_field!r} will teach it first")
    if known.taught is not None:
        parts.append("a saved lesson corrects its words")
    if known.regions is not None:
        parts.append(f"with the regions of {known.regions!r}")
    if known.present is not None:
        parts.append(f"only classes named in {known.present!r}")
    return parts


def iter_learn(model: ResCLIPModel, given: Evidence) -> Iterator[Studying]:
    """Learns from the examples, and saves the lesson if it has a name.

    Args:
        model: the model with its words
        given: the evidence, with examples

    Yields:
        how far it is; the last has the new model
    """
    from fiftyone_resclip.evidence import learning
    from fiftyone_resclip.evidence.lessons import save_lesson
    from fiftyone_resclip.explore.improvement import iter_learn_kept

    assert given.examples is not None
    samples, label_field, kept = given.examples
    for studying in (iter_learn_kept if kept else learning.iter_learn)(model, samples, label_field):
        if studying.model is not None and studying.model.taught is not None and given.lesson_name is not None:
            save_lesson(given.lesson_name, studying.model.taught)
        yield studying


def ask_lesson(inputs: types.Object, **event: Any) -> None:
    """Adds the choice of a saved lesson to a panel; nothing if none is saved."""
    saved = _lessons()
    if saved:
        _ask_one(inputs, LEARN_FROM, "Learn from", "What examples taught before corrects the words", saved, **event)


def lesson(params: Mapping[str, Any]) -> Taught | None:
    """Returns what the chosen lesson taught; ``None`` if no saved lesson is chosen."""
    from fiftyone_resclip.evidence.lessons import load_lesson

    chosen = params.get(LEARN_FROM)
    return load_lesson(chosen.removeprefix(_SAVED)) if isinstance(chosen, str) and chosen.startswith(_SAVED) else None


def _given(params: Mapping[str, Any], name: str) -> Any:
    """Returns the value of an input; ``None`` if nothing is chosen."""
    value = params.get(name)
    return None if value in (None, "", _NOTHING) else value


def _ask_examples(inputs: types.Object, ctx: Any) -> None:
    """Asks what to learn from; where that is a saved lesson, says below it whether the model can use it."""
    meaning = "Masks that are known to be good correct the words"
    choice = _ask_one(inputs, LEARN_FROM, "Learn from", meaning, {**_sources(ctx), **_lessons()})
    chosen = _given(ctx.params, LEARN_FROM)
    if str(chosen).startswith(_SAVED):
        _show_lesson(inputs, ctx, choice)
    elif chosen is not None:
        meaning = "A name, to use it for later runs and other datasets"
        inputs.str("lesson_name", required=False, label="Save what was learned as", description=meaning)


def _show_lesson(inputs: types.Object, ctx: Any, choice: types.Property) -> None:
    """Says what a lesson does for the words, or why the model can't use it."""
    try:
        taught = _usable_lesson(ctx.params)
    except ResCLIPError as error:
        choice.invalid, choice.error_message = True, str(error)
        return
    names = list(_class_names(ctx) or taught.class_names)
    alone = [name for name in names if name not in taught.class_names]
    rest = f"; these keep their words alone: {', '.join(alone)}" if alone else ""
    told = f"{taught}. It corrects {len(names) - len(alone)} of {len(names)} classes{rest}."
    inputs.view("lesson", types.Notice(label=verbatim(told)))


def _usable_lesson(params: Mapping[str, Any]) -> Taught:
    """Returns the chosen lesson; the weights are compared only if they are at hand."""
    from fiftyone_resclip.clip.weights import is_at_hand

    taught, (name, settings) = lesson(params), method.read(params)
    assert taught is not None
    weights = models.in_turn(lambda: models.weights(name)) if is_at_hand(name) else None
    taught.check(default_config(name).varied(settings).last_block, weights)
    return taught


def _examples(learn_from: Any, dataset: Any) -> Examples:
    from fiftyone_resclip.explore import review

    if isinstance(learn_from, str) and learn_from.startswith(_ALL):
        field = learn_from.removeprefix(_ALL)
        return Examples(select_slice(dataset), field, kept=False)
    if not isinstance(learn_from, str) or not learn_from.startswith(_KEPT):
        raise DatasetError(f"learn_from must be 'kept:<field>', 'all:<field>' or 'saved:<lesson>', but got {learn_from!r}")
    field = learn_from.removeprefix(_KEPT)
    kept = review.kept(dataset, field)
    if not len(kept):
        raise DatasetError(f"no mask of {field!r} is kept, so there is nothing to learn from; keep some in a review first")
    return Examples(kept, field, kept=True)


def _lessons() -> dict[str, str]:
    from fiftyone_resclip.evidence.lessons import list_lessons

    return {_SAVED + name: f"the lesson {name}" for name in list_lessons()}


def _sources(ctx: Any) -> dict[str, str]:
    """Describes each source of examples: kept masks of reviewed fields, and fields that share class names with the words."""
    from fiftyone_resclip.explore import review, review_verdicts

    schema, names, found = ctx.dataset.get_field_schema(), {*_class_names(ctx)}, dict[str, str]()
    known = known_names.of_fields(ctx.dataset)
    for field in mask_fields(ctx.dataset):
        named = {*known.get(field, ())}
        if not named or (names and not named & names):
            continue
        kept = len(review.kept(ctx.dataset, field)) if review_verdicts.field_of(field) in schema else 0
        if kept:
            found[_KEPT + field] = f"the {kept} kept masks of {field}"
        found[_ALL + field] = f"all masks of {field}"
    return found


def _class_names(ctx: Any) -> tuple[str, ...]:
    """The classes in words, as far as they are typed."""
    with suppress(VocabularyError):
        return words.read(ctx.params, ctx.dataset).class_names
    return ()


def _texts(samples: Any) -> dict[str, Any]:
    """The fields of text, without those that FiftyOne or the review fills."""
    from fiftyone_resclip.explore.review_verdicts import field_of

    taken = {"filepath", *(field_of(field) for field in mask_fields(samples))}
    return {
        name: field
        for name, field in samples.get_field_schema().items()
        if name not in taken and isinstance(getattr(field, "field", field), fo.StringField)
    }


def _fields(names: Iterable[str]) -> dict[str, str]:
    return {name: name for name in names}


def _ask_one(
    inputs: types.Object, name: str, label: str, description: str, choices: Mapping[str, str], **event: Any
) -> types.Property:
    view = types.DropdownView()
    for value, shown in {_NOTHING: _NOTHING, **choices}.items():
        view.add_choice(value, label=shown)
    offered = [_NOTHING, *choices]
    look = {"label": label, "description": description, "view": view}
    return inputs.enum(name, offered, default=_NOTHING, required=False, **look, **event)
