"""Turns errors into one plain sentence for the user of the App; the stack trace goes to the server's log."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from typing import Any

from fiftyone_resclip.errors import ResCLIPError

logger = logging.getLogger(__name__)


def sentence(error: Exception) -> str:
    """Describes an error in one sentence; logs the stack trace of an unexpected one.

    Args:
        error: any error; the message of a ``ResCLIPError`` is used as it is

    Returns:
        one sentence, without the stack trace
    """
    if isinstance(error, ResCLIPError):
        return str(error)
    logger.error("Failed in the App", exc_info=error)
    return f"unexpected error ({type(error).__name__}: {' '.join(str(error).split())[:200]}); see the server's log"


def plain_steps(method: Callable[[Any, Any], Iterator[Any]]) -> Callable[[Any, Any], Iterator[Any]]:
    """Makes a generator operator's ``execute`` notify the user of an error; a delegated run still raises it."""

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
    """Makes an operator's ``execute`` or a panel's event handler notify the user of an error; a delegated run still raises it."""

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
