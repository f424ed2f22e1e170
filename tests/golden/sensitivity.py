"""Proves that the goldens can fail: makes small mistakes on purpose, one at a time, and prints who notices.

``python tests/golden/sensitivity.py [FOLDER]``: a line per mistake with the largest change of a patch logit, the share of pixels
that change their label, and whether a golden case fails. Exit 1 if a mistake goes unnoticed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parents[2]))

from fiftyone_resclip import segmenter
from fiftyone_resclip.clip import backbone as backbone_module
from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.config import PAMR, STRATEGIES, ResCLIPConfig, Strategy
from fiftyone_resclip.core import feedback, kernels, pamr, path_rule, windows
from fiftyone_resclip.core.attention import patch_offsets
from fiftyone_resclip.core.kernels import attend, line_tables, mosaic
from tests.golden import check

#: Small ones first: a mistake is tried on each until one fails.
CASES = ("p25_small_160x192", "p13_naclip_both", "p26_slide_short_200x300", "p24_scale100_pamr", "p16_vanilla_w_plain")


@dataclass(frozen=True)
class Mistake:
    """One thing done slightly wrong: by other settings, or by replaced attributes of modules."""

    name: str
    change: Callable[[ResCLIPConfig], ResCLIPConfig] = lambda config: config
    patches: tuple[tuple[Any, str, Any], ...] = ()
    on_model: Callable[[Backbone], Any] | None = None

    @contextmanager
    def made(self, backbone: Backbone) -> Iterator[None]:
        """Makes the mistake for as long as the context lasts."""
        with ExitStack() as stack:
            for owner, name, wrong in self.patches:
                stack.enter_context(patch.object(owner, name, wrong))
            if self.on_model is not None:
                stack.enter_context(self.on_model(backbone))
            yield


def with_rcs(**values: Any) -> Callable[[ResCLIPConfig], ResCLIPConfig]:
    return lambda config: replace(config, rcs=config.rcs and replace(config.rcs, **values))


def with_sfr(**values: Any) -> Callable[[ResCLIPConfig], ResCLIPConfig]:
    return lambda config: replace(config, sfr=config.sfr and replace(config.sfr, **values))


def swapped_rcs(config: ResCLIPConfig) -> ResCLIPConfig:
    return replace(config, rcs=config.rcs and replace(config.rcs, mix=1 - config.rcs.mix))


def swapped_sfr(config: ResCLIPConfig) -> ResCLIPConfig:
    return replace(config, sfr=config.sfr and replace(config.sfr, mix=1 - config.sfr.mix))


def bias_before_feedback(
    q: Tensor, k: Tensor, v: Tensor, strategy: Strategy, *, bias: Any = None, rcs: Any = None, sfr: Any = None
) -> Tensor:
    if sfr is not None and bias is not None:
        bias = sfr[0].gain * (1 - sfr[0].mix) * bias
    return attend(q, k, v, strategy, bias=bias, rcs=rcs, sfr=sfr)


def bias_times_gain(
    q: Tensor, k: Tensor, v: Tensor, strategy: Strategy, *, bias: Any = None, rcs: Any = None, sfr: Any = None
) -> Tensor:
    return attend(q, k, v, strategy, bias=bias * sfr[0].gain if sfr and bias is not None else bias, rcs=rcs, sfr=sfr)


def rows_renormalised(q: Tensor, k: Tensor, v: Tensor, strategy: Strategy, *, rcs: Any = None, **rest: Any) -> Tensor:
    return attend(q, k, v, strategy, rcs=rcs and (replace(rcs[0], gain=1.0), rcs[1]), **rest)


def residual_scores_only(q: Tensor, k: Tensor, v: Tensor, strategy: Strategy, *, rcs: Any = None, **rest: Any) -> Tensor:
    return attend(q, k, v, strategy, rcs=rcs and (rcs[0], rcs[1].mean(dim=1, keepdim=True)), **rest)


def unscaled(q: Tensor, k: Tensor, v: Tensor, strategy: Strategy, **rest: Any) -> Tensor:
    return attend(q * 1.01, k * 1.01, v, strategy, **rest)


def blurred_in_two_dimensions(matrix: Tensor, sigma: float) -> Tensor:
    side = {120: (10, 12), 196: (14, 14), 168: (12, 14), 300: (15, 20)}[matrix.shape[-1]]
    offsets = torch.arange(31.0) - 15
    kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).view(1, 1, -1)
    maps = matrix.reshape(-1, 1, *side)
    maps = functional.conv2d(functional.conv2d(maps, kernel[:, :, None], padding=(0, 15)), kernel[..., None], padding=(15, 0))
    blurred = maps.reshape(matrix.shape)
    return blurred / (blurred.sum(dim=-1, keepdim=True) + 1e-8)


def blurred_along_queries(matrix: Tensor, sigma: float) -> Tensor:
    return feedback_blur(matrix.transpose(1, 2).contiguous(), sigma).transpose(1, 2)


def not_normalised_by_row(matrix: Tensor, sigma: float) -> Tensor:
    rows = matrix.sum(dim=-1, keepdim=True)
    return feedback_blur(matrix, sigma) * rows


def one_tap_less(matrix: Tensor, sigma: float) -> Tensor:
    return feedback_blur(matrix, sigma) if int(6 * sigma + 1) > 31 else _blur_with(matrix, sigma, 29)


def _blur_with(matrix: Tensor, sigma: float, taps: int) -> Tensor:
    offsets = torch.arange(taps, dtype=matrix.dtype) - taps // 2
    kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
    blurred = functional.conv1d(
        matrix.reshape(-1, 1, matrix.shape[-1]), (kernel / kernel.sum()).view(1, 1, -1), padding=taps // 2
    )
    blurred = blurred.view_as(matrix)
    return blurred / blurred.sum(dim=-1, keepdim=True)


def lines_over_their_own_length(batch: Tensor) -> Tensor:
    (labels,), grid_hw = batch.flatten(1), (batch.shape[1], batch.shape[2])
    rows, columns = (labels.new_tensor(range(len(labels))) // grid_hw[1], labels.new_tensor(range(len(labels))) % grid_hw[1])
    distance = path_rule.chebyshev(grid_hw, labels.device)
    broken = labels[:, None] != labels[None]
    broken = torch.zeros_like(broken)
    for sample in range(1, max(grid_hw)):
        t = (sample / distance.clamp(min=1)).clamp(max=1)
        y = (rows[:, None] * (1 - t) + rows[None] * t).round().long()
        x = (columns[:, None] * (1 - t) + columns[None] * t).round().long()
        broken |= (labels[y * grid_hw[1] + x] != labels[:, None]) & (distance >= sample)
    return broken[None]


def broken_lines_weigh_nothing(labels: Tensor, *, path_rule: bool) -> Tensor:
    return (feedback_agreement(labels, path_rule=path_rule) == 1).float()


def euclidean(grid_hw: tuple[int, int], device: torch.device) -> Tensor:
    rows, columns = patch_offsets(grid_hw, device)
    return (rows**2 + columns**2).float().sqrt()


def larger_label_on_a_tie(labels: Tensor, patch_px: int, n_labels: int) -> Tensor:
    return n_labels - 1 - most_frequent(n_labels - 1 - labels, patch_px, n_labels)


def label_of_the_corner(labels: Tensor, patch_px: int, n_labels: int) -> Tensor:
    return labels[:, : labels.shape[1] // patch_px * patch_px : patch_px, : labels.shape[2] // patch_px * patch_px : patch_px]


def biased_spread(image: Tensor, dilations: Any) -> Tensor:
    count = 9 * len(dilations)
    return pamr_spread(image, dilations) * ((count - 1) / count) ** 0.5


def spread_without_repeated_centre(image: Tensor, dilations: Any) -> Tensor:
    values = torch.stack([image, *pamr.neighbours(image, dilations)])
    return values.std(dim=0)


def aligned_corners(logits: Tensor, out_hw: tuple[int, int]) -> Tensor:
    return functional.interpolate(logits.float(), size=out_hw, mode="bilinear", align_corners=True)


def last_window_a_pixel_early(side: int, window: Any) -> list[tuple[int, int]]:
    *first, (start, end) = spans(side, window)
    return [*first, (start - 1, end - 1)] if first else [(start, end)]


def kept_maximum(draft: Tensor, pixels: Tensor, patch_px: int, sfr: Any, scale: float) -> Tensor:
    labels = feedback.patch_labels(draft, pixels, patch_px, sfr, scale)
    return functional.pad(feedback.blurred_rows(feedback.agreement(labels, path_rule=sfr.path_rule), sfr.sigma), (1, 0, 1, 0))


def class_token_agrees(*arguments: Any) -> Tensor:
    matrix = feedback_map(*arguments).clone()
    matrix[:, 0], matrix[:, :, 0] = 1, 1
    return matrix


def interpolated(mode: str, extra: float) -> Callable[..., Tensor]:
    def wrong(self: Backbone, grid_hw: tuple[int, int]) -> Tensor:
        table, trained = self._visual.positional_embedding, self._visual.grid_size
        patches = table[1:].T.unflatten(1, trained)[None]
        factors = [(side + extra) / g for side, g in zip(grid_hw, trained, strict=True)]
        moved = functional.interpolate(
            patches, scale_factor=factors, mode=mode, align_corners=False, recompute_scale_factor=False
        )
        return torch.cat([table[:1], moved[0].flatten(1).T])

    return wrong


@contextmanager
def exact_gelu(backbone: Backbone) -> Iterator[None]:
    blocks = backbone._blocks
    kept = [block.mlp.gelu for block in blocks]
    for block in blocks:
        block.mlp.gelu = nn.GELU()
    yield
    for block, gelu in zip(blocks, kept, strict=True):
        block.mlp.gelu = gelu


@contextmanager
def without_ln_post(backbone: Backbone) -> Iterator[None]:
    kept, backbone._visual.ln_post = backbone._visual.ln_post, nn.Identity()
    yield
    backbone._visual.ln_post = kept


@contextmanager
def clips_own_rounding_of_the_mean(backbone: Backbone) -> Iterator[None]:
    kept, backbone._mean = backbone._mean, backbone._mean + 0.01
    yield
    backbone._mean = kept


most_frequent, feedback_blur, feedback_map = feedback.most_frequent, feedback.blurred_rows, feedback.feedback_map
pamr_spread, spans = pamr._spread, windows._spans
NO_BIAS = {**STRATEGIES, "naclip": replace(STRATEGIES["naclip"], locality=False)}
QK = {**STRATEGIES, "naclip": replace(STRATEGIES["naclip"], pairs=(("q", "k"),))}
feedback_agreement = feedback.agreement

MISTAKES: tuple[Mistake, ...] = (
    Mistake("RCS from blocks 5-8", with_rcs(blocks=(5, 6, 7, 8))),
    Mistake("RCS from blocks 7-10", with_rcs(blocks=(7, 8, 9, 10))),
    Mistake("RCS from three blocks", with_rcs(blocks=(6, 7, 8))),
    Mistake("RCS shares swapped", swapped_rcs),
    Mistake("RCS without its gain", with_rcs(gain=1.0)),
    Mistake("RCS averaged over heads", patches=((segmenter, "attend", residual_scores_only),)),
    Mistake("RCS, rows summing to one again", patches=((segmenter, "attend", rows_renormalised),)),
    Mistake("SFR shares swapped", swapped_sfr),
    Mistake("SFR without its gain", with_sfr(gain=1.0)),
    Mistake("SFR without draft threshold", with_sfr(threshold=0.0)),
    Mistake("no path rule", with_sfr(path_rule=False)),
    Mistake("lines sampled over their own length", patches=((kernels, "broken_lines", lines_over_their_own_length),)),
    Mistake("broken lines weigh nothing", patches=((feedback, "agreement", broken_lines_weigh_nothing),)),
    Mistake("Euclidean distance", patches=((line_tables, "chebyshev", euclidean), (path_rule, "chebyshev", euclidean))),
    Mistake("blur of sigma 4.9", with_sfr(sigma=4.9)),
    Mistake("blur in two dimensions", patches=((feedback, "blurred_rows", blurred_in_two_dimensions),)),
    Mistake("blur along queries", patches=((feedback, "blurred_rows", blurred_along_queries),)),
    Mistake("blur with two taps less", patches=((feedback, "blurred_rows", one_tap_less),)),
    Mistake("rows of the feedback not normalised", patches=((feedback, "blurred_rows", not_normalised_by_row),)),
    Mistake("no division by the maximum", patches=tuple((m, "feedback_map", kept_maximum) for m in (segmenter, feedback))),
    Mistake("class token agrees with all", patches=tuple((m, "feedback_map", class_token_agrees) for m in (segmenter, feedback))),
    Mistake("larger label on a tie", patches=((feedback, "most_frequent", larger_label_on_a_tie),)),
    Mistake("label of a patch's corner", patches=((feedback, "most_frequent", label_of_the_corner),)),
    Mistake("draft PAMR of 9 steps", with_sfr(pamr=PAMR(9, (8, 16)))),
    Mistake("draft PAMR at 8 and 12 pixels", with_sfr(pamr=PAMR(10, (8, 12)))),
    Mistake("no draft PAMR", with_sfr(pamr=None)),
    Mistake("PAMR with biased spread", patches=((pamr, "_spread", biased_spread),)),
    Mistake("PAMR, centre counted once", patches=((pamr, "_spread", spread_without_repeated_centre),)),
    Mistake("locality bias of sigma 4.9", lambda config: replace(config, locality_sigma=4.9)),
    Mistake("no locality bias", patches=((segmenter, "STRATEGIES", NO_BIAS),)),
    Mistake("query-key scores", patches=((segmenter, "STRATEGIES", QK),)),
    Mistake("bias before the SFR mix", patches=((segmenter, "attend", bias_before_feedback),)),
    Mistake("bias scaled by the SFR gain", patches=((segmenter, "attend", bias_times_gain),)),
    Mistake("scores 2 % too large", patches=((segmenter, "attend", unscaled),)),
    Mistake("last block with residual", lambda config: replace(config, arch="residual")),
    Mistake("exact GELU", on_model=exact_gelu),
    Mistake("no final layer norm", on_model=without_ln_post),
    Mistake("pixel mean off by 0.01", on_model=clips_own_rounding_of_the_mean),
    Mistake("position table without the 0.1", patches=((backbone_module.Backbone, "_positions", interpolated("bicubic", 0.0)),)),
    Mistake("position table bilinear", patches=((backbone_module.Backbone, "_positions", interpolated("bilinear", 0.1)),)),
    Mistake(
        "scores up-sampled with aligned corners",
        patches=tuple((m, "upsample", aligned_corners) for m in (kernels, mosaic)),
    ),
    Mistake("last window a pixel early", patches=((windows, "_spans", last_window_a_pixel_early),)),
    Mistake("logit scale 1 % too large", lambda config: replace(config, logit_scale=config.logit_scale * 1.01)),
    Mistake("no probability threshold", lambda config: replace(config, prob_threshold=0.0)),
    Mistake("final PAMR left out", lambda config: replace(config, pamr=None)),
)


@dataclass(frozen=True)
class Notice:
    """What a mistake did: the largest change of a logit, the share of pixels relabelled, the case that failed."""

    logits: float
    relabelled: float
    failed_case: str | None


def try_mistake(mistake: Mistake, folder: Path, cases: dict[str, Any], backbone: Backbone) -> Notice:
    """Makes a mistake and checks one golden case after the other until one fails."""
    logits = relabelled = 0.0
    for name in (n for n in CASES if n in cases):
        with mistake.made(backbone):
            try:
                outcome = check.check_case(folder, cases[name], backbone, mistake.change)
            except Exception as error:  # a mistake may also simply break
                return Notice(float("nan"), float("nan"), f"{name} ({type(error).__name__})")
        logits = max(logits, outcome.differences.get("logits", 0.0))
        relabelled = max(relabelled, outcome.differences.get("label_map", 0.0))
        if outcome.failed:
            return Notice(logits, relabelled, name)
    return Notice(logits, relabelled, None)


def main() -> int:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    cases = {case["name"]: case for case in json.loads((folder / "cases.json").read_text())}
    backbone = check.load_backbone(folder)
    unnoticed = 0
    print(f"{'mistake':<40} {'logits':>9} {'relabelled':>11}  caught")
    for mistake in MISTAKES:
        notice = try_mistake(mistake, folder, cases, backbone)
        unnoticed += notice.failed_case is None
        print(f"{mistake.name:<40} {notice.logits:9.1e} {notice.relabelled:11.2%}  {notice.failed_case or 'NO'}", flush=True)
    print(f"{len(MISTAKES) - unnoticed} of {len(MISTAKES)} mistakes caught")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    raise SystemExit(main())
