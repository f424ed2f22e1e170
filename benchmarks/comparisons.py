"""The tuned forms and the plain forms they replace, on the shapes that ViT-B/16 has in :mod:`benchmarks.cases`.

:mod:`benchmarks.kernels` measures them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple
from unittest.mock import patch

import open_clip
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.cases import CASES, Case
from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.config import PAMR, SFR, STRATEGIES
from fiftyone_resclip.core import attention, feedback, kernels, labels, pamr, path_rule, windows
from fiftyone_resclip.core.kernels import onednn
from fiftyone_resclip.core.labels import LabelMap, label_map
from fiftyone_resclip.core.text import ensemble
from fiftyone_resclip.vocabulary import Vocabulary


class Setting(NamedTuple):
    """Sizes and weights of all comparisons.

    Attributes:
        backbone: the CLIP
        cases: images and settings, by the names of :data:`benchmarks.cases.CASES`
        photo_hw: height and width of a large photograph
        phrases: number of phrases that are encoded
    """

    backbone: Backbone
    cases: Mapping[str, Case] = CASES
    photo_hw: tuple[int, int] = (1536, 2048)
    phrases: int = 3


class Sides(NamedTuple):
    """A tuned form and the plain form it replaces, both ready to run on the same input.

    Attributes:
        tuned: runs the tuned form
        plain: runs the plain form
        sizes: description of the input's sizes
    """

    tuned: Callable[[], Any]
    plain: Callable[[], Any]
    sizes: str


class Comparison(NamedTuple):
    """A comparison of two forms.

    Attributes:
        tuned: name of the tuned form
        plain: name of the plain form
        sides: prepares both forms
    """

    tuned: str
    plain: str
    sides: Callable[[Setting], Sides]


def attention_sides(setting: Setting) -> Sides:
    """Prepares the last block's attention with RCS and SFR."""
    case, backbone = setting.cases["voc21-like"], setting.backbone
    config, strategy = case.config, STRATEGIES[case.config.strategy]
    assert config.rcs is not None and config.sfr is not None
    trunk = backbone.trunk(backbone.normalise(case.image[None]), config.rcs.blocks)
    assert trunk.mean_attention is not None
    heads, tokens = trunk.q.shape[1:3]
    additions: dict[str, Any] = {
        "bias": attention.locality_bias(trunk.grid_hw, config.locality_sigma, trunk.q.dtype, trunk.q.device),
        "rcs": (config.rcs, trunk.mean_attention),
        "sfr": (config.sfr, _drawn(1, tokens, tokens).sigmoid()),
    }
    tuned, plain = (
        partial(form, trunk.q, trunk.k, trunk.v, strategy, **additions) for form in (kernels.attend, attention.attend)
    )
    return Sides(tuned, plain, f"{heads} heads, {tokens} tokens")


def linear_sides(setting: Setting, *, gelu: bool) -> Sides:
    """Prepares the first layer of the last MLP, with or without its GELU."""
    backbone, grid_hw = setting.backbone, _grid_hw(setting, "voc21-like")
    layer = backbone.model.visual.transformer.resblocks[-1].mlp.c_fc
    arguments = _drawn(1, 1 + grid_hw[0] * grid_hw[1], layer.in_features), layer.weight, layer.bias

    def plain() -> Tensor:
        result = functional.linear(*arguments)
        return functional.gelu(result) if gelu else result

    sizes = f"{arguments[0].shape[1]} tokens, {layer.in_features} to {layer.out_features} features"
    return Sides(partial(kernels.linear, *arguments, gelu=gelu), plain, sizes)


def forward_sides(setting: Setting) -> Sides:
    """Prepares a whole prediction, with oneDNN's linear layers and without."""
    case = setting.cases["voc21-like-fast"]
    run = partial(case.segmenter(setting.backbone, "float32").segment, [case.image], [case.photo_hw])

    def plain() -> list[LabelMap]:
        with patch.object(onednn, "works", return_value=False):
            return run()

    return Sides(run, plain, f"{_by(case.image_hw)} image")


