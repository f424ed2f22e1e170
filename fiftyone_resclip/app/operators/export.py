"""The operator that writes masks to files, for CVAT and other annotation tools."""

from __future__ import annotations

from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_resclip.app.messages import plain, point_out, sentence, warn
from fiftyone_resclip.errors import DatasetError, ResCLIPError, StorageError, counted
from fiftyone_resclip.fields.schema import mask_fields

_CVAT = "cvat"


class Export(foo.Operator):  # type: ignore[misc]  # FiftyOne has no type information
    """Writes the masks of a field to files."""

    @property
    def config(self) -> foo.OperatorConfig:
        """How FiftyOne lists and runs the operator."""
        return foo.OperatorConfig(
            name="export",
            label="ResCLIP: export",
            description="Writes masks to files, for CVAT and other annotation tools",
            icon="file_download",
            risk_level="medium",
            dynamic=True,
            allow_immediate_execution=True,
            allow_delegated_execution=True,
        )

    def resolve_input(self, ctx: Any) -> types.Property:
        """Builds the form: the field, which of its masks, the format and the folder."""
        from fiftyone_resclip.labeling.exporting import FORMATS

        inputs = types.Object()
        try:
            ctx.target_view()  # FiftyOne adds its chooser of the target to forms that resolve it here
            field = _field(ctx)
            inputs.enum("label_field", mask_fields(ctx.dataset), default=field, required=False, label="Field of masks")
            inputs.bool("kept", default=False, required=False, label="Only masks that were kept in a review")
            forms = types.RadioGroup()
            for name, form in FORMATS.items():
                forms.add_choice(name, label=f"{name}: {form.meaning}")
            inputs.enum("format", list(FORMATS), default=_CVAT, required=False, label="Format", view=forms)
            where = "On the machine where the App's server runs; images are not copied"
            inputs.str("folder", required=True, label="Folder", description=where)
            inputs.bool("overwrite", default=False, required=False, label="Replace files of an earlier export")
            if ctx.params.get("folder"):
                _check(inputs, ctx)
        except Exception as error:
            warn(inputs, "problem", sentence(error)).invalid = True
        return types.Property(inputs, view=types.View(label="ResCLIP: export", submit_button_label="Export"))

    @plain
    def execute(self, ctx: Any) -> dict[str, Any]:
        """Writes the files, and says where they are."""
        from fiftyone_resclip.labeling.exporting import FORMATS

        folder, form, overwrite = _given(ctx)
        if not folder.strip():
            raise StorageError("choose a folder to export to")
        images = self(_samples(ctx), _field(ctx), folder, form, overwrite=overwrite)
        ctx.ops.notify(f"Masks of {counted(images, 'image')} are in {folder}: {FORMATS[form].file}", variant="success")
        return {"images": images, "file": FORMATS[form].file}

    def __call__(self, samples: Any, label_field: str, folder: str, format: str = _CVAT, *, overwrite: bool = False) -> int:
        """Does the same as :func:`fiftyone_resclip.export`."""
        from fiftyone_resclip.labeling.exporting import export

        return export(samples, label_field, folder, format, overwrite=overwrite)


def _field(ctx: Any) -> str:
    fields = mask_fields(ctx.dataset)
    if not fields:
        raise DatasetError("there are no masks yet; ResCLIP: segment makes some")
    return str(ctx.params.get("label_field") or next((name for name in fields if "resclip" in name), fields[0]))


def _given(ctx: Any) -> tuple[str, str, bool]:
    """Returns the folder, the format, and whether files there are replaced."""
    return ctx.params.get("folder") or "", ctx.params.get("format") or _CVAT, bool(ctx.params.get("overwrite"))


def _samples(ctx: Any) -> Any:
    from fiftyone_resclip.explore import review

    return review.kept(ctx.target_view(), _field(ctx)) if ctx.params.get("kept") else ctx.target_view()


def _check(inputs: types.Object, ctx: Any) -> None:
    """Shows what would keep the export from starting, beside the input that can mend it."""
    from fiftyone_resclip.labeling.exporting import check

    folder, form, overwrite = _given(ctx)
    try:
        check(_samples(ctx), _field(ctx), folder, form, overwrite=overwrite)
    except ResCLIPError as error:
        point_out(inputs, "folder" if isinstance(error, StorageError) else "label_field", str(error))
