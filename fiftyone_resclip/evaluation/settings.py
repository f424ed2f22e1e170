"""Settings of an evaluation, defined once for Python, the App, stored runs and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fiftyone_resclip.checks import check_switch
from fiftyone_resclip.errors import ConfigError
from fiftyone_resclip.evaluation.boundaries import radius_px
from fiftyone_resclip.evaluation.void import AUTO, Ignored

#: The method's name in ``fo.evaluation_config`` and in ``evaluate_segmentations(method=...)``.
METHOD = "resclip"


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings for comparing masks; :func:`fiftyone_resclip.evaluate` explains each of them.

    Attributes:
        ignore_index: void values of the ground truth
        mapping: ground-truth class by predicted class where the names differ
        include_background: whether means over classes include the background
        boundary: width of the band of boundary IoU, in pixels or as a share of the diagonal; ``None`` to skip boundary IoU
        compute_dice: whether samples also get a Dice field

    Raises:
        ConfigError: if a setting is out of range or of the wrong kind
    """

    ignore_index: Ignored = AUTO
    mapping: Mapping[str, str | None] | None = None
    include_background: bool = True
    boundary: float | None = None
    compute_dice: bool = False

    def __post_init__(self) -> None:
        if self.boundary is not None:
            radius_px(self.boundary, (1, 1))
        if isinstance(self.ignore_index, (tuple, set)):  # the database can only store lists
            object.__setattr__(self, "ignore_index", list(self.ignore_index))
        for name in ("include_background", "compute_dice"):
            check_switch(name, getattr(self, name))
        if not isinstance(self.mapping, Mapping | None):
            raise ConfigError(f"mapping must be names of classes, such as {{'car': 'vehicle'}}, but got {self.mapping!r}")
        if self.mapping is not None:
            object.__setattr__(self, "mapping", dict(self.mapping))
