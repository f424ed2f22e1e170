"""Measures a model on one of the eight benchmarks or on any FiftyOne dataset: labels it, evaluates it and writes a record.

A stopped run continues where it stopped, because masks are stored in a field whose name depends on everything that affects them.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import fiftyone as fo
from tabulate import tabulate

from fiftyone_resclip.checks import check_whole
from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.clip.weights import fingerprint
from fiftyone_resclip.config import ResCLIPConfig
from fiftyone_resclip.errors import BackboneError, ConfigError, DatasetError, ResCLIPError, unknown
from fiftyone_resclip.evaluation.evaluate import evaluate
from fiftyone_resclip.evaluation.matching import MaskField, match_classes
from fiftyone_resclip.evaluation.void import AUTO, Ignored
from fiftyone_resclip.evidence.learning import evenly, learn
from fiftyone_resclip.fields.names import checked, slug
from fiftyone_resclip.fields.private import dataset_of
from fiftyone_resclip.labeling.label import label
from fiftyone_resclip.model import ResCLIPModel, make_model
from fiftyone_resclip.presets import preset, start_config
from fiftyone_resclip.published.folders import FOLDERS, benchmark, checked_root
from fiftyone_resclip.published.loading import GROUND_TRUTH, folder_of, load_benchmark
from fiftyone_resclip.published.numbers import published_miou
from fiftyone_resclip.published.provenance import provenance
from fiftyone_resclip.vocabulary import Classes, Vocabulary

Record = dict[str, Any]


@dataclass(frozen=True)
class Setup:
    """Model and options of a run, the same for every dataset.

    Attributes:
        load: loads the frozen CLIP; called once, after everything that can be checked without it
        model: its name in records
        changes: settings that differ from the preset, by their names in ``ResCLIPConfig``
        pretrained: tag or file of the weights, if they are not the model's own
        limit: maximum number of images, from the start
        examples: number of images that teach the model first, drawn evenly; they are left out of the evaluation
        work_dir: folder for masks; by default below FiftyOne's dataset folder
        batch_size: number of images per batch; by default as in :func:`labeling.label`
        num_workers: number of threads that read images

    Raises:
        ConfigError: if ``limit`` is below 1, or ``examples`` below 0
    """

    load: Callable[[], Backbone]
    model: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    pretrained: str | None = None
    limit: int | None = None
    examples: int = 0
    work_dir: Path | None = None
    batch_size: int | None = None
    num_workers: int = 2

    def __post_init__(self) -> None:
        if self.limit is not None:
            check_whole("limit", self.limit, 1)
        if self.batch_size is not None:
            check_whole("batch_size", self.batch_size, 1)
        check_whole("examples", self.examples, 0)
        check_whole("num_workers", self.num_workers, 0)

    @cached_property
    def backbone(self) -> Backbone:
        """The frozen CLIP."""
        return self.load()

    @property
    def part(self) -> str:
        """Suffix of the eval key, so that a run with a limit does not replace a run over all images; empty without a limit."""
        return "" if self.limit is None else f"first_{self.limit}"


def run_benchmark(name: str, data_root: str | Path, setup: Setup) -> Record:
    """Measures a model on a benchmark by the usual protocol.

    Args:
        name: ``"voc21"`` or one of the seven others
        data_root: the folder of the dataset, or a folder that holds several datasets
        setup: model and options; its changes apply to the benchmark's preset

    Returns:
        the record, plain JSON values; metrics in percent, times in seconds

    Raises:
        ConfigError: if there is no such benchmark or setting
        DatasetError: if files are missing or broken
    """
    expected = benchmark(name).n_images
    config = preset(name).varied(setup.changes)
    samples = load_benchmark(name, data_root, setup.work_dir, setup.limit)
    model = make_model(setup.backbone, Vocabulary.preset(name), config)
    record = measure(samples, GROUND_TRUTH, model, setup, folder_of(name, setup.work_dir), ignore_index=0)
    return {
        "benchmark": name,
        "images_published": expected,
        "published": _beside(name, setup.model, config, whole=record["images"] == expected and setup.pretrained is None),
        **record,
    }


def run_dataset(
    name: str,
    gt_field: str,
    classes: Classes | None,
    setup: Setup,
    *,
    preset_name: str | None = None,
    ignore_index: Ignored = AUTO,
) -> Record:
    """Measures a model on the user's own FiftyOne dataset.

    Args:
        name: name of the dataset
        gt_field: field with the true masks
        classes: as in :meth:`fiftyone_resclip.Vocabulary.parse`; ``None`` uses the class names in the field's mask targets
        setup: model and options
        preset_name (None): settings to start from, as for :func:`fiftyone_resclip.load_model`
        ignore_index ("auto"): void values of the ground truth, as in :func:`fiftyone_resclip.evaluate`

    Returns:
        the record, plain JSON values; metrics in percent, times in seconds

    Raises:
        ConfigError: if a setting is unknown
        DatasetError: if there is no such dataset or field, or ``classes`` and the field share no class
    """
    checked(name, "dataset")
    checked(gt_field, "field")
    if not fo.dataset_exists(name):
        raise DatasetError(unknown("dataset", name, fo.list_datasets()))
    dataset = fo.load_dataset(name)
    own = match_classes(dataset, gt_field, gt_field, ignore_index).class_names  # matched with itself: all classes but void
    vocabulary = Vocabulary.parse(list(own) if classes is None else classes)
    _check_common(dataset, gt_field, vocabulary)
    config = start_config(setup.model, preset_name).varied(setup.changes)
    model = make_model(setup.backbone, vocabulary, config)
    samples = dataset if setup.limit is None else dataset.limit(setup.limit)
    return measure(samples, gt_field, model, setup, folder_of(dataset.name, setup.work_dir), ignore_index=ignore_index)


def _beside(name: str, model: str, config: ResCLIPConfig, whole: bool) -> Record:
    """Returns the published number to show next to a measured one, and whether the two are comparable."""
    same = published_miou(name, model, config)
    headline = published_miou(name, "resclip-vit-b-16", preset(name))
    return {"miou": headline if same is None else same, "comparable": whole and same is not None}


def measure(
    samples: Any, gt_field: str, model: ResCLIPModel, setup: Setup, folder: Path, *, ignore_index: Ignored = AUTO
) -> Record:
    """Labels a collection, evaluates it, and stores the masks and the evaluation in the dataset.

    Args:
        samples: a FiftyOne dataset or view of images
        gt_field: field with the true masks
        model: the model to measure
        setup: names and options of the run
        folder: folder for masks
        ignore_index ("auto"): void values of the ground truth

    Returns:
        the record, plain JSON values; metrics in percent, times in seconds

    Raises:
        DatasetError: if the collection can't be labelled or evaluated
    """
    _check_common(samples, gt_field, model.segmenter.vocabulary)  # fail now rather than after an hour of labelling
    if setup.examples:
        samples, model = _taught(samples, gt_field, model, setup.examples)
    segmenter = model.segmenter
    config, vocabulary = segmenter.config, segmenter.vocabulary
    weights, lesson = fingerprint(segmenter.backbone.model), None if model.taught is None else model.taught.to_json()
    pred_field = _field_name(config.to_dict(), vocabulary, weights, lesson)
    key = "_".join(filter(None, (pred_field, gt_field if gt_field != GROUND_TRUTH else "", setup.part)))
    started = time.monotonic()
    report = label(
        samples, model, pred_field, output_dir=folder, batch_size=setup.batch_size, num_workers=setup.num_workers, progress=True
    )
    labelled = time.monotonic()
    result = evaluate(samples, pred_field, gt_field, key, ignore_index=ignore_index, overwrite=True, progress=False)
    return {
        "dataset": dataset_of(samples).name,
        "field": pred_field,
        "eval_key": key,
        "images": result.images,
        "miou": _figure(result.miou),
        "pixel_accuracy": _figure(result.pixel_accuracy),
        "mean_accuracy": _figure(result.mean_accuracy),
        "frequency_weighted_iou": _figure(result.frequency_weighted_iou),
        "iou": {name: _figure(value) for name, value in result.iou.items()},
        "not_counted_as_it_stands": result.notes(),
        "model": setup.model,
        "pretrained": setup.pretrained,
        "weights_sha256": weights,
        "settings": config.to_dict(),
        "classes": dict(zip(vocabulary.class_names, map(list, vocabulary.phrases), strict=True)),
        "examples": lesson,
        "labelled_in_this_run": report.labelled,
        "seconds": {"labelling": round(labelled - started, 1), "evaluation": round(time.monotonic() - labelled, 1)},
        **provenance(segmenter.backbone.device.type),
    }


def write(record: Record, folder: Path) -> Path:
    """Writes a record as JSON.

    Args:
        record: from :func:`run_benchmark` or :func:`measure`
        folder: output folder, created if it is missing

    Returns:
        the file, named after the benchmark or dataset and the eval key, as slugs
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{slug(record.get('benchmark') or record['dataset'])}-{slug(record['eval_key'])}.json"
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return path