def refine_sides(setting: Setting) -> Sides:
    """Prepares PAMR on an image at network size."""
    case, backbone = setting.cases["voc21-like"], setting.backbone
    channels = len(Vocabulary.preset(case.preset_name).flat_phrases)
    arguments = _drawn(1, channels, *case.image_hw), backbone.normalise(case.image[None])
    sizes = f"{channels} channels, {_by(case.image_hw)} pixels"
    return Sides(partial(kernels.refine, *arguments), partial(pamr.refine, *arguments), sizes)


def draft_sides(setting: Setting) -> Sides:
    """Prepares the draft of SFR in one window."""
    logits, boxes, case = _windows(setting)
    pixels = setting.backbone.normalise(case.image[None, :, boxes[0].rows, boxes[0].columns])
    arguments = logits[0][None], pixels, PAMR(), case.config.logit_scale
    sizes = f"{len(logits[0])} phrases, {_by(pixels.shape[2:])} pixels"
    return Sides(partial(kernels.draft_phrases, *arguments), partial(feedback.draft_phrases, *arguments), sizes)


def settled_sides(setting: Setting) -> Sides:
    """Prepares the labels of the patches of one window, whose scores vary smoothly from patch to patch."""
    logits, boxes, case = _windows(setting)
    assert case.config.sfr is not None
    draft, patch_px = _smooth(len(logits[0]), logits[0].shape[1:]), setting.backbone.patch_px
    pixels = setting.backbone.normalise(case.image[None, :, boxes[0].rows, boxes[0].columns])
    run = partial(feedback.patch_labels, draft, pixels, patch_px, case.config.sfr, case.config.logit_scale)

    def by_formula(draft: Tensor, pixels: Tensor, sfr: SFR, _: int, logit_scale: float) -> tuple[Tensor, Tensor]:
        return feedback.draft_phrases(draft, pixels, sfr.pamr, logit_scale)

    def plain() -> Tensor:
        with patch.object(kernels, "settled_phrases", by_formula):
            return run()

    return Sides(run, plain, f"{len(logits[0])} phrases, {_by(pixels.shape[2:])} pixels")


def lines_sides(setting: Setting, *, case: str) -> Sides:
    """Prepares the path rule on the patches of a whole image."""
    grid_hw = _grid_hw(setting, case)
    labels = torch.randint(0, 3, (1, *grid_hw), generator=torch.Generator().manual_seed(0))
    return Sides(partial(kernels.broken_lines, labels), partial(path_rule.broken_lines, labels), f"{_by(grid_hw)} patches")


def stitch_sides(setting: Setting) -> Sides:
    """Prepares stitching, resizing and labels of a large photograph."""
    logits, boxes, case = _windows(setting)
    decide = partial(label_map, logit_scale=case.config.logit_scale, threshold=0.0, fallback=-1)

    def run(stitch: Callable[..., windows.ResizableScores]) -> LabelMap:
        return decide(stitch(logits, boxes, case.image_hw).resized(setting.photo_hw), range(len(logits[0])))

    sizes = f"{len(boxes)} windows, {len(logits[0])} phrases, {_by(setting.photo_hw)} pixels"
    return Sides(partial(run, kernels.stitch), partial(run, windows.stitch), sizes)


def label_sides(setting: Setting) -> Sides:
    """Prepares labels and mean confidence of a large photograph, whose scores vary smoothly from patch to patch."""
    case = setting.cases["ade20k-like"]
    phrases = len(case.vocabulary.flat_phrases)
    whole = _smooth(phrases, _grid_hw(setting, "ade20k-like"))
    scores = kernels.stitch(list(whole), [windows.Box(0, 0, *case.image_hw)], case.image_hw).resized(setting.photo_hw)
    arguments = scores.scaled(case.config.logit_scale), torch.arange(phrases, dtype=torch.int16)
    tuned, plain = (partial(form, *arguments, mean_only=True) for form in (kernels.winners, labels.winners))
    return Sides(tuned, plain, f"{phrases} phrases, {_by(setting.photo_hw)} pixels")


