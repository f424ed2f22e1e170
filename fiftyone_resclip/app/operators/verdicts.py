"""The operators of the review: one for each verdict on the open or selected samples, and undo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fiftyone.operators as foo

from fiftyone_resclip.app.messages import plain
from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.fields.names import checked

if TYPE_CHECKING:
    from fiftyone_resclip.explore.review_verdicts import Verdict


def field_in(ctx: Any, chosen: str | None = None) -> str:
    """Returns the field under review: the chosen one, else that of the latest verdict, else the likeliest predictions.

    Raises:
        DatasetError: if the dataset has no masks, or the chosen name is not text
    """
    from fiftyone_resclip.explore.review_history import latest_field
    from fiftyone_resclip.explore.review_pictures import reviewable

    if chosen:
        return checked(chosen, "field")
    fields = reviewable(ctx.dataset)
    if not fields:
        raise DatasetError("there are no masks to review yet; run 'ResCLIP: segment' first")
    latest = latest_field(ctx.dataset)
    return latest if latest in fields else fields[0]


def targets_in(ctx: Any) -> list[str]:
    """Returns the id of the open sample or, if none is open, the ids of the selected samples."""
    return [ctx.current_sample] if ctx.current_sample else list(ctx.selected)


class _Mark(foo.Operator):  # type: ignore[misc]  # FiftyOne has no type information
    """Marks the masks of the open or selected samples with a verdict."""

    verdict: Verdict
    icon: str

    @property
    def config(self) -> foo.OperatorConfig:
        """How FiftyOne lists and runs the operator."""
        name = self.verdict.replace(" ", "_")
        description = f"Marks the masks of the open or selected samples: {self.verdict}"
        return foo.OperatorConfig(
            name=name,
            label=f"ResCLIP: {self.verdict}",
            description=description,
            icon=self.icon,
            unlisted=True,
            risk_level="medium",
        )

    @plain
    def execute(self, ctx: Any) -> None:
        """Marks the samples and shows how many were marked."""
        ids = targets_in(ctx)
        if not ids:
            raise DatasetError("open or select the samples to review")
        field = field_in(ctx, ctx.params.get("label_field"))
        count = self(ctx.dataset, ids, field)
        ctx.ops.notify(
            f"{self.verdict}: {count} of {len(ids)} samples, field {field!r}", variant="success" if count else "warning"
        )
        ctx.ops.reload_dataset()

    def __call__(self, samples: Any, ids: list[str] | None = None, label_field: str = "resclip") -> int:
        """Marks samples from Python.

        Args:
            samples: a FiftyOne dataset or view
            ids (None): the ids of the samples to mark; by default all of ``samples``
            label_field ("resclip"): the masks under review

        Returns:
            how many samples were marked
        """
        from fiftyone_resclip.explore import review

        return review.mark(samples, label_field, samples.values("id") if ids is None else ids, self.verdict)


class Keep(_Mark):
    """Keeps the masks of the open or selected samples."""

    verdict = "keep"
    icon = "check"


class Discard(_Mark):
    """Discards the masks of the open or selected samples: they stay in their field, but are not copied."""

    verdict = "discard"
    icon = "close"


class FixLater(_Mark):
    """Marks the masks of the open or selected samples to be fixed later."""

    verdict = "fix later"
    icon = "build"


class UndoReview(foo.Operator):  # type: ignore[misc]
    """Undoes the last step of the review."""

    @property
    def config(self) -> foo.OperatorConfig:
        """How FiftyOne lists and runs the operator."""
        return foo.OperatorConfig(
            name="undo_review",
            label="ResCLIP: undo review",
            description="Undoes the last step of the review",
            icon="undo",
            unlisted=True,
            risk_level="medium",
        )

    @plain
    def execute(self, ctx: Any) -> None:
        """Undoes the last step and shows what was undone."""
        done = self(ctx.dataset, field_in(ctx, ctx.params.get("label_field")))
        ctx.ops.notify(done or "There is nothing to undo")
        ctx.ops.reload_dataset()

    def __call__(self, samples: Any, label_field: str = "resclip") -> str | None:
        """Undoes the last step from Python; see :func:`fiftyone_resclip.explore.review.undo`."""
        from fiftyone_resclip.explore import review

        return review.undo(samples, label_field)
