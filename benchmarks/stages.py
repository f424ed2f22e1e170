"""Measures how long each stage of a prediction takes, by timing the method's functions from outside."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any
from unittest.mock import patch

from benchmarks.timing import seconds
from fiftyone_resclip import segmenter
from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.core import feedback
from fiftyone_resclip.core.kernels import gathered_pamr

#: The stage of each function; time in a nested call to another of these functions counts for that function only.
STAGES: Sequence[tuple[str, Any, str]] = (
    ("trunk", Backbone, "trunk"),
    ("last block", segmenter.ResCLIP, "last_block"),
    ("PAMR", gathered_pamr.Refinement, "__init__"),
    ("PAMR", gathered_pamr.Refinement, "__call__"),
    ("patch labels", feedback, "patch_labels"),
    ("path rule", feedback, "agreement"),
    ("blur", feedback, "blurred_rows"),
    ("up-sampling, labels", segmenter, "label_map"),
    ("up-sampling, labels", segmenter, "stitch"),
)


@contextmanager
def stage_clock() -> Iterator[dict[str, float]]:
    """Times the stages of whatever runs inside.

    The clock waits for a GPU before and after each stage, so a prediction on a GPU takes longer than without the clock.

    Yields:
        seconds by stage, filled as it runs
    """
    spent: dict[str, float] = defaultdict(float)
    running: list[float] = []

    def timed(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def wrapper(*arguments: Any, **keywords: Any) -> Any:
            running.append(0.0)
            results: list[Any] = []
            total = seconds(lambda: results.append(function(*arguments, **keywords)))
            spent[stage] += total - running.pop()
            if running:
                running[-1] += total
            return results[0]

        return wrapper

    with ExitStack() as stack:
        for stage, owner, name in STAGES:
            stack.enter_context(patch.object(owner, name, timed(stage, getattr(owner, name))))
        yield spent


@contextmanager
def calls_of(owner: Any, name: str) -> Iterator[list[tuple[Any, ...]]]:
    """Keeps the positional arguments of each call of a method, without the instance."""
    calls: list[tuple[Any, ...]] = []
    original = getattr(owner, name)

    @wraps(original)
    def wrapper(instance: Any, *arguments: Any, **keywords: Any) -> Any:
        calls.append(arguments)
        return original(instance, *arguments, **keywords)

    with patch.object(owner, name, wrapper):
        yield calls
