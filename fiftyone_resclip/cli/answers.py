"""How commands answer: a text for people or JSON for programs on stdout, a progress bar on stderr."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import click

if TYPE_CHECKING:
    from fiftyone_resclip.labeling.batches import LabelingReport


class Answer(NamedTuple):
    """What a command found or did.

    Attributes:
        text: for people
        data: the same as plain JSON values
        exit_code: 0, or 1 if something that was asked for could not be done
    """

    text: str
    data: Any
    exit_code: int = 0


def answering(command: Callable[..., Answer]) -> Callable[..., int]:
    """Adds the option ``--json`` to a command and prints its answer; with ``--json``, all else that is printed goes to stderr."""

    @click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
    @functools.wraps(command)
    def printed(*args: Any, as_json: bool, **kwargs: Any) -> int:
        with contextlib.redirect_stdout(_ToStderr()) if as_json else contextlib.nullcontext():
            answer = command(*args, **kwargs)
        click.echo(json.dumps(answer.data, indent=2, ensure_ascii=False) if as_json else answer.text)
        return answer.exit_code

    return printed


class _ToStderr(io.TextIOBase):
    """Writes to stderr. Stdout must not be stderr itself: FiftyOne's progress bars replace handlers of logs that write there."""

    def write(self, text: str) -> int:
        """Writes text."""
        return sys.stderr.write(text)

    def flush(self) -> None:
        """Writes what stderr holds back."""
        sys.stderr.flush()

    def isatty(self) -> bool:
        """Returns whether stderr is a terminal."""
        return sys.stderr.isatty()


@contextlib.contextmanager
def progress_bar(title: str) -> Iterator[Callable[[LabelingReport], None]]:
    """Shows how far labelling is; on stderr, and only in a terminal.

    Args:
        title: what is under way

    Yields:
        a function for ``label(progress=...)``
    """
    with click.progressbar(length=1, label=title, file=sys.stderr, show_pos=True) as bar:

        def show(report: LabelingReport) -> None:
            bar.length = report.total
            bar.update(report.done - bar.pos)

        yield show
