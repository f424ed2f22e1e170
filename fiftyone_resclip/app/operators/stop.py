"""The operator that stops labelling runs; the masks made so far are kept."""

from __future__ import annotations

from typing import Any

import fiftyone.operators as foo

from fiftyone_resclip.app import background
from fiftyone_resclip.app.messages import plain


class Stop(foo.Operator):  # type: ignore[misc]  # FiftyOne has no type information
    """Tells the labelling runs of the open dataset to stop after their current batch."""

    @property
    def config(self) -> foo.OperatorConfig:
        """How FiftyOne lists and runs the operator."""
        return foo.OperatorConfig(
            name="stop",
            label="ResCLIP: stop",
            description="Stops labelling after the current batch; what is done is kept",
            icon="stop",
            unlisted=True,
            risk_level="medium",
        )

    @plain
    def execute(self, ctx: Any) -> None:
        """Stops the runs and shows how many there are."""
        count = self(ctx.dataset)
        ctx.ops.notify(f"Stopping {count} run{'s' * (count != 1)}; what is done is kept" if count else "No labelling is running")

    def __call__(self, dataset: Any) -> int:
        """Stops the runs of a dataset from Python.

        Args:
            dataset: a FiftyOne dataset

        Returns:
            how many runs were told to stop
        """
        return background.stop(dataset)
