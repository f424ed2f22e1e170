"""The models of the App's server: loaded once, shared by operators and panels, and run one at a time in a single thread.

The server answers requests in many threads. If several of them computed, OpenMP would start a team of threads for each. With more
threads than processors, these teams sleep between loops, and a mask takes much longer on a machine with few processors.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from fiftyone_resclip.vocabulary import Vocabulary

if TYPE_CHECKING:
    from fiftyone_resclip.clip.backbone import Backbone
    from fiftyone_resclip.core.teaching import Taught
    from fiftyone_resclip.evidence.learning import Studying
    from fiftyone_resclip.explore.playground import Playground
    from fiftyone_resclip.model import ResCLIPModel

_T = TypeVar("_T")
_COMPUTING = ThreadPoolExecutor(1, thread_name_prefix="resclip")

#: What examples taught lately, so that a run that used it can go on.
lessons: deque[Taught] = deque(maxlen=8)


def in_turn(work: Callable[[], _T]) -> _T:
    """Runs work in the computing thread as soon as that thread is free, and waits for the result.

    Args:
        work: the function to call; it must not call :func:`in_turn` itself

    Returns:
        what ``work`` returns

    Raises:
        whatever ``work`` raises
    """
    return _COMPUTING.submit(work).result()


def by_turns(steps: Iterator[_T]) -> Generator[_T, None, None]:
    """Runs each step of a long run :func:`in_turn`, so that a panel can compute between two batches.

    Args:
        steps: the run, a generator; each step runs when the next value is requested, and closing this generator closes it too

    Yields:
        the values of ``steps``
    """
    end = object()
    try:
        while True:
            value = in_turn(lambda: next(steps, end))
            if value is end:
                return
            yield value  # type: ignore[misc]  # not the end marker
    finally:
        close = getattr(steps, "close", None)
        if close is not None:
            in_turn(close)  # Ctrl-C stops the wait but not the current step, so closing must wait for that step


def learning(steps: Iterator[Studying], what: str) -> Generator[str, None, ResCLIPModel]:
    """Learns :func:`by_turns`, and remembers what was learned, so that its run can go on later.

    Args:
        steps: from :func:`fiftyone_resclip.evidence.learning.iter_learn`, or a function that calls it
        what: what it learns from

    Yields:
        how far it is

    Returns:
        the new model
    """
    model = None
    for studying in by_turns(steps):
        yield f"Learns from {what}: {studying}"
        model = studying.model
    assert model is not None
    if model.taught is not None:
        lessons.append(model.taught)
    return model


@lru_cache(maxsize=2)
def backbone(name: str) -> Backbone:
    """Returns a loaded CLIP model; call it :func:`in_turn`."""
    from fiftyone_resclip.clip.backbone import Backbone

    return Backbone.load(name)


@lru_cache(maxsize=1)
def playground(name: str) -> Playground:
    """Returns the playground, which uses the shared CLIP model; call it :func:`in_turn`."""
    from fiftyone_resclip.explore.playground import Playground
    from fiftyone_resclip.presets import default_config

    return Playground(backbone(name), default_config(name))


def weights(name: str) -> str:
    """Returns the identity of a CLIP model, which decides what examples taught it; call it :func:`in_turn`."""
    from fiftyone_resclip.clip.identity import identity

    return identity(backbone(name))


def model(name: str, settings: Mapping[str, Any], vocabulary: Vocabulary, taught: Taught | None = None) -> ResCLIPModel:
    """Builds a model for some classes on the shared CLIP model; call it :func:`in_turn`.

    Args:
        name: a name in ``presets.MODELS``
        settings: the settings that differ from the model's defaults, by their names in ``ResCLIPConfig``
        vocabulary: the classes
        taught (None): what examples taught

    Returns:
        a FiftyOne model

    Raises:
        ConfigError: if a setting is out of range, or examples taught another model
        BackboneError: if the model or its weights can't be loaded
    """
    from fiftyone_resclip.model import make_model
    from fiftyone_resclip.presets import default_config

    return make_model(backbone(name), vocabulary, default_config(name).varied(settings), taught)


@lru_cache(maxsize=8)
def with_background(name: str, vocabulary: Vocabulary) -> Vocabulary:
    """Adds a background with words that a model chooses; call it :func:`in_turn`.

    Args:
        name: a name in ``presets.MODELS``
        vocabulary: the classes

    Returns:
        the classes and the background

    Raises:
        VocabularyError: if a class is called ``"background"`` already
        BackboneError: if the model or its weights can't be loaded
    """
    from fiftyone_resclip.clip.background_words import with_chosen_background

    return with_chosen_background(backbone(name), vocabulary)