def text_sides(setting: Setting) -> Sides:
    """Prepares encoding phrases in all templates: our text tower without padding, and open_clip's on the same sentences."""
    backbone, templates = setting.backbone, open_clip.OPENAI_IMAGENET_TEMPLATES
    phrases = Vocabulary.preset("ade20k").flat_phrases[: setting.phrases]

    def plain() -> Tensor:
        tokens = backbone.tokenizer([template(phrase) for phrase in phrases for template in templates])
        embeddings = torch.cat([backbone.model.encode_text(batch) for batch in tokens.split(256)])
        return ensemble(embeddings.unflatten(0, (len(phrases), len(templates))))

    return Sides(partial(backbone.encode_text, phrases), plain, f"{len(phrases)} phrases, {len(templates)} templates")


_TORCH = "torch.nn.functional.linear"

#: All comparisons, in the order of :mod:`fiftyone_resclip.core.kernels`.
COMPARISONS: Mapping[str, Comparison] = {
    "attention with RCS and SFR": Comparison("core.kernels.attend", "core.attention.attend", attention_sides),
    "linear layer": Comparison("core.kernels.linear", _TORCH, partial(linear_sides, gelu=False)),
    "linear layer and GELU": Comparison("core.kernels.linear", f"{_TORCH}, gelu", partial(linear_sides, gelu=True)),
    "whole prediction, fast mode": Comparison("core.kernels.linear", f"{_TORCH}, gelu", forward_sides),
    "PAMR": Comparison("core.kernels.refine", "core.pamr.refine", refine_sides),
    "draft of SFR": Comparison("core.kernels.draft_phrases", "core.feedback.draft_phrases", draft_sides),
    "labels of SFR's patches": Comparison("core.kernels.settled_phrases", "core.feedback.draft_phrases", settled_sides),
    **{
        f"path rule, {case}": Comparison(
            "core.kernels.broken_lines", "core.path_rule.broken_lines", partial(lines_sides, case=case)
        )
        for case in ("voc21-like", "cityscapes-like")
    },
    "stitching and labels": Comparison("core.kernels.stitch", "core.windows.stitch", stitch_sides),
    "labels": Comparison("core.kernels.winners", "core.labels.winners", label_sides),
    "text tower": Comparison("clip.backbone.Backbone.encode_text", "open_clip.CLIP.encode_text", text_sides),
}


def _drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _smooth(phrases: int, grid_hw: Sequence[int]) -> Tensor:
    """Made-up cosines that vary smoothly from patch to patch, ``(1, phrases, h, w)``."""
    return 0.05 * functional.interpolate(_drawn(1, phrases, 6, 8), tuple(grid_hw), mode="bicubic")


def _grid_hw(setting: Setting, case: str) -> tuple[int, int]:
    """Patches down and across of a case's image."""
    height, width = setting.cases[case].image_hw
    return height // setting.backbone.patch_px, width // setting.backbone.patch_px


def _windows(setting: Setting) -> tuple[list[Tensor], list[windows.Box], Case]:
    """Scores and position of each window of the case with many phrases."""
    case, patch_px = setting.cases["ade20k-like"], setting.backbone.patch_px
    boxes = windows.window_boxes(case.image_hw, case.config.window)
    grid_hw = (boxes[0].bottom // patch_px, boxes[0].right // patch_px)
    phrases = len(Vocabulary.preset(case.preset_name).flat_phrases)
    return list(_drawn(len(boxes), phrases, *grid_hw)), boxes, case


def _by(sides: Sequence[int]) -> str:
    return "x".join(map(str, sides))
