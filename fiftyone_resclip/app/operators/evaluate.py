"""The operator that evaluates a field of masks from the App."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_resclip.app import colours
from fiftyone_resclip.app.forms import selection
from fiftyone_resclip.app.messages import plain, point_out, sentence, verbatim, warn
from fiftyone_resclip.app.operators import launch
from fiftyone_resclip.errors import ConfigError, DatasetError, counted
from fiftyone_resclip.evaluation.void import AUTO, DEFAULT_VALUE, Ignored, parse_void
from fiftyone_resclip.fields.names import checked
from fiftyone_resclip.fields.schema import colour_labels, mask_fields
from fiftyone_resclip.fields.slices import image_slices, select_slice

if TYPE_CHECKING:
    from fiftyone_resclip.evaluation.matching import ClassMatch
    from fiftyone_resclip.evaluation.results import SemanticEvaluationResults

_DEFAULT_TRUTH = "ground_truth"
_NOTHING = "(counts as unlabelled)"
_SHOWN = 30


class Evaluate(foo.Operator):  # type: ignore[misc]  # FiftyOne has no type information
    """Evaluates masks against ground truth. Its form shows how the classes match, and lets the user change it."""

    @property
    def config(self) -> foo.OperatorConfig:
        """How FiftyOne lists and runs the operator."""
        return foo.OperatorConfig(
            name="evaluate",
            label="ResCLIP: evaluate",
            description="Dataset-wide mIoU against ground truth, and where it comes from",
            icon="fact_check",
            risk_level="medium",
            dynamic=True,
            allow_immediate_execution=True,
            allow_delegated_execution=True,
        )

    def resolve_input(self, ctx: Any) -> types.Property:
        """Builds the form: the two fields, void values, matching classes and the name of the run."""
        inputs = types.Object()
        try:
            samples = _target(ctx)  # FiftyOne adds its chooser of the target to forms that resolve it here
            inputs.view("count", types.Notice(label=f"{len(samples)} of {len(ctx.dataset)} images will be evaluated."))
            selection.ask(inputs, ctx)
            _ask_fields(inputs, ctx)
            _ask_counting(inputs, ctx.params)
            _ask_mapping(inputs, ctx.params, _match(samples, ctx.params, with_mapping=False), _match(samples, ctx.params))
            _ask_key(inputs, ctx)
        except Exception as error:
            if not any(part.invalid for part in inputs.properties.values()):  # said beside its input
                warn(inputs, "problem", sentence(error)).invalid = True
        return types.Property(inputs, view=types.View(label="ResCLIP: evaluate"))

    @plain
    def execute(self, ctx: Any) -> dict[str, Any] | None:
        """Evaluates, saves the run and opens it in the error explorer."""
        params, samples = ctx.params, _target(ctx)
        pred_field, gt_field = _fields(samples, params)
        key = _key(samples, params)
        settings = _settings(params, _match(samples, params, with_mapping=False))
        results = self(samples, pred_field, gt_field, key, overwrite=bool(params.get("overwrite")), **settings)
        colour_labels(ctx.dataset)
        ctx.ops.reload_dataset()
        colours.show(ctx)
        ctx.ops.notify(f"{key}: {_headline(results)}", variant="success")
        if not ctx.delegated:
            launch.open_panel(ctx, launch.ERRORS_PANEL, eval_key=key)
        return {"eval_key": key, "miou": round(results.miou, 2), "pixel_accuracy": round(results.pixel_accuracy, 2)}

    def __call__(
        self,
        samples: Any,
        pred_field: str = "resclip",
        gt_field: str = _DEFAULT_TRUTH,
        eval_key: str | None = None,
        **settings: Any,
    ) -> SemanticEvaluationResults:
        """Evaluates from Python.

        Args:
            samples: a FiftyOne dataset or view
            pred_field ("resclip"): predicted masks
            gt_field ("ground_truth"): true masks
            eval_key (None): the name to save the run under
            **settings: as in :func:`fiftyone_resclip.evaluate`

        Returns:
            the results
        """
        from fiftyone_resclip.evaluation.evaluate import evaluate

        return evaluate(samples, pred_field, gt_field, eval_key, **settings)


def _target(ctx: Any) -> Any:
    """The samples to evaluate; for groups, those of the visible slice."""
    samples = ctx.target_view()
    return select_slice(samples, ctx.group_slice if ctx.group_slice in image_slices(samples) else None)


def _ask_fields(inputs: types.Object, ctx: Any) -> None:
    fields = mask_fields(ctx.dataset, frames=True)
    if len(fields) < 2:
        raise DatasetError(
            f"an evaluation needs two fields of masks, predicted and true, but the dataset has {fields or 'none'}; label it first"
        )
    pred_field, gt_field = _fields(ctx.dataset, ctx.params)
    inputs.enum("pred_field", fields, default=pred_field, required=False, label="Prediction")
    inputs.enum("gt_field", fields, default=gt_field, required=False, label="Ground truth")


def _ask_counting(inputs: types.Object, params: Mapping[str, Any]) -> None:
    inputs.str(
        "void",
        default=str(DEFAULT_VALUE),
        required=False,
        label="Void values",
        description="Values of the ground truth to ignore, separated by commas",
    )
    inputs.bool("include_background", default=True, required=False, label="Include the background in means over classes")
    inputs.bool(
        "boundary",
        default=False,
        required=False,
        label="Boundary IoU",
        description="Within 2 % of the diagonal from a border; slower",
    )
    try:
        _void(params)
    except ConfigError as error:
        point_out(inputs, "void", str(error))


def _ask_mapping(inputs: types.Object, params: Mapping[str, Any], by_names: ClassMatch, match: ClassMatch) -> None:
    """Shows the classes that match by name, and asks for a partner for each other class, or for all classes if the user wants."""
    alone = [name for name, partner in by_names.partners.items() if partner is None]
    by_name = [name for name in by_names.partners if name not in alone]
    inputs.bool("edit_mapping", default=False, required=False, label="Change the matching classes")
    inputs.md(f"**{counted(len(by_name), 'class')} in both**: {verbatim(_listed(by_name))}", name="matched")
    for name in match.partners if params.get("edit_mapping") else alone[:_SHOWN]:
        default = match.partners[name] or _NOTHING
        inputs.enum(
            _input_of(by_names, name),
            [_NOTHING, *match.class_names],
            default=default,
            required=False,
            label=f"{verbatim(name)} is",
        )
    if match.never_predicted:
        lost = f"No predicted class matches: {_listed(match.never_predicted)}. All of their pixels will count as missed."
        warn(inputs, "never_predicted", lost).invalid = not any(match.partners.values())


def _ask_key(inputs: types.Object, ctx: Any) -> None:
    fresh = _new_key(ctx.dataset, _fields(ctx.dataset, ctx.params)[0])
    inputs.str("eval_key", default=fresh, required=False, label="Name of this evaluation")
    key = str(ctx.params.get("eval_key") or fresh)
    if ctx.dataset.has_evaluation(key):
        inputs.bool("overwrite", default=False, required=False, label=verbatim(f"Replace the evaluation {key!r}"))
    try:
        _key(ctx.dataset, ctx.params)
    except DatasetError as error:
        point_out(inputs, "eval_key", str(error))


def _fields(samples: Any, params: Mapping[str, Any]) -> tuple[str, str]:
    """The chosen fields of prediction and ground truth; where none is chosen, the most likely one."""
    fields = mask_fields(samples, frames=True)
    likely = [name for name in fields if name.removeprefix("frames.") in (_DEFAULT_TRUTH, "gt")] or fields
    gt_field = checked(params.get("gt_field") or next(iter(likely), _DEFAULT_TRUTH), "field")
    others = sorted((name for name in fields if name != gt_field), key=lambda name: "resclip" not in name)
    return checked(params.get("pred_field") or next(iter(others), "resclip"), "field"), gt_field


def _match(samples: Any, params: Mapping[str, Any], with_mapping: bool = True) -> ClassMatch:
    from fiftyone_resclip.evaluation.matching import match_classes

    fields = _fields(samples, params)
    plain_match = match_classes(samples, *fields, _void(params), require_common=False)
    mapping = _mapping(params, plain_match) if with_mapping else None
    return match_classes(samples, *fields, _void(params), mapping, require_common=False)


def _mapping(params: Mapping[str, Any], match: ClassMatch) -> dict[str, str | None]:
    """The pairs of classes that the user changed in the form."""
    chosen = {name: params.get(_input_of(match, name)) for name in match.partners}
    wanted = {name: None if value == _NOTHING else value for name, value in chosen.items() if value}
    return {name: partner for name, partner in wanted.items() if partner != match.partners[name]}


def _settings(params: Mapping[str, Any], match: ClassMatch) -> dict[str, Any]:
    return {
        "ignore_index": _void(params),
        "mapping": _mapping(params, match) or None,
        "include_background": params.get("include_background", True),
        "boundary": 0.02 if params.get("boundary") else None,
        "progress": False,
    }


def _void(params: Mapping[str, Any]) -> Ignored:
    text = params.get("void")
    if text is None or text.strip() == str(DEFAULT_VALUE):  # a typed 255 can't be told apart from the default
        return AUTO
    return parse_void(text)


def _input_of(match: ClassMatch, name: str) -> str:
    """The name of the input for a class. It is a hash of the fields and the class.

    A form keeps the values of inputs that it no longer shows, so each pair of fields needs its own names. Class names may contain
    any character.
    """
    text = "\n".join((match.pred_field.name, match.truth_field.name, name))
    return f"class_{hashlib.blake2b(text.encode(), digest_size=6).hexdigest()}"


def _key(samples: Any, params: Mapping[str, Any]) -> str:
    """The chosen name of the run; where none is chosen, a new one."""
    key = checked(params.get("eval_key") or _new_key(samples, _fields(samples, params)[0]), "run")
    if not key.isidentifier():
        raise DatasetError(
            f"the name of an evaluation must be letters, digits and underscores and not start with a digit, but got {key!r}"
        )
    if samples.has_evaluation(key) and not params.get("overwrite"):
        raise DatasetError(f"an evaluation {key!r} already exists; choose another name or replace it")
    return key


def _new_key(samples: Any, pred_field: str) -> str:
    base = re.sub(r"\W", "_", f"{pred_field.removeprefix('frames.')}_eval")
    base = base if base.isidentifier() else f"run_{base}"
    taken = set(samples.list_evaluations())
    return next(key for number in range(1, len(taken) + 2) if (key := base if number == 1 else f"{base}_{number}") not in taken)


def _listed(names: Any) -> str:
    names = list(names)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more or "none"


def _headline(results: SemanticEvaluationResults) -> str:
    notes = f"; {len(results.notes())} notes on what was ignored or changed" if results.notes() else ""
    return f"{results.headline}{notes}"
