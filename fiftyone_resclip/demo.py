"""The demo: draws scenes, labels them with each method and the tiny CLIP, and evaluates the masks, all offline.

It writes everything to one folder: pictures, ground truth, ``overview.png`` and ``report.json``. The results show how the methods
differ on generated cloth; they say nothing about photographs. The classes are six colours of cloth and three kinds of ground, so
every pixel counts. One more result shows what ResCLIP learns from eight scenes whose masks are known; these are not evaluated.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import fiftyone as fo
from PIL import Image
from tabulate import tabulate

from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.config import ResCLIPConfig
from fiftyone_resclip.doors.database import require_database
from fiftyone_resclip.drawing import pictures
from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.evaluation.evaluate import evaluate
from fiftyone_resclip.evaluation.results import SemanticEvaluationResults
from fiftyone_resclip.evidence.learning import learn
from fiftyone_resclip.fields import masks, schema
from fiftyone_resclip.fields.images import read_image
from fiftyone_resclip.labeling.label import label
from fiftyone_resclip.labeling.picture_files import write_legend
from fiftyone_resclip.model import ResCLIPModel
from fiftyone_resclip.presets import MODES, TINY
from fiftyone_resclip.segmenter import ResCLIP
from fiftyone_resclip.tiny.scenes import COLOURS, COLOURS_AND_GROUNDS, GROUNDS, class_map, dense_scene
from fiftyone_resclip.vocabulary import Vocabulary

#: The methods that are compared, by title; they know the words alone.
METHODS: Mapping[str, ResCLIPConfig] = {
    title: TINY.varied(MODES[mode].settings)
    for title, mode in (
        ("CLIP (vanilla)", "vanilla"),
        ("SCLIP", "sclip"),
        ("ClearCLIP", "clearclip"),
        ("NACLIP", "naclip"),
        ("ResCLIP, RCS only", "fast"),
        ("ResCLIP", "full"),
    )
}

N_EXAMPLES = 8
_BASE = "ResCLIP"
#: The title of what :data:`_BASE` learns from examples.
TAUGHT = f"{_BASE} + {N_EXAMPLES} examples"
#: What ``overview.png`` shows; the App shows every method.
_SHOWN = ("CLIP (vanilla)", "NACLIP", _BASE, TAUGHT)

DATASET_NAME = "resclip-demo"
#: Key in the dataset's info that says that the demo made it.
_INFO = "resclip_demo"
_TRUTH = "ground_truth"
_SCENES = "scenes"  # saved view of the others
_EXAMPLE = "example"  # tag of the scenes that are learned from
#: Each class has its own colour in the scenes, also where it is painted.
_PAINT = dict(
    zip(COLOURS_AND_GROUNDS, ("#{:02x}{:02x}{:02x}".format(*rgb) for rgb in (*COLOURS.values(), *GROUNDS.values())), strict=True)
)
_FIRST_SCENE, _FIRST_EXAMPLE = 10_000, 15_000  # the numbers in the model card come from scenes with lower indices


def run(folder: Path, n_images: int = 40, app: bool = False) -> Mapping[str, SemanticEvaluationResults]:
    """Runs the demo in the database that FiftyOne uses; the command ``fiftyone-resclip demo`` gives it one of its own.

    Args:
        folder: folder for the pictures and results
        n_images (40): number of scenes that are evaluated
        app (False): whether to open the App at the end and wait until it is closed

    Returns:
        the evaluation by method

    Raises:
        DatabaseError: if FiftyOne's database can't be started
        DatasetError: if there is a dataset of the demo's name that the demo did not make
    """
    require_database()
    print(f"1/4  drawing {n_images} scenes of cloth and {N_EXAMPLES} to learn from, with exact ground truth")
    dataset = make_dataset(folder, n_images)
    scenes, examples = (dataset.match_tags(_EXAMPLE, bool=wanted) for wanted in (False, True))
    models = _models(examples)
    print(f"2/4  labelling them with {len(models)} methods; classes: {', '.join(COLOURS_AND_GROUNDS)}")
    for name, model in models.items():
        print(f"     {name}")
        label(scenes, model, field_of(name), overwrite=True, batch_size=8)
    print("3/4  evaluating")
    results = {name: evaluate(scenes, field_of(name), _TRUTH, progress=False) for name in models}
    print("4/4  writing results\n")
    _write(folder, scenes, models, results)
    print(table(results))
    print(_farewell(folder))
    if app:
        with contextlib.suppress(KeyboardInterrupt):
            fo.launch_app(dataset, port=_app_port()).wait()
    return results


def _models(examples: Any) -> dict[str, ResCLIPModel]:
    """Returns each method by title, the last of them taught by the examples; other scenes show it what images look like."""
    backbone = Backbone.load("resclip-tiny", device="cpu")
    vocabulary = Vocabulary.parse(list(COLOURS_AND_GROUNDS))
    text_features = backbone.encode_text(vocabulary.flat_phrases)
    models = {name: ResCLIPModel(ResCLIP(backbone, vocabulary, config, text_features)) for name, config in METHODS.items()}
    return {**models, TAUGHT: learn(models[_BASE], examples, _TRUTH, progress=False)}


def make_dataset(folder: Path, n_images: int) -> fo.Dataset:
    """Draws scenes to disk and makes a persistent FiftyOne dataset of them, which replaces that of an earlier run.

    Args:
        folder: parent of the folders ``images`` and ``ground_truth``
        n_images: number of scenes that are evaluated; a few with the tag ``example`` come on top

    Returns:
        the dataset, with a ``ground_truth`` field of masks on disk

    Raises:
        DatasetError: if there is a dataset of this name that the demo did not make
    """
    dataset = _empty_dataset()
    schema.declare_field(dataset, _TRUTH, schema.mask_targets(Vocabulary.parse(list(COLOURS_AND_GROUNDS))), _PAINT)
    scenes = [_sample(folder, f"scene-{index:03d}", _FIRST_SCENE + index) for index in range(n_images)]
    examples = [_sample(folder, f"example-{index}", _FIRST_EXAMPLE + index, [_EXAMPLE]) for index in range(N_EXAMPLES)]
    dataset.add_samples([*scenes, *examples], progress=False)
    write_legend(folder / _TRUTH, dict(enumerate(_PAINT.items(), start=1)))
    dataset.save_view(_SCENES, dataset.match_tags(_EXAMPLE, bool=False))
    return dataset


def _sample(folder: Path, name: str, index: int, tags: Sequence[str] = ()) -> fo.Sample:
    scene = dense_scene(index)
    image_path, mask_path = (folder / part / f"{name}.png" for part in ("images", _TRUTH))
    image_path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(scene.image).save(image_path)
    masks.write_mask(class_map(scene, COLOURS_AND_GROUNDS), mask_path)
    truth = fo.Segmentation(mask_path=str(mask_path.absolute()))
    return fo.Sample(filepath=str(image_path.absolute()), tags=list(tags), **{_TRUTH: truth})


def _empty_dataset() -> fo.Dataset:
    if fo.dataset_exists(DATASET_NAME):
        if _INFO not in fo.load_dataset(DATASET_NAME).info:
            raise DatasetError(
                f"dataset {DATASET_NAME!r} must be one that the demo made, but is another; "
                f"rename it: fo.load_dataset({DATASET_NAME!r}).name = 'another name'"
            )
        fo.delete_dataset(DATASET_NAME)
    dataset = fo.Dataset()
    dataset.info = {_INFO: True}
    dataset.name, dataset.persistent = DATASET_NAME, True  # last, so that a dataset of this name is always known as the demo's
    return dataset


def field_of(method: str) -> str:
    """Returns the name of the dataset's field for a method's masks."""
    return re.sub(r"\W+", "_", method.lower()).strip("_")


def table(results: Mapping[str, SemanticEvaluationResults]) -> str:
    """Formats the results of all methods as a text table.

    Args:
        results: evaluation by method

    Returns:
        a table: mIoU, pixel accuracy, IoU of each class, in percent
    """
    classes = next(iter(results.values())).class_names
    short = [name.removesuffix(" cloth") for name in classes]
    rows = [
        (name, f"{result.miou:.2f}", f"{result.pixel_accuracy:.2f}", *(f"{value:.1f}" for value in result.iou.values()))
        for name, result in results.items()
    ]
    right = ["right"] * (2 + len(short))
    text = tabulate(
        rows, ("method", "mIoU", "pixels", *short), tablefmt="plain", colalign=("left", *right), disable_numparse=True
    )
    return (
        f"{text}\n\n"
        "mIoU: mean over classes of intersection / union over all images; pixels: share of correct ones; in %, of all pixels.\n"
        f"{TAUGHT}: masks of {N_EXAMPLES} other scenes are known; of the scenes that are labelled, only the images are.\n"
        "A tiny model on generated cloth: it shows how the methods differ, not how well they do on photographs."
    )


def _write(
    folder: Path, scenes: Any, models: Mapping[str, ResCLIPModel], results: Mapping[str, SemanticEvaluationResults]
) -> None:
    report = {name: _as_json(models[name], result) for name, result in results.items()}
    content = {"images": len(scenes), "classes": list(COLOURS_AND_GROUNDS), "model": "resclip-tiny", "methods": report}
    (folder / "report.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    rows, legend = [_row(sample) for sample in scenes.skip(1).limit(5)], [*_PAINT.items()]
    pictures.overview(rows, ["image", "ground truth", *_SHOWN], legend).save(folder / "overview.png")


def _row(sample: fo.Sample) -> list[Image.Image]:
    """Returns the image, its ground truth and masks of some methods."""
    found = [masks.read_mask(sample[field]) for field in (_TRUTH, *map(field_of, _SHOWN))]
    return [read_image(sample.filepath), *(pictures.paint(mask, [*_PAINT.values()]) for mask in found)]


def _as_json(model: ResCLIPModel, result: SemanticEvaluationResults) -> dict[str, Any]:
    rounded = {name: round(value, 2) for name, value in result.iou.items()}
    numbers = {"miou": round(result.miou, 2), "pixel_accuracy": round(result.pixel_accuracy, 2), "iou": rounded}
    taught = {} if model.taught is None else {"taught": str(model.taught)}
    return {**numbers, **taught, "config": model.segmenter.config.to_dict()}


def _app_port() -> int:
    """Returns the usual port of the App, or a free one if an App runs there, which shows another database."""
    address = fo.config.default_app_address or "127.0.0.1"
    with socket.socket() as probe:
        try:
            probe.bind((address, fo.config.default_app_port))
        except OSError:
            probe.bind((address, 0))
        return int(probe.getsockname()[1])


def _farewell(folder: Path) -> str:
    shown = os.path.relpath(folder)
    return f"""
Picture: {shown}/overview.png    Numbers: {shown}/report.json

Browse it in the App:           fiftyone-resclip demo --app
Evaluate one of its fields:     FIFTYONE_DATABASE_DIR={shown}/database fiftyone-resclip evaluate {DATASET_NAME} --view {_SCENES}
Label its images in your words: fiftyone-resclip label {shown}/images --model resclip-tiny --classes "red cloth, snow, asphalt"
                                fiftyone-resclip evaluate images --masks {shown}/{_TRUTH}
Your own images, with real CLIP weights, which open_clip downloads once:
                                fiftyone-resclip label photos/ --classes "road, car, everything else" --out labelled/"""
