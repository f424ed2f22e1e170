"""Turns errors into one plain sentence for the user of the App, and shows names and sentences as they are.

The App renders labels, notices and tables as Markdown, which can load pictures from other hosts. It does not render notifications
and the choices of a list.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Callable
from typing import Any

from fiftyone.operators import types

from fiftyone_resclip.errors import ResCLIPError

logger = logging.getLogger(__name__)

#: What starts a construct of Markdown within a line; an underscore inside a word is harmless.
_INLINE = re.compile(r"[\\`*\[\]<&~|]|(?<!\w)_|_(?!\w)", re.ASCII)
#: What starts one at the start of a line: headings, quotes, lists and rules.
_LEADING = re.compile(r"\A(?:[#>=]|[+-](?=[ -]|\Z)|\d{1,9}(?=[.)](?: |\Z)))", re.ASCII)
#: Where the App would find a web or mail address even after a backslash; an invisible character prevents that.
_ADDRESS = re.compile(r"(?<=:)(?=//)|(?<=www)(?=\.)|(?=@)", re.IGNORECASE)
_INVISIBLE = "\N{WORD JOINER}"


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


def verbatim(text: str) -> str:
    """Escapes text, so that the App shows it unchanged where it renders Markdown.

    Args:
        text: any text, such as the name of a class

    Returns:
        one line of Markdown without formatting, links, pictures, HTML or cells of a table
    """
    line = _INLINE.sub(r"\\\g<0>", " ".join(text.split()))
    line = _LEADING.sub(lambda found: f"\\{found[0]}" if not found[0][0].isdigit() else f"{found[0]}\\", line)
    return _ADDRESS.sub(_INVISIBLE, line)


def warn(inputs: types.Object, name: str, text: str) -> types.Property:
    """Adds a warning to a form or panel.

    Args:
        inputs: the inputs of the form or panel
        name: the name of the part
        text: the warning, shown unchanged

    Returns:
        the part; set its ``invalid`` to keep a form from running
    """
    return inputs.view(name, types.Warning(label=verbatim(text)))


def point_out(inputs: types.Object, name: str, problem: str) -> None:
    """Shows a mistake beside the input that is to blame, or as a warning if the form does not show that input.

    Args:
        inputs: the inputs of the form
        name: the name of the input
        problem: one sentence
    """
    part = inputs.properties.get(name)
    if part is None:
        warn(inputs, f"problem_{name}", problem).invalid = True
    elif not part.invalid:
        part.invalid, part.error_message = True, problem


def answering(method: Callable[[Any, Any], dict[str, Any]]) -> Callable[[Any, Any], dict[str, Any]]:
    """Makes a handler that answers a component in the browser return an error as a sentence, under ``"problem"``."""

    @functools.wraps(method)
    def handler(owner: Any, ctx: Any) -> dict[str, Any]:
        try:
            return method(owner, ctx)
        except Exception as error:
            return {"problem": sentence(error)}

    return handler


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
