"""The App's operators and panels: forms only; the work lives below.

FiftyOne executes the entry often and in its server: nothing here imports torch before an operator runs.
"""

from __future__ import annotations

from typing import Any


def register(plugin: Any) -> None:
    """Registers everything that ``fiftyone.yml`` names.

    Args:
        plugin: FiftyOne's plugin context
    """
    import fiftyone_resclip.evaluation  # noqa: F401  # gives FiftyOne's own "evaluate model" our method by name
    from fiftyone_resclip.app.error_explorer import ErrorExplorer
    from fiftyone_resclip.app.evaluate import Evaluate
    from fiftyone_resclip.app.playground import Playground
    from fiftyone_resclip.app.review import Review
    from fiftyone_resclip.app.segment import Segment
    from fiftyone_resclip.app.stop import Stop
    from fiftyone_resclip.app.use_kept import UseKept
    from fiftyone_resclip.app.verdicts import Discard, FixLater, Keep, UndoReview

    operators = (Segment, Stop, Evaluate, Keep, Discard, FixLater, UndoReview, UseKept)
    for part in (*operators, Playground, ErrorExplorer, Review):
        plugin.register(part)
