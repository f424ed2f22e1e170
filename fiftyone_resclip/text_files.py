"""Reads the small text files that a user names: class lists and model configs."""

from __future__ import annotations

from pathlib import Path

#: The largest file that is read, in bytes.
LARGEST = 2**20


def read_text(path: Path) -> str:
    """Reads a text file whole.

    Args:
        path: a regular file in UTF-8; links are followed, pipes and devices are refused, because reading them may never end

    Returns:
        its content, without a byte order mark

    Raises:
        ValueError: if it can't be read; the message gives the reason in a few words and never quotes the content
    """
    try:
        if not path.is_file():
            raise ValueError("it is not a regular file" if path.exists() else "it does not exist")
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise ValueError(error.strerror or "it can't be read") from error
    if len(content) > LARGEST:
        raise ValueError(f"it is larger than {LARGEST // 2**20} MiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
