"""The operator that labels a dataset, a view or a selection from the App."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_resclip.config import MODELS
from fiftyone_resclip.errors import ResCLIPError
from fiftyone_resclip.vocabulary import Vocabulary

if TYPE_CHECKING:
    from fiftyone_resclip.labeling import LabelingReport
    from fiftyone_resclip.model import ResCLIPModel

_DEFAULT_MODEL = "resclip-vit-b-16"
_DEFAULT_FIELD = "resclip"
_ONE_AT_A_TIME = Lock()  # the server runs operators in threads that share the cached model


class Segment(foo.Operator):  # type: ignore[misc]  # FiftyOne has no type information
    """Labels the target view with masks for classes in words."""

    @property
    def config(self) -> foo.OperatorConfig:
        """How FiftyOne lists and runs the operator."""
        return foo.OperatorConfig(
            name="segment",
            label="ResCLIP: segment",
            description="Masks for your classes, in words, without training",
            dynamic=True,
            execute_as_generator=True,
            allow_immediate_execution=True,
            allow_delegated_execution=True,
        )

    def resolve_input(self, ctx: Any) -> types.Property:
        """Gives the form: target, classes, field, model."""
        inputs = types.Object()
        count = len(ctx.target_view())  # resolving the target here makes FiftyOne add its chooser
        inputs.view("target", types.Notice(label=f"{count} images"))
        inputs.str(
            "classes",
            required=True,
            label="Classes",
            description="Parted by commas or one per line; a line 'car: car, sedan, taxi' gives a class several phrases",
            view=types.TextFieldView(multiline=True),
        )
        inputs.str("label_field", default=_DEFAULT_FIELD, required=False, label="Field for the masks")
        inputs.enum("model", list(MODELS), default=_DEFAULT_MODEL, required=False, label="Model")
        inputs.bool("overwrite", default=False, required=False, label="Label again what has a label")
        problem = _problem_with(ctx.params.get("classes"))
        if problem:
            inputs.view("problem", types.Warning(label=problem))
        return types.Property(inputs, view=types.View(label="ResCLIP: segment"))

    def execute(self, ctx: Any) -> Iterator[Any]:
        """Labels batch by batch; each batch is saved when it is done. Yields progress for the App."""
        from fiftyone_resclip import labeling

        field = ctx.params.get("label_field") or _DEFAULT_FIELD
        try:
            with _ONE_AT_A_TIME:
                model = _model(ctx.params.get("model") or _DEFAULT_MODEL, ctx.params.get("classes") or "")
                overwrite = bool(ctx.params.get("overwrite"))
                for report in labeling.iter_label(ctx.target_view(), model, field, overwrite=overwrite):
                    yield _progress(ctx, report)
        except ResCLIPError as error:
            yield ctx.ops.notify(str(error), variant="error")
            return
        yield ctx.ops.reload_dataset()
        yield ctx.ops.set_active_fields([field])
        yield ctx.ops.notify(str(report), variant="warning" if report.failures else "success")

    def __call__(
        self,
        samples: Any,
        classes: Any,
        label_field: str = _DEFAULT_FIELD,
        model: str = _DEFAULT_MODEL,
        overwrite: bool = False,
    ) -> LabelingReport:
        """Labels a collection from Python.

        Args:
            samples: a FiftyOne dataset or view of images
            classes: as :meth:`fiftyone_resclip.Vocabulary.parse`
            label_field ("resclip"): where the masks go
            model ("resclip-vit-b-16"): as :func:`fiftyone_resclip.load_model`
            overwrite (False): whether samples that have a mask get a new one

        Returns:
            the report
        """
        from fiftyone_resclip import labeling
        from fiftyone_resclip.model import load_model

        return labeling.label(samples, load_model(model, classes), label_field, overwrite=overwrite)


def _progress(ctx: Any, report: LabelingReport) -> Any:
    share = report.done / report.total if report.total else 1.0
    show = ctx.set_progress if ctx.delegated else ctx.ops.set_progress
    return show(progress=share, label=f"{report.done} of {report.total} images")


@lru_cache(maxsize=1)
def _model(name: str, classes: str) -> ResCLIPModel:
    from fiftyone_resclip.model import load_model

    return load_model(name, classes)


def _problem_with(classes: str | None) -> str | None:
    try:
        if classes:
            Vocabulary.parse(classes)
    except ResCLIPError as error:
        return str(error)
    return None
