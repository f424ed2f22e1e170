"""Lists the classes of masks of any origin, as labelling does for the masks that it makes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import fiftyone as fo
import numpy as np
from fiftyone.core.media import IMAGE
from pymongo.errors import ConnectionFailure

from fiftyone_resclip.errors import DatasetError, unknown
from fiftyone_resclip.evaluation.matching import MaskField
from fiftyone_resclip.fields import companions
from fiftyone_resclip.fields.class_counts import Counted
from fiftyone_resclip.fields.exclusive import exclusive
from fiftyone_resclip.fields.names import checked
from fiftyone_resclip.fields.patience import patiently
from fiftyone_resclip.fields.private import dataset_of, is_frames_view, root_dataset_of, write_labels
from fiftyone_resclip.fields.schema import mask_fields
from fiftyone_resclip.fields.values import value_codes
from fiftyone_resclip.labeling.pipelining import pipelined
from fiftyone_resclip.labeling.runs import run_of

_IMAGES_AT_ONCE = 16
_THREADS = 2
_FAILURES_SHOWN = 3

#: The id of a sample with its classes, or with the reason why its mask can't be read.
_Listed = tuple[str, fo.Classifications | str]


class Summarized(NamedTuple):
    """What :func:`summarize` did.

    Attributes:
        field: the field with the classes of each image
        images: images that were summarised
        skipped: images that had a summary already
        failures: reason by sample id, for masks that can't be read
    """

    field: str
    images: int
    skipped: int
    failures: dict[str, str]

    def __str__(self) -> str:
        skipped = f"; {self.skipped} had a summary already" if self.skipped else ""
        shown = list(self.failures.items())[:_FAILURES_SHOWN]
        failed = "".join(f"; sample {sample} was left out: {reason}" for sample, reason in shown)
        more = f"; and {len(self.failures) - len(shown)} more" if len(self.failures) > len(shown) else ""
        return f"the classes of {self.images} masks are in {self.field!r}{skipped}{failed}{more}"


def summarize(samples: Any, label_field: str = "resclip", *, overwrite: bool = False, progress: bool | None = None) -> Summarized:
    """Stores which classes the masks of a field have, so that the App filters by class and sorts by share.

    :func:`fiftyone_resclip.label` does this for its own masks, and then also knows the confidence of each class. This function
    serves ground truth, masks of other models, and masks that were edited.

    Args:
        samples: a FiftyOne dataset or view of images; for videos ``dataset.to_frames(sample_frames=True)``
        label_field ("resclip"): a field of masks with mask targets
        overwrite (False): whether images that have a summary get a new one, for example after their masks were edited
        progress (None): whether to show a progress bar; by default FiftyOne's setting

    Returns:
        what was done, with the name of the new field: ``<label_field>_classes``, with a number if another field has that name

    Raises:
        DatasetError: if the samples are not images, or the field does not hold masks or has no mask targets
    """
    checked(label_field, "field")
    if samples.media_type != IMAGE:
        raise DatasetError(f"samples must be images, but are of type {samples.media_type!r}; use to_frames(sample_frames=True)")
    if label_field not in mask_fields(samples):
        raise DatasetError(unknown("field of masks", label_field, mask_fields(samples)))
    masks, name = MaskField.of(samples, label_field), _declare(samples, label_field)
    labelled = samples.exists(label_field)
    ids = (labelled if overwrite else labelled.exists(name, False)).values("id")
    failures: dict[str, str] = {}
    steps = pipelined(
        ids,
        read=lambda sample: _list(samples, masks, sample),
        compute=lambda listed: listed,
        encode=lambda _, listed: listed,
        write=lambda listed: patiently(lambda: _write(samples, name, listed)),
        done=failures.update,
        batch_size=_IMAGES_AT_ONCE,
        threads=_THREADS,
    )
    with fo.ProgressBar(total=len(ids), progress=progress) as bar:
        for _ in steps:
            bar.update(min(_IMAGES_AT_ONCE, len(ids) - bar.iteration))
    return Summarized(name, len(ids) - len(failures), len(labelled) - len(ids), failures)


def _declare(samples: Any, label_field: str) -> str:
    """Declares the field of classes beside a field of masks, and returns its name in this collection."""
    dataset, of_frames = root_dataset_of(samples), is_frames_view(samples)
    field = f"frames.{label_field}" if of_frames else label_field
    with exclusive(dataset):
        run = run_of(dataset, field)
        owner = companions.owner_without_run(field) if run is None else run.file_mark
        name = companions.declare(dataset, field, owner, "classes").removeprefix("frames.")
    if of_frames:
        companions.declare_copy(dataset_of(samples), name, "classes")
    return name


def _list(samples: Any, field: MaskField, sample: str) -> _Listed:
    try:
        found = patiently(lambda: samples.select(sample).values(field.name))
        if not found or found[0] is None:
            return sample, "it was deleted meanwhile"
        values, codes = value_codes(field.read(found[0]))
    except ConnectionFailure:  # says nothing about the mask
        raise
    except Exception as error:  # a damaged mask in the database raises whatever its decoder raises
        return sample, str(error)
    pixels = np.bincount(codes.ravel(), minlength=len(values))
    names = {code: field.targets[value] for code, value in enumerate(values.tolist()) if value in field.targets}
    return sample, companions.classifications(Counted(pixels, np.full(len(pixels), np.nan)), names)


def _write(samples: Any, name: str, listed: Sequence[_Listed]) -> dict[str, str]:
    """Saves a batch; returns the reasons for those that could not be listed."""
    labels = {sample: {name: found} for sample, found in listed if not isinstance(found, str)}
    write_labels(samples if is_frames_view(samples) else dataset_of(samples), labels)
    return {sample: found for sample, found in listed if isinstance(found, str)}
