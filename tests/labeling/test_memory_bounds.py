"""Memory does not depend on the number of images, and little on their size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.memory import resident_mib
from fiftyone_resclip.labeling.batches import LabelingReport
from fiftyone_resclip.labeling.label import label
from fiftyone_resclip.model import load_model
from tests.conftest import CLASSES

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the books of memory are Linux'")

PEAK = """
import sys, torch
torch.set_num_threads(1)
from torch.nn.functional import normalize
from fiftyone_resclip.clip.backbone import Backbone
from benchmarks.memory import peak_mib, reset_peak, resident_mib
from fiftyone_resclip.presets import preset
from fiftyone_resclip.model import ResCLIPModel
from fiftyone_resclip.segmenter import ResCLIP
from fiftyone_resclip.vocabulary import Vocabulary

backbone, words = Backbone.load("resclip-tiny", device="cpu"), Vocabulary.preset("ade20k")
features = normalize(torch.randn(150, backbone.feature_width), dim=1)
model = ResCLIPModel(ResCLIP(backbone, words, preset("ade20k"), features))
backbone.trunk(torch.zeros(1, 3, 64, 64))
before = resident_mib()
reset_peak()
labels = model.predict(model.build_get_item()({"filepath": sys.argv[1]}))
assert labels.mask.shape == (3000, 4000)
print(peak_mib() - before)
"""


@pytest.mark.slow
def test_a_large_photograph_with_150_classes_takes_less_than_500_mib(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    Image.effect_mandelbrot((4000, 3000), (-2, -1.5, 1, 1.5), 20).convert("RGB").save(path)
    run = subprocess.run([sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert 50 < float(run.stdout) < 500


@pytest.mark.parametrize("case", ["voc21-like", "ade20k-like"])
def test_the_published_cases_take_less_than_250_mib_above_the_weights(case: str) -> None:
    command = [sys.executable, "-m", "benchmarks.speed", "--peak-memory", case]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert 50 < float(run.stdout) < 250


@pytest.mark.slow
def test_labelling_2000_images_does_not_grow(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the images are too small to share
    rng = np.random.default_rng(0)
    dataset = fo.Dataset()
    try:
        for index in range(2000):
            Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(tmp_path / f"{index}.png", compress_level=0)
        dataset.add_samples([fo.Sample(filepath=str(tmp_path / f"{index}.png")) for index in range(2000)], progress=False)
        model = load_model("resclip-tiny", CLASSES, device="cpu", window=None, short_side_px=24)
        held: dict[int, float] = {}

        def look(report: LabelingReport) -> None:
            held[report.done] = resident_mib()

        assert label(dataset, model, batch_size=8, progress=look).labelled == 2000
        soon, *later = (mib for done, mib in held.items() if done >= 200)
        assert max(later) - soon < 50
    finally:
        torch.set_num_threads(threads)
        dataset.delete()
