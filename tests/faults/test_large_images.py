"""Memory stays bounded for images of a hundred megapixels and for the final PAMR of many phrases; values stay right."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fiftyone_resclip.core import labels
from fiftyone_resclip.core.windows import WholeScores
from fiftyone_resclip.fields import images, masks
from fiftyone_resclip.presets import PRESETS
from tests.faults.hostile import bits_png

needs_proc = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the books of memory are Linux'")

LABEL = """
import sys, torch
torch.set_num_threads(1)
import fiftyone as fo
from benchmarks.memory import peak_mib, resident_mib
from fiftyone_resclip import label, load_model
from fiftyone_resclip.fields.masks import read_mask

model = load_model("resclip-tiny", ["cloth", "snow"], device="cpu", window=None, short_side_px=96, sfr=None)
dataset = fo.Dataset()
dataset.add_samples([fo.Sample(path) for path in sys.argv[2:]], progress=False)
before = resident_mib()
report = label(dataset, model, "pred", output_dir=sys.argv[1], progress=False)
peak = peak_mib()
try:
    assert report.labelled == len(sys.argv) - 2, report
    for sample in dataset:
        mask = read_mask(sample.pred)
        assert mask.shape == (9000, 12000) and 1 <= mask.min() <= mask.max() <= 2
finally:
    dataset.delete()
print(before, peak)
"""

REFINE = """
import sys, torch
torch.set_num_threads(1)
from benchmarks.memory import peak_mib, reset_peak, resident_mib
from fiftyone_resclip.config import PAMR
from fiftyone_resclip.core import kernels
from fiftyone_resclip.core.labels import label_map
from fiftyone_resclip.core.windows import Box

phrases, height, width, steps, *dilations = map(int, sys.argv[1:])
scores = kernels.stitch([torch.randn(phrases, 16, 24)], [Box(0, 0, 256, 384)], (256, 384))
before = resident_mib()
reset_peak()
refined = kernels.refined_scores(scores, torch.randn(3, 256, 384), (height, width), PAMR(steps, tuple(dilations)))
result = label_map(refined, range(phrases), logit_scale=40.0, threshold=0.0, fallback=-1)
assert result.labels.shape == (height, width)
print(before, peak_mib())
"""


def memory(code: str, *arguments: object) -> tuple[float, float]:
    """Runs code that prints what memory it held before and at its peak, in MiB."""
    run = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert run.returncode == 0, run.stdout + run.stderr
    before, peak = map(float, run.stdout.split()[-2:])
    return before, peak


@needs_proc
def test_108_megapixels_take_less_than_half_a_gibibyte_above_the_model(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(bits_png(12_000, 9_000))
    assert path.stat().st_size < 20_000
    before, peak = memory(LABEL, tmp_path / "masks", path)
    assert peak - before < 480
    assert peak < 1536


@needs_proc
def test_final_pamr_of_150_phrases_at_12_megapixels_takes_less_than_a_gibibyte() -> None:
    """One step as far as the ten of the mode sharp needs the same memory; so does a smaller image, but for its labels."""
    image_hw = 1800, 1800
    before, peak = memory(REFINE, 150, *image_hw, 1, 80, 160)
    labels_of_12_megapixels = 8 * (12_000_000 - math.prod(image_hw)) / 2**20
    assert peak - before + labels_of_12_megapixels < 1024


def huge_jpeg(path: Path, **options: object) -> Image.Image:
    image = Image.effect_mandelbrot((800, 600), (-2, -1.5, 1, 1.5), 20).convert("RGB").resize((4000, 3000))
    image.save(path, **options)
    return image


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_huge_jpeg_is_read_at_reduced_size_with_the_size_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    huge_jpeg(tmp_path / "huge.jpg", exif=exif)
    config = replace(PRESETS["voc21"], short_side_px=96)
    whole, image_hw = images.read_network_image(tmp_path / "huge.jpg", config)
    monkeypatch.setattr(images, "HUGE_PIXELS", 10**6)
    small, small_hw = images.read_network_image(tmp_path / "huge.jpg", config)
    assert image_hw == small_hw == ((4000, 3000) if orientation in (6, 8) else (3000, 4000))
    assert small.shape == whole.shape
    difference = (small.float() - whole.float()).abs()
    assert 0 < difference.mean() < 8  # reduced, and the same picture the same way up


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "RGBA", "LA", "I;16", "CMYK", "array"])
@pytest.mark.parametrize("size", [(1, 37), (40, 30), (997, 1201), (3001, 640)])
def test_strips_give_exactly_what_the_whole_gives(mode: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    image = Image.fromarray(noise[..., 0].astype(np.uint16) * 256) if mode == "I;16" else Image.fromarray(noise)
    image = image if mode in ("I;16", "array") else image.convert(mode)
    config = replace(PRESETS["voc21"], short_side_px=33, max_long_side_px=64)
    monkeypatch.setattr(images, "_STRIP_PIXELS", 2**14)
    channels = torch.from_numpy(np.array(images.to_rgb(image))).permute(2, 0, 1)
    out_hw = images.network_hw(size, config)
    if 0 in out_hw:
        pytest.skip("too thin for any network")
    whole = [images.upsample(channel[None, None], out_hw)[0].round().to(torch.uint8) for channel in channels]
    assert torch.equal(images.to_network(noise if mode == "array" else image, config), torch.cat(whole))


@pytest.mark.parametrize("min_area", [0.0, 0.2])
@pytest.mark.parametrize("n_classes", [3, 300])
def test_the_mean_confidence_alone_comes_with_the_labels_of_the_whole(min_area: float, n_classes: int) -> None:
    scores = WholeScores(torch.randn(n_classes, 40, 50, generator=torch.Generator().manual_seed(0)) / 10)
    whole, brief = (
        labels.label_map(
            scores, range(n_classes), logit_scale=9.0, threshold=0.4, fallback=-1, min_area=min_area, mean_only=mean_only
        )
        for mean_only in (False, True)
    )
    assert torch.equal(brief.labels, whole.labels)
    sums = [whole.confidence[whole.labels == code].sum(dtype=torch.float64) for code in range(-1, n_classes)]
    torch.testing.assert_close(brief.confidence, torch.stack(sums))
    torch.testing.assert_close(brief.mean_confidence, whole.mean_confidence)
    ours, theirs = (masks.to_segmentation(result, n_classes) for result in (brief, whole))
    np.testing.assert_array_equal(ours.mask, theirs.mask)
    assert ours.confidence == theirs.confidence
