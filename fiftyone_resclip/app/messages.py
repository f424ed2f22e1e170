"""What goes wrong reaches the user of the App as one plain sentence; the stack goes to the server's log."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from typing import Any

from fiftyone_resclip.errors import ResCLIPError

logger = logging.getLogger(__name__)


def sentence(error: Exception) -> str:
    """Says what went wrong.

    Args:
        error: one of ours, which is a sentence already, or any other

    Returns:
        one sentence, without a stack
    """
    if isinstance(error, ResCLIPError):
        return str(error)
    logger.error("Failed in the App", exc_info=error)
    return f"this should not have happened ({type(error).__name__}: {' '.join(str(error).split())[:200]}); see the server's log"


def plain_steps(method: Callable[[Any, Any], Iterator[Any]]) -> Callable[[Any, Any], Iterator[Any]]:
    """Makes a generator operator's ``execute`` end with a notification instead of an exception; a delegated one still fails."""

    @functools.wraps(method)
    def execute(operator: Any, ctx: Any) -> Iterator[Any]:
        try:
            yield from method(operator, ctx)
        except Exception as error:
            if ctx.delegated:
                raise
            yield ctx.ops.notify(sentence(error), variant="error")

    return execute


def plain(method: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Makes an operator's ``execute`` or a panel's event end with a notification; a delegated one still fails."""

    @functools.wraps(method)
    def handler(owner: Any, ctx: Any) -> Any:
        try:
            return method(owner, ctx)
        except Exception as error:
            if ctx.delegated:
                raise
            ctx.ops.notify(sentence(error), variant="error")
            return None

    return handler
