from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.config import RCS
from fiftyone_resclip.core.windows import Box, window_boxes
from fiftyone_resclip.explore.patch_attention import attention_rows
from fiftyone_resclip.presets import TINY
from fiftyone_resclip.segmenter import ResCLIP
from fiftyone_resclip.vocabulary import Vocabulary

IMAGE = torch.randint(0, 256, (3, 120, 160), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)
WORDS = Vocabulary.parse("red cloth, snow, gravel")


def test_rows_are_those_of_the_attention_that_is_used(tiny: Backbone) -> None:
    config = replace(TINY, window=None)
    segmenter = ResCLIP(tiny, WORDS, config)
    rows = attention_rows(segmenter, IMAGE, (119.0, 0.0))
    grid = (120 // tiny.patch_px, 160 // tiny.patch_px)
    assert rows.box == Box(0, 0, 120, 160) and rows.patch == (grid[0] - 1, 0)
    assert rows.rcs is not None and rows.sfr is not None
    assert rows.rcs.shape == rows.sfr.shape == rows.final.shape == grid
    assert rows.sfr.max() <= 1 and rows.sfr[rows.patch] > 0
    trunk = segmenter.trunk(tiny.normalise(IMAGE[None]))
    token = 1 + rows.patch[0] * grid[1] + rows.patch[1]
    assert trunk.mean_attention is not None
    expected = trunk.mean_attention[0].mean(0)[token]
    torch.testing.assert_close(rows.rcs.flatten(), expected[1:])
    assert expected.sum() == pytest.approx(1, abs=1e-4)
    bare = ResCLIP(tiny, WORDS, replace(config, rcs=RCS(gain=1.0, mix=1.0), sfr=None))
    torch.testing.assert_close(attention_rows(bare, IMAGE, (119.0, 0.0)).final, rows.rcs)  # only RCS is in it


def test_what_is_off_has_no_row(tiny: Backbone) -> None:
    rows = attention_rows(ResCLIP(tiny, WORDS, replace(TINY, rcs=None, sfr=None)), IMAGE, (0, 0))
    assert rows.rcs is None and rows.sfr is None


@pytest.mark.parametrize("point", [(0.0, 0.0), (60.0, 80.0), (119.9, 159.9), (10.0, 140.0)])
def test_the_window_holds_the_point_and_the_patch_lies_under_it(tiny: Backbone, point: tuple[float, float]) -> None:
    segmenter = ResCLIP(tiny, WORDS, TINY)
    rows = attention_rows(segmenter, IMAGE, point)
    assert rows.box in window_boxes((120, 160), TINY.window)
    assert rows.box.top <= point[0] <= rows.box.bottom and rows.box.left <= point[1] <= rows.box.right
    cell = (rows.box.bottom - rows.box.top) / rows.final.shape[0]
    assert rows.box.top + rows.patch[0] * cell <= point[0] < rows.box.top + (rows.patch[0] + 1) * cell
