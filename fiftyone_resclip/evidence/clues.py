"""Reads what a dataset knows about each image that is labelled: its regions, and which classes are present."""

from __future__ import annotations

import logging
import threading
from typing import Any

from fiftyone_resclip.errors import ImageError
from fiftyone_resclip.evidence.presence import check_presence, present_classes
from fiftyone_resclip.evidence.regions import check_regions, read_regions
from fiftyone_resclip.fields.names import checked
from fiftyone_resclip.fields.readers import Picture, Unreadable
from fiftyone_resclip.segmenter import ImageEvidence
from fiftyone_resclip.vocabulary import Vocabulary

logger = logging.getLogger(__name__)


def check_clues(samples: Any, regions: str | None, present: str | None) -> None:
    """Refuses fields that can't give evidence; see :func:`check_regions` and :func:`check_presence`."""
    if regions is not None:
        check_regions(samples, checked(regions, "field of regions"))
    if present is not None:
        check_presence(samples, checked(present, "field of classes that are present"))


class Clues:
    """Adds what is known about an image to its pixels; several threads may do so at once.

    Args:
        samples: a FiftyOne dataset or view
        vocabulary: the classes
        regions (None): field of regions
        present (None): field that names the classes in an image

    Attributes:
        without_regions: images so far that have no regions, although there is a field for them
        without_presence: images so far for which no class is named, although there is a field for that
    """

    def __init__(self, samples: Any, vocabulary: Vocabulary, regions: str | None = None, present: str | None = None) -> None:
        self._samples, self._vocabulary, self._regions, self._present = samples, vocabulary, regions, present
        self._lock = threading.Lock()
        self.without_regions = self.without_presence = 0

    def added(self, picture: Picture | Unreadable, sample_id: str) -> Picture | Unreadable:
        """Returns the picture with its evidence.

        Args:
            picture: as it was read
            sample_id: the id of its sample or frame
        """
        fields = [field for field in (self._regions, self._present) if field is not None]
        if isinstance(picture, Unreadable) or not fields:
            return picture
        values = dict(zip(fields, self._samples.select(sample_id).values(fields), strict=True))
        found = {field: value[0] if value else None for field, value in values.items()}  # the sample may be deleted
        regions = None if self._regions is None else self._read(found[self._regions], picture)
        present = None if self._present is None else present_classes(found[self._present], self._vocabulary)
        with self._lock:
            self.without_regions += self._regions is not None and regions is None
            self.without_presence += self._present is not None and present is None
        return picture._replace(evidence=ImageEvidence(present, regions))

    def _read(self, label: Any, picture: Picture) -> Any:
        try:
            return read_regions(label, picture.image_hw)
        except ImageError as error:
            logger.warning("Labelled without regions: %s", error)
            return None
