"""Plans a labelling run: how many images, into which field, and how long it will take."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal, get_args

from fiftyone_resclip.errors import ConfigError, counted, unknown
from fiftyone_resclip.fields import names, schema
from fiftyone_resclip.fields.exclusive import exclusive
from fiftyone_resclip.fields.private import dataset_of
from fiftyone_resclip.labeling.mixing import refuse_mixing
from fiftyone_resclip.labeling.recipe import Recipe
from fiftyone_resclip.labeling.runs import run_of
from fiftyone_resclip.model import ResCLIPModel
from fiftyone_resclip.vocabulary import Vocabulary

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
        replaced: number of images whose mask is replaced
    """

    samples: Any
    label_field: str
    overwrite: bool
    images: int
    skipped: int
    replaced: int = 0

    @classmethod
    def of(cls, samples: Any, label_field: str, existing: Existing = "skip", taken: Collection[str] = ()) -> Plan:
        """Makes the plan for a collection.

        Args:
            samples: a FiftyOne dataset or view
            label_field: the requested field
            existing ("skip"): what to do with existing masks: ``"skip"`` keeps them, ``"overwrite"`` replaces them,
                ``"new field"`` writes the new masks to a field of the same name with a number
            taken (()): names of fields that other runs are about to make

        Returns:
            the plan

        Raises:
            ConfigError: if ``existing`` is not one of these three
            DatasetError: if a field can't have this name, or does not hold masks
        """
        if existing not in get_args(Existing):
            raise ConfigError(unknown("existing", existing, get_args(Existing)))
        names.checked_field(label_field)
        if existing == "new field":
            label_field = fresh_field(dataset_of(samples), label_field, taken)
        present = len(samples.exists(label_field)) if schema.has_masks(dataset_of(samples), label_field) else 0
        if existing == "overwrite":
            return cls(samples, label_field, True, len(samples), 0, present)
        return cls(samples, label_field, False, len(samples) - present, present)

    @property
    def is_foreign(self) -> bool:
        """Whether the field has masks that no labelling run made."""
        dataset = dataset_of(self.samples)
        return bool(self.skipped + self.replaced) and schema.run_key(dataset, self.label_field) is None

    def check(self, recipe: Recipe, vocabulary: Vocabulary) -> None:
        """Refuses what labelling would refuse: to mix masks that are made in different ways. Who asks whether masks of others may
        be lost looks at :attr:`is_foreign`.

        Args:
            recipe: what decides the new masks
            vocabulary: their classes

        Raises:
            DatasetError: if masks would be mixed; the message shows the difference
        """
        dataset = dataset_of(self.samples)
        if self.skipped + self.replaced:
            with exclusive(dataset):
                run = run_of(dataset, self.label_field)
            overwritten = self.replaced if self.overwrite else 0
            refuse_mixing(dataset, self.label_field, run, recipe, schema.mask_targets(vocabulary), overwritten, foreign=True)

    def __str__(self) -> str:
        return f"{counted(self.images, 'image')} → {self.label_field!r}; {self._rest}"

    @property
    def _rest(self) -> str:
        """What happens to the masks that are there."""
        if self.replaced:
            return f"replaces {counted(self.replaced, 'mask')}"
        return f"replaces nothing, and leaves {counted(self.skipped, 'mask')} alone" if self.skipped else "replaces nothing"


def fresh_field(dataset: Any, name: str, taken: Collection[str] = ()) -> str:
    """Returns a field name that is not in use or taken yet: the name itself, or the name with the first free number from 2."""
    used, number, fresh = {*dataset.get_field_schema(), *taken}, 2, name
    while fresh in used:
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
