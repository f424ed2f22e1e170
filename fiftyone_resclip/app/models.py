"""The models of the App's server: loaded once, shared by operators and panels, used by one at a time in a thread of their own.

The server answers each request in one of many threads. If several of them computed, OpenMP would give each a team of its own, and
teams that are more than the processors sleep between loops: on few processors a mask then takes much longer.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from fiftyone_resclip.vocabulary import Vocabulary

if TYPE_CHECKING:
    from fiftyone_resclip.clip.backbone import Backbone
    from fiftyone_resclip.explore.playground import Playground
    from fiftyone_resclip.model import ResCLIPModel

_T = TypeVar("_T")
_COMPUTING = ThreadPoolExecutor(1, thread_name_prefix="resclip")


def in_turn(work: Callable[[], _T]) -> _T:
    """Does some work with a model when no other operator uses one.

    Args:
        work: is called in the thread that computes; it must not ask for a turn itself

    Returns:
        what ``work`` gave

    Raises:
        whatever ``work`` raises
    """
    return _COMPUTING.submit(work).result()


def by_turns(steps: Iterator[_T]) -> Generator[_T, None, None]:
    """Makes each step of a long run wait for its turn, so that a panel is served between two batches.

    Args:
        steps: does its work when the next value is asked for; closed when this is closed

    Yields:
        its values
    """
    end = object()
    try:
        while True:
            value = in_turn(lambda: next(steps, end))
            if value is end:
                return
            yield value  # type: ignore[misc]  # not the mark of the end
    finally:
        close = getattr(steps, "close", None)
        if close is not None:
            in_turn(close)  # who stops waiting, by Ctrl-C, does not stop the step that runs


@lru_cache(maxsize=2)
def backbone(name: str) -> Backbone:
    """Gives a loaded CLIP; ask for it :func:`in_turn`."""
    from fiftyone_resclip.clip.backbone import Backbone

    return Backbone.load(name)


@lru_cache(maxsize=1)
def playground(name: str) -> Playground:
    """Gives the playground over the shared CLIP; ask for it :func:`in_turn`."""
    from fiftyone_resclip.explore.playground import Playground
    from fiftyone_resclip.presets import default_config

    return Playground(backbone(name), default_config(name))


def model(name: str, settings: Mapping[str, Any], vocabulary: Vocabulary) -> ResCLIPModel:
    """Gives a model of its own over the shared CLIP; ask for it :func:`in_turn`.

    Args:
        name: of ``presets.MODELS``
        settings: what differs from the model's defaults, by the names of ``ResCLIPConfig``
        vocabulary: the classes

    Returns:
        a FiftyOne model

    Raises:
        ConfigError: if a setting is out of range
        BackboneError: if the model or its weights can't be had
    """
    from fiftyone_resclip.model import make_model
    from fiftyone_resclip.presets import default_config

    return make_model(backbone(name), vocabulary, default_config(name).varied(settings))
