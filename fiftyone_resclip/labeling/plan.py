"""Plans a labelling run: how many images, into which field, and how long it will take."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal, get_args

from fiftyone_resclip.errors import ConfigError, unknown
from fiftyone_resclip.fields import schema
from fiftyone_resclip.fields.private import dataset_of
from fiftyone_resclip.model import ResCLIPModel

Existing = Literal["skip", "overwrite", "new field"]

_MEASURED_IMAGES = 4


@dataclass(frozen=True)
class Plan:
    """What a labelling run will do.

    Attributes:
        samples: the collection
        label_field: field for the masks
        overwrite: whether samples that have a mask get a new one
        images: number of images that will be labelled
        skipped: number of images that are skipped because they have a mask
    """

    samples: Any
    label_field: str
    overwrite: bool
    images: int
    skipped: int

    @classmethod
    def of(cls, samples: Any, label_field: str, existing: Existing = "skip") -> Plan:
        """Makes the plan for a collection.

        Args:
            samples: a FiftyOne dataset or view
            label_field: the requested field
            existing ("skip"): what to do with existing masks: ``"skip"`` keeps them, ``"overwrite"`` replaces them,
                ``"new field"`` writes the new masks to a field of the same name with a number

        Returns:
            the plan

        Raises:
            ConfigError: if ``existing`` is not one of these three
            DatasetError: if the field does not hold masks
        """
        if existing not in get_args(Existing):
            raise ConfigError(unknown("existing", existing, get_args(Existing)))
        if existing == "new field":
            label_field = fresh_field(dataset_of(samples), label_field)
        present = schema.has_masks(dataset_of(samples), label_field) and existing != "overwrite"
        skipped = len(samples.exists(label_field)) if present else 0
        return cls(samples, label_field, existing == "overwrite", len(samples) - skipped, skipped)

    def __str__(self) -> str:
        rest = f"; {self.skipped} that have a mask are left alone" if self.skipped else ""
        return f"{self.images} images will be labelled into {self.label_field!r}{rest}"


def fresh_field(dataset: Any, name: str) -> str:
    """Returns a field name that is not in use yet: the name itself, or the name with the first free number from 2."""
    schema, number, fresh = dataset.get_field_schema(), 2, name
    while fresh in schema:
        fresh, number = f"{name}_{number}", number + 1
    return fresh


def seconds_per_image(samples: Any, model: ResCLIPModel) -> float:
    """Measures the time per image by running a model on a few images of a collection; saves nothing.

    Args:
        samples: a FiftyOne dataset or view of images, not empty
        model: the model

    Returns:
        seconds per image, including reading; the first image is a warm-up and does not count if there are others
    """
    paths = samples.limit(_MEASURED_IMAGES + 1).values("filepath")
    read = model.build_get_item()
    model.predict(read({"filepath": paths[0]}))
    rest = paths[1:] or paths
    started = time.perf_counter()
    model.predict_all([read({"filepath": path}) for path in rest])
    return (time.perf_counter() - started) / len(rest)
