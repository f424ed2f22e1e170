"""Makes the tables of a document from the measured results: ``python -m benchmarks.readme DOCUMENT ... RESULTS``."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from benchmarks import evidence, pipeline, speed

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


if __name__ == "__main__":
    *documents, folder = (Path(argument) for argument in sys.argv[1:])
    for document in documents:
        document.write_text(with_tables(document.read_text(encoding="utf-8"), folder), encoding="utf-8")
