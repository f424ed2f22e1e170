"""Labels by cell are those that all phrases' exact scores give at every pixel."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import NamedTuple
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fiftyone_resclip.config import Window
from fiftyone_resclip.core import kernels, labels, windows
from fiftyone_resclip.core.kernels import cell_labels, cells
from fiftyone_resclip.core.kernels.mosaic import Mosaic
from fiftyone_resclip.core.labels import LabelMap

#: Stands for a threshold that is exactly the confidence of one pixel.
OF_A_PIXEL = 2.0
#: Into how many cells the way from patch to patch is divided; ``None`` leaves that to the code.
PARTS = st.none() | st.integers(1, 12)


class Image(NamedTuple):
    """Scores of an image and what decides about its labels."""

    mosaic: Mosaic
    classes: Tensor
    allowed: Tensor | None
    threshold: float
    parts: int | None


@st.composite
def images(draw: st.DrawFn) -> Image:
    """Draws images of one or many windows, steep and flat, with ties between phrases, patches and pixels."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    hw = draw(st.integers(9, 50)), draw(st.integers(9, 50))
    crop = draw(st.integers(5, 50))
    boxes = windows.window_boxes(hw, Window(crop, draw(st.integers(1 + crop // 2, crop))))
    phrases = draw(st.integers(1, 12))
    spread = draw(st.sampled_from([0.0, 0.01, 0.3, 2.0, 40.0]))
    logits = torch.randn(len(boxes), phrases, 2, 4, generator=generator) * spread
    logits += torch.randn(phrases, 1, 1, generator=generator) * draw(st.sampled_from([0.0, 1.0]))
    if draw(st.booleans()):
        logits = logits.round()  # equal patches, and differences that are equal at many pixels
    if draw(st.booleans()):
        logits[:, draw(st.integers(0, phrases - 1))] = logits[:, draw(st.integers(0, phrases - 1))]
    if phrases > 1 and draw(st.booleans()):
        logits[:, 0] -= 4e4  # a class that can't be present
    classes = torch.arange(phrases, dtype=torch.int16) // draw(st.integers(1, 3))
    allowed = torch.rand(phrases, generator=generator) < 0.5 if draw(st.booleans()) else None
    if allowed is not None:
        allowed[draw(st.integers(0, phrases - 1))] = True
    mosaic = kernels.stitch(list(logits), boxes, hw)
    inner = mosaic.part(slice(None), slice(hw[0] - draw(st.integers(0, 3))), slice(hw[1] - draw(st.integers(0, 3))))
    out_hw = draw(st.integers(1, 130)), draw(st.integers(1, 130))
    return Image(inner.resized(out_hw), classes, allowed, draw(st.sampled_from([0.0, 0.1, 0.5, OF_A_PIXEL])), draw(PARTS))


def by_cell(image: Image, threshold: float, *, mean_only: bool) -> LabelMap:
    deciding = {"allowed": image.allowed, "threshold": threshold, "fallback": -1, "mean_only": mean_only}
    with nullcontext() if image.parts is None else patch.object(cells, "_parts", return_value=image.parts):
        return cell_labels.winners(image.mosaic, image.classes, **deciding)


def every_pixel(mosaic: Mosaic) -> Tensor:
    """The exact scores of all phrases at all pixels, ``(H, W, Q)`` float64."""
    height, width = mosaic.image_hw
    rows, columns = torch.arange(height).repeat_interleave(width), torch.arange(width).repeat(height)
    every = torch.arange(mosaic.phrases).expand(height * width, -1)
    return mosaic.exact(rows, columns, every).unflatten(0, (height, width))


def summed(mosaic: Mosaic) -> Tensor:
    """The same sums in one go, ``(H, W, Q)`` float64."""
    shares = mosaic.row_shares.double(), mosaic.column_shares.double()
    return torch.einsum("rh,rqc,cw->hwq", shares[0], mosaic.patches.double(), shares[1])


@given(images())
@settings(max_examples=120, deadline=None)
def test_labels_by_cell_are_those_of_all_scores_at_all_pixels(image: Image) -> None:
    exact = every_pixel(image.mosaic)
    torch.testing.assert_close(exact, summed(image.mosaic), rtol=1e-12, atol=1e-9)
    phrase, confidence = labels.likeliest(exact, 2, image.allowed)
    middle = float(confidence[confidence.shape[0] // 2, confidence.shape[1] // 3])
    threshold = middle if image.threshold == OF_A_PIXEL else image.threshold
    expected = image.classes[phrase].masked_fill(confidence < threshold, -1)
    for mean_only in (True, False):
        found = by_cell(image, threshold, mean_only=mean_only)
        assert torch.equal(found.labels, expected)
        if mean_only:
            assert abs(found.mean_confidence - confidence.mean()) <= cell_labels.CONFIDENCE_ERROR
            for code in expected.unique().tolist():  # -1 is no label
                own = confidence[expected == code].sum()
                assert abs(found.confidence[code + 1] - own) <= cell_labels.CONFIDENCE_ERROR * expected.numel()
        else:
            assert torch.equal(found.phrases, phrase.short())
            rounding = 1e-6 * max(float(exact.abs().max()), 10)
            assert (found.confidence - confidence).abs().max() <= cell_labels.CONFIDENCE_ERROR + rounding


@given(images())
@settings(max_examples=60, deadline=None)
def test_the_formula_gives_the_same_labels_where_float32_can_tell(image: Image) -> None:
    deciding = {"allowed": image.allowed, "threshold": image.threshold, "fallback": -1, "mean_only": True}
    formula = labels.winners(image.mosaic, image.classes, **deciding)
    differs = by_cell(image, image.threshold, mean_only=True).labels != formula.labels
    scores = every_pixel(image.mosaic)[differs]
    allowed = scores if image.allowed is None else scores[:, image.allowed]
    lead = -allowed.topk(min(2, allowed.shape[1]), dim=1).values.diff(dim=1)
    certainty = labels.likeliest(scores, 1, image.allowed)[1]
    rounding = 1e-6 * (1 + scores.abs().amax(dim=1))
    assert ((lead <= rounding[:, None]).any(dim=1) | ((certainty - image.threshold).abs() <= rounding)).all()


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.0, 20.0, math.inf]), min_size=1, max_size=12))
def test_as_few_errors_as_possible_are_too_far_off(values: list[float]) -> None:
    errors = torch.tensor(values, dtype=torch.float64)
    assert torch.equal(cells.too_far_off(errors, 1.0, on_average=False), errors > 1)
    too_far = cells.too_far_off(errors, 1.0, on_average=True)
    assert errors.masked_fill(too_far, 0).mean() <= 1
    if too_far.any():
        smallest = errors[too_far].min()
        assert errors[~too_far].sum() + smallest > len(errors) and (errors[~too_far] <= smallest).all()


@pytest.mark.parametrize("mean_only", [True, False])
def test_a_gpu_that_is_full_leaves_the_labels_to_the_cpu(mean_only: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = torch.randn(7, 3, 4, generator=torch.Generator().manual_seed(0))
    mosaic, classes = kernels.stitch([scores], [windows.Box(0, 0, 12, 16)], (12, 16)).resized((30, 50)), torch.arange(7).short()
    deciding = classes, torch.arange(7) != 3, 0.3, -1
    expected = labels.winners(mosaic, *deciding, mean_only=mean_only)

    def full(*_: object, **__: object) -> None:
        raise torch.cuda.OutOfMemoryError

    monkeypatch.setattr(labels, "winners", full)
    found = kernels.winners(mosaic, *deciding, mean_only=mean_only)
    assert torch.equal(found.labels, expected.labels) and 0 < (found.labels == -1).sum() < found.labels.numel()
    torch.testing.assert_close(found.mean_confidence, expected.mean_confidence, rtol=0, atol=cell_labels.CONFIDENCE_ERROR)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        kernels.winners(windows.WholeScores(scores), *deciding, mean_only=mean_only)
