"""Describes everything that decides the masks of a model, so that masks made in different ways are never mixed in one field."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import fiftyone_resclip
from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.clip.identity import identity
from fiftyone_resclip.config import ResCLIPConfig
from fiftyone_resclip.core.teaching import Taught
from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.model import ResCLIPModel, make_model
from fiftyone_resclip.vocabulary import Vocabulary

#: Plain JSON values: model, weights, settings, classes with their phrases, background class.
Recipe = Mapping[str, Any]

#: The part of a recipe that names the fields with evidence.
EVIDENCE = "evidence"

#: The part that says what examples taught.
EXAMPLES = "examples"

_FOR_PEOPLE = ("model",)  # recorded, but two names may stand for the same weights
_ABSENT = "nothing"


def recipe_of(model: ResCLIPModel, **evidence: str | None) -> dict[str, Any]:
    """Returns the recipe of a model.

    Args:
        model: from :func:`fiftyone_resclip.load_model`
        **evidence: fields that say something about each image: ``regions`` and ``present``

    Returns:
        plain JSON values, the same for every model that makes the same masks
    """
    segmenter = model.segmenter
    return recipe_for(segmenter.backbone, segmenter.vocabulary, segmenter.config, model.taught, **evidence)


def recipe_for(
    backbone: Backbone, vocabulary: Vocabulary, config: ResCLIPConfig, taught: Taught | None = None, **evidence: str | None
) -> dict[str, Any]:
    """Returns the recipe of a model that is not made yet, because that would encode its words.

    Args:
        backbone: the loaded CLIP
        vocabulary: the classes
        config: the settings
        taught (None): what examples taught
        **evidence: as for :func:`recipe_of`

    Returns:
        what :func:`recipe_of` returns for that model
    """
    used = {name: field for name, field in evidence.items() if field is not None}
    return {
        "model": backbone.name,
        "weights": identity(backbone),
        "settings": config.to_dict(),
        "classes": [[name, list(words)] for name, words in zip(vocabulary.class_names, vocabulary.phrases, strict=True)],
        "background": vocabulary.background,
        **({} if taught is None else {EXAMPLES: taught.to_json()}),
        **({EVIDENCE: used} if used else {}),
    }


def vocabulary_of(recipe: Recipe) -> Vocabulary:
    """Returns the classes of a recipe."""
    names, phrases = zip(*recipe["classes"], strict=True)
    return Vocabulary(names, tuple(map(tuple, phrases)), recipe["background"])


def model_of(recipe: Recipe, backbone: Backbone, taught: Taught | None = None) -> ResCLIPModel:
    """Makes the model of a recipe.

    Args:
        recipe: from :func:`recipe_of`
        backbone: the loaded CLIP, whose name is in the recipe
        taught (None): what examples taught it, which is not in the recipe

    Returns:
        the model

    Raises:
        DatasetError: if the weights are not those of the recipe
    """
    if identity(backbone) != recipe["weights"]:
        raise DatasetError(f"the masks were made with other weights than those that {recipe['model']!r} has now; label them anew")
    return make_model(backbone, vocabulary_of(recipe), ResCLIPConfig.from_dict(recipe["settings"]), taught)


def differences(before: Recipe, after: Recipe) -> dict[str, tuple[Any, Any]]:
    """Compares two recipes.

    Args:
        before: the first recipe
        after: the second

    Returns:
        both values of everything that differs, by its name, such as ``"settings.sfr.threshold"``
    """
    flat = [_flat({name: value for name, value in recipe.items() if name not in _FOR_PEOPLE}) for recipe in (before, after)]
    names = dict.fromkeys(name for part in flat for name in part)
    pairs = {name: (flat[0].get(name, _ABSENT), flat[1].get(name, _ABSENT)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def versions() -> dict[str, str]:
    """Returns the versions of everything that computes masks."""
    packages = {name: version(name) for name in ("torch", "open_clip_torch", "fiftyone", "pillow")}
    return {"fiftyone-resclip": fiftyone_resclip.__version__, **packages, "python": platform.python_version()}


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Names each value by its path; a class is named by its words, as its number says nothing, and a lesson by a digest."""
    if name == EXAMPLES:
        return {name: f"{len(value['sample_ids'])} with strength {value['strength']:g} ({value['digest'][:8]})"}
    if name == "classes":
        return {"classes": [label for label, _ in value], **{f"words of {label!r}": list(words) for label, words in value}}
    if isinstance(value, Mapping):
        return {
            key: leaf for part, inner in value.items() for key, leaf in _flat(inner, f"{name}.{part}" if name else part).items()
        }
    return {name: list(value) if isinstance(value, tuple) else value}
