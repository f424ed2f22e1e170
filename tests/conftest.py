"""Fixtures: a FiftyOne of the tests' own (never the user's), the tiny model, small datasets of real files."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

_HOME = Path(tempfile.mkdtemp(prefix="resclip-tests-"))
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell makes what it runs in the background ignore Ctrl-C
os.environ.update(
    OMP_NUM_THREADS="1" if "PYTEST_XDIST_WORKER" in os.environ else "2",  # tests at the same time share the processors
    FIFTYONE_DATABASE_VALIDATION="false",
    FIFTYONE_DO_NOT_TRACK="true",
    FIFTYONE_SHOW_PROGRESS_BARS="false",
    FIFTYONE_PLUGINS_DIR=str(_HOME / "plugins"),
    FIFTYONE_MODEL_ZOO_DIR=str(_HOME / "zoo"),
    FIFTYONE_EVALUATION_CONFIG_PATH=str(_HOME / "evaluation_config.json"),
    FIFTYONE_DEFAULT_DATASET_DIR=str(_HOME / "datasets"),
    FIFTYONE_RESCLIP_CACHE=str(_HOME / "cache"),
    HF_HUB_OFFLINE="1",
    HF_HOME=str(_HOME / "huggingface"),
)

from fiftyone_resclip.doors import own_database

own_database.use(_HOME / "database")

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.fields import schema
from fiftyone_resclip.model import ResCLIPModel, load_model
from fiftyone_resclip.tiny.scenes import COLOURS, GROUNDS, class_map, draw_scene

ROOT = Path(__file__).parent
CLASSES = (*(f"{colour} cloth" for colour in COLOURS), *GROUNDS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs the long tests first, so that no process is left alone with one at the end."""
    items.sort(key=lambda item: not {"browser", "doors", "faults"} & set(item.path.relative_to(ROOT).parts))


@pytest.fixture(scope="session")
def tiny() -> Backbone:
    """The bundled model."""
    return Backbone.load("resclip-tiny", device="cpu")


@pytest.fixture(scope="session")
def fast_model() -> ResCLIPModel:
    """The bundled model as FiftyOne sees it, in the fast mode."""
    return load_model("resclip-tiny", CLASSES, sfr=None, device="cpu")


@pytest.fixture
def make_dataset(tmp_path: Path) -> Iterator[Callable[..., fo.Dataset]]:
    """Makes datasets of generated scenes with ground truth on disk; they go when the test ends."""
    made: list[fo.Dataset] = []

    def make(
        n_images: int = 4, sizes: tuple[tuple[int, int], ...] = ((96, 128), (128, 96), (80, 80)), suffix: str = ".png"
    ) -> fo.Dataset:
        dataset = fo.Dataset()
        made.append(dataset)
        schema.declare_field(dataset, "ground_truth", dict(enumerate(CLASSES, start=1)))
        for index in range(n_images):
            scene = draw_scene(np.random.default_rng([7, index]), sizes[index % len(sizes)], 2)
            image, mask = tmp_path / f"{len(made)}-{index}{suffix}", tmp_path / f"{len(made)}-{index}-truth.png"
            Image.fromarray(scene.image).save(image)
            Image.fromarray(class_map(scene, CLASSES)).save(mask)
            dataset.add_sample(fo.Sample(filepath=str(image), ground_truth=fo.Segmentation(mask_path=str(mask))))
        return dataset

    yield make
    for dataset in made:
        dataset.delete()
