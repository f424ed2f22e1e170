"""The command ``fiftyone-resclip``. It imports torch and FiftyOne only when a command needs them.

Exit codes: 0 if the command did what was asked, 1 if it could not or found faults, 2 if the command line can't be read, 130 after
Ctrl-C.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        arguments (None): the command line; by default that of the process

    Returns:
        the exit code; errors are printed to stderr, in one sentence
    """
    line = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(line)
    except KeyboardInterrupt:  # also while modules are imported, which takes longest
        print("Stopped; what was saved is kept. To go on, run the same command again.", file=sys.stderr)
        return 130


def _run(line: list[str]) -> int:
    import click

    from fiftyone_resclip.cli.commands import NAME, commands
    from fiftyone_resclip.errors import ResCLIPError

    try:
        return int(commands.main(line, NAME, standalone_mode=False, obj=line) or 0)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ResCLIPError as error:
        click.echo(f"{type(error).__name__}: {error}", err=True)
        return 1
    except click.Abort:  # what click makes of Ctrl-C
        raise KeyboardInterrupt from None