def table(records: Mapping[str, Record | ResCLIPError]) -> str:
    """Formats records as a text table, next to the published numbers.

    Args:
        records: the record of each benchmark, or the error that stopped it

    Returns:
        a row for each record, then the errors and an explanation
    """
    headers = ("benchmark", "images", "mIoU", "published", "difference", "seconds")
    rows, failed = [], []
    for name, record in records.items():
        if isinstance(record, ResCLIPError):
            failed.append(f"{name} not measured: {record}")
            continue
        published = record.get("published", {"miou": None, "comparable": False})
        difference = record["miou"] - published["miou"] if published["comparable"] else None
        images = "/".join(str(record[key]) for key in ("images", "images_published") if key in record)
        seconds = _shown(_whole_seconds(record), ".0f")
        shown = (_shown(record["miou"], ".2f"), _shown(published["miou"], ".1f"), _shown(difference, "+.2f"), seconds)
        rows.append((name, images, *shown))
    text = tabulate(rows, headers, tablefmt="plain", colalign=("left", *["right"] * 5), disable_numparse=True) if rows else ""
    explanation = (
        "mIoU in percent, over all images. Published: the number for this model and settings, or ResCLIP's own if there is "
        "none. A difference is shown only if model, settings and images are the same."
    )
    return "\n".join(filter(None, (text, *failed, explanation)))


