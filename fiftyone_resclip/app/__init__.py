"""The App's operators and panels. They contain forms only; other packages do the work.

FiftyOne loads the plugin often, and in its server, so nothing here imports torch before an operator runs.
"""

from __future__ import annotations

from typing import Any

from fiftyone_resclip import __version__


def register(plugin: Any) -> None:
    """Registers the operators and panels that ``fiftyone.yml`` lists, or one that says what to install.

    Args:
        plugin: FiftyOne's plugin context
    """
    from fiftyone_resclip.app.missing import absent_requirements, register_explanation, warn_of_two_versions

    absent = absent_requirements(plugin)
    if absent:
        register_explanation(plugin, absent)
        return
    definition = plugin.plugin_definition
    warn_of_two_versions(definition.directory, definition.version, __version__)
    import fiftyone_resclip.evaluation.method  # noqa: F401  # so that FiftyOne's own "evaluate model" finds our method by name
    from fiftyone_resclip.app.operators.evaluate import Evaluate
    from fiftyone_resclip.app.operators.export import Export
    from fiftyone_resclip.app.operators.improve import Improve
    from fiftyone_resclip.app.operators.runs import Runs
    from fiftyone_resclip.app.operators.segment import Segment
    from fiftyone_resclip.app.operators.stop import Stop
    from fiftyone_resclip.app.operators.summarize import Summarize
    from fiftyone_resclip.app.operators.use_kept import UseKept
    from fiftyone_resclip.app.operators.verdicts import Discard, FixLater, Keep, UndoReview
    from fiftyone_resclip.app.panels.error_explorer import ErrorExplorer
    from fiftyone_resclip.app.panels.labelling import Labelling
    from fiftyone_resclip.app.panels.playground import Playground
    from fiftyone_resclip.app.panels.review import Review

    operators = (Segment, Stop, Evaluate, Keep, Discard, FixLater, UndoReview, UseKept, Improve, Runs, Summarize, Export)
    for part in (*operators, Playground, Labelling, ErrorExplorer, Review):
        plugin.register(part)
