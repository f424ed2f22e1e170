from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.config import PAMR, RCS, ResCLIPConfig, Window
from fiftyone_resclip.errors import ConfigError, ShapeError
from fiftyone_resclip.presets import TINY
from fiftyone_resclip.segmenter import ImageEvidence, ResCLIP
from fiftyone_resclip.tiny.scenes import held_out_scene
from fiftyone_resclip.vocabulary import Vocabulary

WORDS = Vocabulary.parse({"red": ["red cloth", "plain red cloth"], "blue": ["blue cloth"], "ground": ["snow", "asphalt"]})
WINDOWS = replace(TINY, window=Window(64, 32))


def scene(index: int, height: int, width: int) -> torch.Tensor:
    return torch.from_numpy(held_out_scene(index, (height, width), 2).image).permute(2, 0, 1)


IMAGES = [scene(0, 96, 128), scene(1, 128, 96), scene(2, 96, 128), scene(3, 50, 70)]


@pytest.mark.parametrize("config", [TINY, WINDOWS, replace(WINDOWS, sfr=None), replace(TINY, strategy="sclip")])
@given(images=st.lists(st.sampled_from(IMAGES), min_size=2, max_size=4))
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_batch_of_any_sizes_gives_what_single_images_give(
    tiny: Backbone, config: ResCLIPConfig, images: list[torch.Tensor]
) -> None:
    segmenter = ResCLIP(tiny, WORDS, config)
    for together, image in zip(segmenter.image_logits(images), images, strict=True):
        torch.testing.assert_close(together, segmenter.image_logits([image])[0], atol=2e-5, rtol=0)


def test_windows_are_scored_like_images_of_their_own(tiny: Backbone) -> None:
    image = scene(0, 64, 96)
    whole = ResCLIP(tiny, WORDS, replace(TINY, window=None))
    stitched = ResCLIP(tiny, WORDS, WINDOWS).image_logits([image])[0]
    left, right = whole.image_logits([image[..., :64].contiguous(), image[..., 32:].contiguous()])
    torch.testing.assert_close(stitched[..., :32], left[..., :32], atol=2e-5, rtol=0)
    torch.testing.assert_close(stitched[..., 32:64], (left[..., 32:] + right[..., :32]) / 2, atol=2e-5, rtol=0)


def test_labels_have_the_size_asked_for_and_say_how_sure_they_are(tiny: Backbone) -> None:
    result = ResCLIP(tiny, WORDS, TINY).segment(IMAGES[:1], [(70, 90)])[0]
    assert result.labels.shape == result.confidence.shape == (70, 90)
    assert 0 <= result.labels.min() and result.labels.max() <= 2
    assert 0 < result.confidence.min() and result.confidence.max() <= 1


@pytest.mark.parametrize(("background", "expected"), [(None, {-1}), ("ground", {2})])
def test_uncertain_pixels_are_unlabelled_or_background(tiny: Backbone, background: str | None, expected: set[int]) -> None:
    words = replace(WORDS, background=background)
    result = ResCLIP(tiny, words, replace(TINY, prob_threshold=1.0)).segment(IMAGES[:1])[0]
    assert set(result.labels.unique().tolist()) == expected


def test_each_part_changes_the_result(tiny: Backbone) -> None:
    variants = [TINY, replace(TINY, rcs=None), replace(TINY, sfr=None), replace(TINY, rcs=RCS(blocks=(2, 3)))]
    results = [ResCLIP(tiny, WORDS, config).image_logits(IMAGES[:1])[0] for config in variants]
    for index, one in enumerate(results):
        for other in results[index + 1 :]:
            assert (one - other).abs().max() > 1e-4


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_agrees_with_full_and_gives_float32(tiny: Backbone, precision: Any) -> None:
    full = ResCLIP(tiny, WORDS, TINY).segment(IMAGES)
    half = ResCLIP(tiny, WORDS, replace(TINY, precision=precision))
    assert half.image_logits(IMAGES[:1])[0].dtype == torch.float32
    same = [(a.labels == b.labels).float().mean() for a, b in zip(full, half.segment(IMAGES), strict=True)]
    assert min(same) > 0.97


