"""The part of a form that asks where the masks go, and what happens to those that are there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fiftyone.operators import types

from fiftyone_resclip.app.messages import verbatim
from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.fields.mask_files import check_writable

if TYPE_CHECKING:
    from fiftyone_resclip.labeling.plan import Plan

DEFAULT_FIELD = "resclip"
_DATABASE, _DISK = "database", "disk"
_EXISTING = {
    "skip": "skip images that have a mask",
    "overwrite": "replace their masks",
    "new field": "put the masks into a new field",
}


def ask(inputs: types.Object, params: Mapping[str, Any]) -> None:
    """Adds the inputs for field and folder to a form."""
    inputs.str("label_field", default=DEFAULT_FIELD, required=False, label="Field for the masks")
    places = types.RadioGroup(orientation="horizontal")
    inputs.enum("store", [_DATABASE, _DISK], default=_DATABASE, required=False, label="Store the masks in", view=places)
    if params.get("store") == _DISK:
        meaning = "One PNG file per sample, named after the sample's id"
        inputs.str("output_dir", required=True, label="Folder", description=meaning)


def ask_existing(inputs: types.Object, params: Mapping[str, Any], plan: Plan) -> None:
    """Asks what happens to masks in the field, if there are any or a new field was chosen because of them."""
    wanted = params.get("label_field") or DEFAULT_FIELD
    if not plan.skipped + plan.replaced and plan.label_field == wanted:
        return
    choices = types.RadioGroup(orientation="horizontal")
    for value, label in _EXISTING.items():
        choices.add_choice(value, label=label)
    told = f"{verbatim(repr(wanted))} already has masks"
    inputs.enum("existing", list(_EXISTING), default="skip", required=False, label=told, view=choices)


def ask_consent(inputs: types.Object, plan: Plan) -> None:
    """Says in red that masks will be replaced; if this package did not make them, asks for the name of their field."""
    if not plan.replaced:
        return
    inputs.view("replaces", types.Error(label=verbatim(f"This replaces {plan.replaced} masks of {plan.label_field!r}.")))
    if plan.is_foreign:
        label = verbatim(f"ResCLIP did not make the masks of {plan.label_field!r}. Type the name of the field to replace them")
        inputs.str("confirm_field", required=False, label=label)


def check_consent(params: Mapping[str, Any], plan: Plan) -> None:
    """Refuses to replace masks that this package did not make, unless the name of their field was typed again.

    Raises:
        DatasetError: if it was not
    """
    if plan.replaced and plan.is_foreign and params.get("confirm_field") != plan.label_field:
        raise DatasetError(
            f"the {plan.replaced} masks of {plan.label_field!r} were not made by ResCLIP and would be lost; "
            f"type {plan.label_field!r} to replace them, or choose another field"
        )


def output_dir(params: Mapping[str, Any]) -> str | None:
    """Returns the folder for the mask files; ``None`` if the database stores the masks."""
    return params.get("output_dir") if params.get("store") == _DISK else None


def check_folder(params: Mapping[str, Any]) -> None:
    """Refuses a folder that can't be written to, without making it.

    Raises:
        StorageError: if the folder, or the folder in which it would be made, can't be written to
        DatasetError: if no folder is given
    """
    if params.get("store") == _DISK:
        if not output_dir(params):
            raise DatasetError("masks on disk need a folder; enter its path")
        check_writable(Path(str(output_dir(params))).expanduser())
