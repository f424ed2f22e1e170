from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.clip.trunk_cache import CachedBackbone
from fiftyone_resclip.config import RCS, SFR
from fiftyone_resclip.presets import TINY
from fiftyone_resclip.segmenter import ResCLIP
from fiftyone_resclip.vocabulary import Vocabulary

IMAGE = torch.randint(0, 256, (3, 120, 160), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)


@pytest.mark.parametrize("window", [TINY.window, None])
def test_other_words_and_mixes_do_not_run_the_trunk_again_and_change_nothing(tiny: Backbone, window: object) -> None:
    memory = CachedBackbone(tiny)
    config = replace(TINY, window=window)
    runs = []
    for words, varied in (
        ("red cloth, snow", config),
        ("blue cloth, gravel, asphalt", config),
        ("blue cloth, gravel, asphalt", replace(config, rcs=RCS(mix=0.7), sfr=None, strategy="clearclip", prob_threshold=0.9)),
        ("blue cloth, gravel, asphalt", replace(config, sfr=SFR(mix=0.1, threshold=0.9))),
    ):
        remembering, plain = (ResCLIP(backbone, Vocabulary.parse(words), varied) for backbone in (memory, tiny))
        assert torch.equal(remembering.segment([IMAGE])[0].labels, plain.segment([IMAGE])[0].labels)
        runs.append(memory.runs)
    assert len(set(runs)) == 1


def test_another_image_blocks_or_precision_runs_it(tiny: Backbone) -> None:
    memory, pixels = CachedBackbone(tiny), tiny.normalise(IMAGE[None])
    memory.trunk(pixels)
    memory.trunk(pixels, (1, 2))
    memory.trunk(pixels.flip(3))
    with torch.autocast("cpu", torch.bfloat16):
        assert memory.trunk(pixels).q.dtype == torch.bfloat16
    assert memory.runs == 4
    memory.trunk(pixels), memory.trunk(pixels.clone(), [1, 2])
    assert memory.runs == 4


def test_the_oldest_goes_when_the_budget_is_spent(tiny: Backbone) -> None:
    pixels = tiny.normalise(IMAGE[None])
    one = CachedBackbone(tiny)
    one.trunk(pixels)
    memory = CachedBackbone(tiny, budget_mib=2.5 * one.size_mib)
    for turns in (0, 1, 0, 2, 0):  # image 0 is asked for again and again, image 1 is not
        memory.trunk(pixels.roll(turns, 3))
    assert memory.runs == 3
    memory.trunk(pixels)
    assert memory.runs == 3
    memory.trunk(pixels.roll(1, 3))
    assert memory.runs == 4
    small = CachedBackbone(tiny, budget_mib=0)
    small.trunk(pixels), small.trunk(pixels)
    assert small.runs == 1  # the last one always stays
