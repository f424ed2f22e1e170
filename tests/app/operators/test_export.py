"""*Export* says beside its inputs what it would refuse, and writes what it says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import pytest

from fiftyone_resclip.app.operators.export import Export
from fiftyone_resclip.explore import review
from fiftyone_resclip.labeling.label import label
from fiftyone_resclip.model import ResCLIPModel
from tests.app.conftest import notices, operator


def mistakes(form: Any) -> dict[str, str]:
    return {name: part.error_message for name, part in form.type.properties.items() if part.invalid}


@pytest.mark.usefixtures("installed")
def test_kept_masks_are_exported(
    make_dataset: Callable[..., fo.Dataset], fast_model: ResCLIPModel, make_context: Any, tmp_path: Path
) -> None:
    dataset, folder = make_dataset(3), str(tmp_path / "out")
    label(dataset, fast_model, progress=False)
    form = Export().resolve_input(make_context(dataset))
    assert not mistakes(form)
    assert [choice.value for choice in form.type.properties["format"].view.choices] == ["cvat", "coco", "masks"]
    none = mistakes(Export().resolve_input(make_context(dataset, folder=folder, kept=True)))
    assert list(none) == ["label_field"] and "at least one image" in none["label_field"]
    review.mark(dataset, "resclip", dataset.values("id")[:2], "keep")
    context = make_context(dataset, folder=folder, kept=True)
    assert not mistakes(Export().resolve_input(context))
    Export().execute(context)
    assert notices(context) == [("success", f"Masks of 2 images are in {folder}: annotations.xml")]
    assert (tmp_path / "out" / "annotations.xml").read_text().count("<image ") == 2
    again = mistakes(Export().resolve_input(make_context(dataset, folder=folder)))
    assert list(again) == ["folder"] and "exists already" in again["folder"]
    closed = mistakes(Export().resolve_input(make_context(dataset, folder="/proc/nowhere/cvat")))
    assert list(closed) == ["folder"] and "can't be written to" in closed["folder"]
    assert operator("export")(dataset, "ground_truth", folder, overwrite=True) == 3


def test_without_masks_or_a_folder_nothing_happens(make_dataset: Callable[..., fo.Dataset], make_context: Any) -> None:
    dataset = make_dataset(1)
    context = make_context(dataset, folder=" ")
    Export().execute(context)
    assert notices(context) == [("error", "choose a folder to export to")]
    dataset.delete_sample_field("ground_truth")
    assert "problem" in mistakes(Export().resolve_input(make_context(dataset)))
