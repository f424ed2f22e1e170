"""Makes what documents quote: ``python -m benchmarks.readme DOCUMENT ... RESULTS``.

That is the tables of the measured results, and what the Python between two comments ``<!-- python -->`` prints.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
import tempfile
from pathlib import Path

from benchmarks import evidence, pipeline, speed
from fiftyone_resclip.doors import own_database

#: The function that makes the table of each results file. In a document, two comments that name the file enclose the table.
TABLES = {"speed.json": speed.table, "pipeline.json": pipeline.table, "evidence.json": evidence.table}


def with_tables(text: str, benchmarks: Path) -> str:
    """Puts the measured tables in their places.

    Args:
        text: the text of a document
        benchmarks: folder of the results files

    Returns:
        the text with new tables, otherwise unchanged
    """
    for name, table in TABLES.items():
        rows = table(json.loads((benchmarks / name).read_text(encoding="utf-8"))["cases"])
        text = re.sub(f"(?<=<!-- {name} -->\n).*?(?=\n<!-- /{name} -->)", rows, text, flags=re.DOTALL)
    return text


def python_of(text: str) -> str | None:
    """Returns the Python that a document runs; ``None`` if it runs none."""
    found = re.search("(?<=<!-- python -->\n```python\n).*?(?=```\n)", text, flags=re.DOTALL)
    return found and found[0]


def printed_by(code: str) -> str:
    """Runs Python in an empty folder with the pictures of the demo, and returns what it prints, without the time it took."""
    import fiftyone as fo

    from fiftyone_resclip import demo

    before, out, bars = Path.cwd(), io.StringIO(), fo.config.show_progress_bars
    fo.config.show_progress_bars = False
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            demo.make_dataset(Path("demo"), n_images=40).delete()
            with contextlib.redirect_stdout(out):
                exec(compile(code, "README.md", "exec"), {})
        finally:
            os.chdir(before)
            fo.config.show_progress_bars = bars
    return re.sub(r" in \d+ s\b", "", out.getvalue())


def with_output(text: str) -> str:
    """Puts what a document's Python prints below it.

    Args:
        text: the text of a document

    Returns:
        the text with the output, otherwise unchanged
    """
    code = python_of(text)
    if code is None:
        return text
    block = f"```text\n{printed_by(code)}```"
    return re.sub("(?<=<!-- output -->\n).*?(?=\n<!-- /output -->)", lambda _: block, text, flags=re.DOTALL)


if __name__ == "__main__":
    *documents, folder = (Path(argument) for argument in sys.argv[1:])
    own_database.use()  # never the user's own
    for document in documents:
        text = with_tables(document.read_text(encoding="utf-8"), folder)
        document.write_text(with_output(text), encoding="utf-8")
