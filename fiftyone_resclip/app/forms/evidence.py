"""The part of a form that asks what the dataset knows beside the words: examples, regions, and what is present."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import fiftyone as fo
from fiftyone.operators import types

from fiftyone_resclip.app.forms import words
from fiftyone_resclip.errors import DatasetError, VocabularyError
from fiftyone_resclip.evaluation.void import DEFAULT_VALUE
from fiftyone_resclip.fields.schema import mask_fields
from fiftyone_resclip.fields.slices import select_slice

if TYPE_CHECKING:
    from fiftyone_resclip.model import ResCLIPModel

_NOTHING = "nothing"
_KEPT, _ALL = "kept:", "all:"


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
        regions: field of outlines
        present: field that names the classes in an image
    """

    examples: Examples | None = None
    regions: str | None = None
    present: str | None = None


def ask(inputs: types.Object, ctx: Any) -> None:
    """Adds the inputs to a form; they are optional, and shown once the user asks for them."""
    from fiftyone_resclip.evidence.presence import PRESENCE_TYPES
    from fiftyone_resclip.evidence.regions import REGION_TYPES

    inputs.bool("evidence", default=False, required=False, label="Use examples, regions or tags of the dataset")
    if not ctx.params.get("evidence"):
        return
    _ask_one(inputs, "learn_from", "Learn from", "Masks that are known to be good correct the words", _examples(ctx))
    samples = ctx.target_view()
    regions = _fields(samples.get_field_schema(embedded_doc_type=REGION_TYPES))
    meaning = "Outlines such as SAM's, whatever their classes: the pixels of each region get one class"
    _ask_one(inputs, "regions", "Regions", meaning, regions)
    named = {**_texts(samples), **samples.get_field_schema(embedded_doc_type=PRESENCE_TYPES)}
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
    chosen = {name: params.get(name) for name in ("learn_from", "regions", "present")}
    given = {name: None if value in (None, "", _NOTHING) else value for name, value in chosen.items()}
    learn_from = given.pop("learn_from")
    return Evidence(None if learn_from is None else _chosen(learn_from, dataset), **given)


def taught(model: ResCLIPModel, examples: Examples) -> ResCLIPModel:
    """Returns the model that examples taught; call it :func:`~fiftyone_resclip.app.models.in_turn`."""
    from fiftyone_resclip.evidence.learning import learn
    from fiftyone_resclip.explore.improvement import learn_kept

    if examples.kept:
        return learn_kept(model, examples.samples, examples.label_field)
    return learn(model, examples.samples, examples.label_field, progress=False)


def _chosen(learn_from: Any, dataset: Any) -> Examples:
    from fiftyone_resclip.explore import review

    if isinstance(learn_from, str) and learn_from.startswith(_ALL):
        field = learn_from.removeprefix(_ALL)
        return Examples(select_slice(dataset), field, kept=False)
    if not isinstance(learn_from, str) or not learn_from.startswith(_KEPT):
        raise DatasetError(f"learn_from must be 'kept:<field>' or 'all:<field>', but got {learn_from!r}")
    field = learn_from.removeprefix(_KEPT)
    kept = review.kept(dataset, field)
    if not len(kept):
        raise DatasetError(f"no mask of {field!r} is kept, so there is nothing to learn from; keep some in a review first")
    return Examples(kept, field, kept=True)


def _examples(ctx: Any) -> dict[str, str]:
    """Describes each source of examples: kept masks of reviewed fields, and fields that share class names with the words."""
    from fiftyone_resclip.explore import review, review_verdicts

    schema, names, found = ctx.dataset.get_field_schema(), _class_names(ctx), dict[str, str]()
    for field in mask_fields(ctx.dataset):
        named = {name for value, name in (ctx.dataset.mask_targets.get(field) or {}).items() if value != DEFAULT_VALUE}
        if not named or (names and not named & names):
            continue
        kept = len(review.kept(ctx.dataset, field)) if review_verdicts.field_of(field) in schema else 0
        if kept:
            found[_KEPT + field] = f"the {kept} kept masks of {field}"
        found[_ALL + field] = f"all masks of {field}"
    return found


def _class_names(ctx: Any) -> set[str]:
    """The classes in words, as far as they are typed."""
    with suppress(VocabularyError):
        return set(words.read(ctx.params, ctx.dataset).class_names)
    return set()


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


def _ask_one(inputs: types.Object, name: str, label: str, description: str, choices: Mapping[str, str]) -> None:
    view = types.DropdownView()
    for value, shown in {_NOTHING: _NOTHING, **choices}.items():
        view.add_choice(value, label=shown)
    offered = [_NOTHING, *choices]
    inputs.enum(name, offered, default=_NOTHING, required=False, label=label, description=description, view=view)