def test_padding_scores_whole_patches_and_leaves_the_rest_alone(tiny: Backbone) -> None:
    odd = IMAGES[0][:, :90, :125].contiguous()
    pad = replace(TINY, remainder="pad")
    stretched, padded = (ResCLIP(tiny, WORDS, c).image_logits([odd])[0] for c in (TINY, pad))
    assert stretched.shape == padded.shape == (5, 90, 125)
    by_hand = torch.nn.functional.pad(odd[None].float(), (0, 3, 0, 6), mode="replicate")[0].to(torch.uint8)
    whole = ResCLIP(tiny, WORDS, TINY).image_logits([by_hand])[0]
    torch.testing.assert_close(padded, whole[:, :90, :125])
    even = ResCLIP(tiny, WORDS, pad).image_logits(IMAGES[:1])[0]
    torch.testing.assert_close(even, ResCLIP(tiny, WORDS, TINY).image_logits(IMAGES[:1])[0])


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak of memory is read the Linux way")
def test_the_path_rule_fits_into_a_gibibyte_at_35_by_70_patches() -> None:
    code = """
import torch
from pathlib import Path
from fiftyone_resclip.core import feedback

def peak_mib():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) // 1024

labels = torch.arange(35 * 70).view(1, 35, 70) // 600
feedback.blurred_rows(feedback.agreement(labels[:, :4, :4], path_rule=True), 5.0)
Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
before = peak_mib()
feedback.blurred_rows(feedback.agreement(labels, path_rule=True), 5.0)
print(peak_mib() - before)
"""
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert 20 < int(run.stdout) < 1024


def test_final_pamr_works_at_the_size_of_the_result(tiny: Backbone) -> None:
    config = replace(TINY, pamr=PAMR(2, (1, 2)))
    segmenter = ResCLIP(tiny, WORDS, config)
    scores = segmenter.image_scores(IMAGES[:1])[0]
    assert segmenter.resized(scores, IMAGES[0], (60, 80)).whole().shape == (5, 60, 80)
    assert segmenter.segment(IMAGES[:1], [(60, 80)])[0].labels.shape == (60, 80)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda b: ResCLIP(b, WORDS, replace(TINY, rcs=RCS(blocks=(12,)))), ConfigError, "before the last of 12 blocks"),
        (
            lambda b: ResCLIP(b, WORDS, replace(TINY, window=Window(7, 7))),
            ConfigError,
            "crop_px must be at least the patch size 8",
        ),
        (
            lambda b: ResCLIP(b, WORDS, TINY, torch.zeros(3, 64)),
            ShapeError,
            r"text_features must be \(5, 64\), but got \(3, 64\)",
        ),
        (
            lambda b: ResCLIP(b, WORDS, TINY, torch.zeros(5, 32)),
            ShapeError,
            r"text_features must be \(5, 64\), but got \(5, 32\)",
        ),
        (
            lambda b: ResCLIP(b, WORDS, TINY).segment([torch.zeros(3, 9, 9)]),
            ShapeError,
            r"\(3, H, W\) uint8, but got \(3, 9, 9\)",
        ),
        (lambda b: ResCLIP(b, WORDS, TINY).logits(torch.zeros(1, 3, 16, 16), torch.zeros(5, 9)), ShapeError, "must be .Q, 64."),
        (lambda b: ResCLIP(b, WORDS, TINY).segment([IMAGES[0][:1]]), ShapeError, r"each image must be \(3, H, W\) uint8"),
        (lambda b: ResCLIP(b, WORDS, TINY).segment([IMAGES[0][:, :5]]), ShapeError, "sides of at least 8"),
    ],
)
def test_bad_input_is_refused(tiny: Backbone, make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make(tiny)


def test_a_batch_that_does_not_fit_is_halved_and_one_window_that_does_not_fit_is_an_error(
    tiny: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = ResCLIP(tiny, WORDS, WINDOWS)
    expected = segmenter.image_logits(IMAGES)
    room = 3
    original = segmenter.logits

    def cramped(pixels: torch.Tensor, text_features: torch.Tensor) -> torch.Tensor:
        if len(pixels) > room:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return original(pixels, text_features)

    monkeypatch.setattr(segmenter, "logits", cramped)
    for ours, whole in zip(segmenter.image_logits(IMAGES), expected, strict=True):
        torch.testing.assert_close(ours, whole, atol=2e-5, rtol=0)
    room = 0
    with pytest.raises(torch.cuda.OutOfMemoryError):
        segmenter.image_logits(IMAGES)


@pytest.mark.parametrize("config", [TINY, replace(WINDOWS, pamr=PAMR(2, (4,))), replace(TINY, sfr=None)])
def test_only_present_classes_compete(tiny: Backbone, config: ResCLIPConfig) -> None:
    segmenter = ResCLIP(tiny, WORDS, config)
    some, every = torch.tensor([True, False, True]), torch.ones(3, dtype=torch.bool)
    evidence = [ImageEvidence(present) for present in (some, every, None, some)]
    known, plain = segmenter.segment(IMAGES, evidence=evidence), segmenter.segment(IMAGES)
    others = ResCLIP(tiny, Vocabulary.parse({"red": WORDS.phrases[0], "ground": WORDS.phrases[2]}), config).segment(IMAGES)
    for index in (0, 3):  # as if the absent class had never been named
        assert torch.equal(known[index].labels, torch.tensor([0, 2, -1])[others[index].labels.long()])
        torch.testing.assert_close(known[index].confidence, others[index].confidence, atol=1e-4, rtol=0)
    for index in (1, 2):
        assert torch.equal(known[index].labels, plain[index].labels)