def run_all(
    data_root: str | Path, setup: Setup, done: Callable[[Record], Any], names: Iterable[str] = FOLDERS
) -> dict[str, Record | ResCLIPError]:
    """Measures several benchmarks; if one can't be measured, the others still are.

    Args:
        data_root: the folder that holds their folders
        setup: model and options
        done: called with each record as soon as it is ready
        names: benchmarks to measure; by default all eight

    Returns:
        the record of each benchmark, or the error that stopped it

    Raises:
        DatasetError: if there is no such folder
        ConfigError: if a setting is unknown
        BackboneError: if the model or its weights can't be loaded
    """
    checked_root(data_root)
    records: dict[str, Record | ResCLIPError] = {}
    for name in names:
        try:
            records[name] = record = run_benchmark(name, data_root, setup)
            done(record)
        except (BackboneError, ConfigError):
            raise  # it would stop the others, too
        except ResCLIPError as error:
            records[name] = error
    return records


def _taught(samples: Any, gt_field: str, model: ResCLIPModel, examples: int) -> tuple[Any, ResCLIPModel]:
    """Teaches a model with some of the images and, as :func:`learn` does, with what others look like; returns the images left."""
    ids = samples.values("id")
    if examples >= len(ids):
        raise ConfigError(
            f"examples must be fewer than the {len(ids)} images, which are what is left to evaluate, but got {examples}"
        )
    chosen = [ids[place] for place in evenly(len(ids), examples)]
    return samples.exclude(chosen), learn(model, samples.select(chosen), gt_field)


def _check_common(samples: Any, gt_field: str, vocabulary: Vocabulary) -> None:
    names = set(MaskField.of(samples, gt_field).targets.values())
    if not names & set(vocabulary.class_names):
        raise DatasetError(
            f"{gt_field!r} and the class list must share names, but have {sorted(names)} and {sorted(vocabulary.class_names)}"
        )


def _whole_seconds(record: Record) -> float | None:
    """Returns the duration in seconds if this run labelled all images, else ``None``."""
    return sum(record["seconds"].values()) if record["labelled_in_this_run"] == record["images"] else None


def _field_name(settings: Mapping[str, Any], vocabulary: Vocabulary, weights: str, lesson: Mapping[str, Any] | None) -> str:
    """Returns a readable name that differs whenever something that affects masks differs, so that runs do not share masks."""
    decisive = [settings, vocabulary.class_names, vocabulary.phrases, vocabulary.background, weights]
    if lesson is not None:
        decisive.append(lesson)
    digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:8]
    parts = [
        settings["strategy"],
        *(part for part in ("rcs", "sfr", "pamr") if settings[part]),
        *(["taught"] if lesson else []),
        digest,
    ]
    return "_".join(parts)


def _figure(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 2)


def _shown(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
