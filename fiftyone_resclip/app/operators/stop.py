"""The operator that stops labelling and keeps what is done."""

from __future__ import annotations

from typing import Any

import fiftyone.operators as foo

from fiftyone_resclip.app.messages import plain
from fiftyone_resclip.labeling import runs

STOP_URI = "@fiftyone-resclip/resclip/stop"


class Stop(foo.Operator):  # type: ignore[misc]  # FiftyOne has no type information
    """Asks the labelling runs of the open dataset to end after the batch they are at."""

    @property
    def config(self) -> foo.OperatorConfig:
        """How FiftyOne lists and runs the operator."""
        return foo.OperatorConfig(
            name="stop", label="ResCLIP: stop", description="Ends labelling after the current batch; what is done is kept"
        )

    @plain
    def execute(self, ctx: Any) -> None:
        """Asks for the end and says how many runs were asked."""
        count = self(ctx.dataset)
        ctx.ops.notify(f"Stopping {count} run(s); what is done is kept" if count else "Nothing is being labelled")

    def __call__(self, dataset: Any) -> int:
        """Stops the runs of a dataset from Python.

        Args:
            dataset: a FiftyOne dataset

        Returns:
            how many runs were asked to end
        """
        return runs.stop_all(dataset)
