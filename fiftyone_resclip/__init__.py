"""ResCLIP for FiftyOne: segmentation masks for classes you describe in words, without training.

The public names are imported on first use: importing this package loads neither torch nor fiftyone.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fiftyone_resclip.clip.backbone import Backbone as Backbone
    from fiftyone_resclip.config import PAMR as PAMR
    from fiftyone_resclip.config import RCS as RCS
    from fiftyone_resclip.config import SFR as SFR
    from fiftyone_resclip.config import ResCLIPConfig as ResCLIPConfig
    from fiftyone_resclip.config import Window as Window
    from fiftyone_resclip.errors import ResCLIPError as ResCLIPError
    from fiftyone_resclip.evaluation.evaluate import evaluate as evaluate
    from fiftyone_resclip.evidence.learning import learn as learn
    from fiftyone_resclip.evidence.lessons import delete_lesson as delete_lesson
    from fiftyone_resclip.evidence.lessons import list_lessons as list_lessons
    from fiftyone_resclip.evidence.lessons import load_lesson as load_lesson
    from fiftyone_resclip.evidence.lessons import save_lesson as save_lesson
    from fiftyone_resclip.labeling.exporting import export as export
    from fiftyone_resclip.labeling.label import label as label
    from fiftyone_resclip.labeling.mask_folders import add_masks as add_masks
    from fiftyone_resclip.labeling.runs import LabelRun as LabelRun
    from fiftyone_resclip.labeling.runs import compare_runs as compare_runs
    from fiftyone_resclip.labeling.runs import delete_run as delete_run
    from fiftyone_resclip.labeling.runs import list_runs as list_runs
    from fiftyone_resclip.labeling.runs import load_run as load_run
    from fiftyone_resclip.labeling.runs import rename_run as rename_run
    from fiftyone_resclip.labeling.summarizing import summarize as summarize
    from fiftyone_resclip.model import load_model as load_model
    from fiftyone_resclip.presets import PRESETS as PRESETS
    from fiftyone_resclip.presets import preset as preset
    from fiftyone_resclip.segmenter import ResCLIP as ResCLIP
    from fiftyone_resclip.vocabulary import BACKGROUND_WORDS as BACKGROUND_WORDS
    from fiftyone_resclip.vocabulary import Vocabulary as Vocabulary

__version__ = "0.1.0"

_HOMES = {
    "clip.backbone": ("Backbone",),
    "config": ("PAMR", "RCS", "SFR", "ResCLIPConfig", "Window"),
    "errors": ("ResCLIPError",),
    "evaluation.evaluate": ("evaluate",),
    "evidence.learning": ("learn",),
    "evidence.lessons": ("delete_lesson", "list_lessons", "load_lesson", "save_lesson"),
    "labeling.exporting": ("export",),
    "labeling.label": ("label",),
    "labeling.mask_folders": ("add_masks",),
    "labeling.runs": ("LabelRun", "compare_runs", "delete_run", "list_runs", "load_run", "rename_run"),
    "labeling.summarizing": ("summarize",),
    "model": ("load_model",),
    "presets": ("PRESETS", "preset"),
    "segmenter": ("ResCLIP",),
    "vocabulary": ("BACKGROUND_WORDS", "Vocabulary"),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
