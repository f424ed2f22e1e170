"""The cases whose speed is measured: shapes of real benchmarks, seeded random weights, images with structure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.config import Precision, ResCLIPConfig
from fiftyone_resclip.presets import MODES, preset
from fiftyone_resclip.segmenter import ResCLIP
from fiftyone_resclip.tiny.scenes import draw_scene
from fiftyone_resclip.vocabulary import Vocabulary

ARCHITECTURE = "ViT-B-16"


@dataclass(frozen=True)
class Case:
    """One image of a benchmark, as the network sees it.

    Attributes:
        preset_name: the preset whose settings and phrases are used
        image_hw: height and width at network size
        photo_hw: height and width of the photograph and of its mask
        mode: a key of :data:`fiftyone_resclip.presets.MODES`
        phrases: number of made-up classes of one phrase each, in place of the preset's; 0 for the preset's own
        is_textured: whether the image is :func:`texture` instead of a scene
    """

    preset_name: str
    image_hw: tuple[int, int]
    photo_hw: tuple[int, int]
    mode: str = "full"
    phrases: int = 0
    is_textured: bool = False

    @property
    def config(self) -> ResCLIPConfig:
        """The published settings, with those of the mode."""
        return preset(self.preset_name).varied(MODES[self.mode].settings)

    @property
    def image(self) -> Tensor:
        """A generated image, ``(3, H, W)`` uint8."""
        random = np.random.default_rng(0)
        image = texture(random, self.image_hw) if self.is_textured else draw_scene(random, self.image_hw, 5).image
        return torch.from_numpy(image).permute(2, 0, 1).contiguous()

    @property
    def vocabulary(self) -> Vocabulary:
        """The classes."""
        if self.phrases:
            return Vocabulary.parse([f"thing {number}" for number in range(self.phrases)])
        return Vocabulary.preset(self.preset_name)

    def segmenter(self, backbone: Backbone, precision: Precision) -> ResCLIP:
        """The method on this case's words, whose text features are random directions."""
        vocabulary = self.vocabulary
        shape = (len(vocabulary.flat_phrases), backbone.feature_width)
        features = functional.normalize(torch.randn(shape, generator=torch.Generator().manual_seed(0)), dim=1)
        return ResCLIP(backbone, vocabulary, replace(self.config, precision=precision), features)


def texture(random: np.random.Generator, image_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Makes noise that differs from patch to patch as photographs do: its amplitude falls with the frequency.

    The fall is that of natural images (Field, "Relations between the statistics of natural images and the response properties of
    cortical cells", JOSA A 1987).

    Args:
        random: where it comes from
        image_hw: height and width

    Returns:
        ``(H, W, 3)``
    """
    height, width = image_hw
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = np.inf  # no mean
    spectrum = np.fft.rfft2(random.standard_normal((3, height, width))) / frequency
    noise = np.fft.irfft2(spectrum, (height, width))
    image: NDArray[np.uint8] = (128 + 50 * noise / noise.std()).clip(0, 255).astype(np.uint8).transpose(1, 2, 0)
    return image


_FULL = {
    "voc21-like": Case("voc21", (336, 448), (375, 500)),
    "ade20k-like": Case("ade20k", (336, 448), (512, 683)),
    "cityscapes-like": Case("cityscapes", (560, 1120), (1024, 2048)),
}

#: Large photographs, and long lists of words.
_LARGE = {
    **{f"12mp-{phrases}": Case("ade20k", (336, 448), (3000, 4000), phrases=phrases) for phrases in (5, 50, 150, 500)},
    **{f"phrases-{phrases}": Case("ade20k", (336, 448), (336, 448), phrases=phrases) for phrases in (500, 2000)},
}

#: Cases whose patches differ.
_TEXTURED = {
    f"{name}-textured": replace({**_FULL, **_LARGE}[name], is_textured=True)
    for name in ("ade20k-like", "12mp-150", "phrases-500")
}

#: The cases by name: those of the whole method, of RCS alone and of NACLIP with final PAMR; then large and textured ones.
CASES: Mapping[str, Case] = {
    **{
        name + suffix: replace(case, mode=mode)
        for mode, suffix in (("full", ""), ("fast", "-fast"), ("sharp", "-sharp"))
        for name, case in _FULL.items()
    },
    **_LARGE,
    **_TEXTURED,
    **{f"{name}-fast": replace(case, mode="fast") for name, case in {**_LARGE, **_TEXTURED}.items()},
}
