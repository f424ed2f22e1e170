"""Recomputes a folder of golden cases and says how far we are off: ``python tests/golden/check.py FOLDER``.

The folder holds ``cases.json``, one ``.npz`` and ``.png`` per case, optional ``unit_*.npz`` and ``weights.safetensors``; the
README beside this file gives the schema. A line per case, ``N passed, M failed`` at the end, exit 1 on any failure. Cases that
differ by a stated decision of ours are reported apart and count as neither.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Container, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from fiftyone_resclip import segmenter as segmenter_module
from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.config import PAMR, RCS, SFR, ResCLIPConfig, Window
from fiftyone_resclip.core import feedback, labels, pamr
from fiftyone_resclip.core.attention import locality_bias
from fiftyone_resclip.core.windows import WholeScores, window_boxes
from fiftyone_resclip.segmenter import ResCLIP
from fiftyone_resclip.vocabulary import Vocabulary

TOLERANCE = 1e-5
TOLERANCE_WITH_TIES = 5e-5  # the path rule's samples fall on exact halves where the longer grid side is odd
LABEL_SHARE = 1e-4
UNIT_KINDS = ("gauss", "mode", "pamr", "pos", "post", "sfr", "text")

Case = dict[str, Any]
Arrays = dict[str, NDArray[Any]]


@dataclass
class Outcome:
    """How one case came out: differences by name, each beside its limit."""

    name: str
    differences: dict[str, float] = field(default_factory=dict)
    limits: dict[str, float] = field(default_factory=dict)
    decision: str = ""
    error: str = ""

    def note(self, key: str, difference: float, limit: float) -> None:
        self.differences[key] = max(difference, self.differences.get(key, 0.0))
        self.limits[key] = limit

    @property
    def failed(self) -> list[str]:
        """The differences that are over their limits; NaN is."""
        return [key for key, value in self.differences.items() if not value <= self.limits[key]]

    @property
    def verdict(self) -> str:
        if self.decision:
            return f"differs by decision: {self.decision}"
        if self.error:
            return f"FAILED {self.error}"
        return f"FAILED {', '.join(self.failed)}" if self.failed else "passed"

    def __str__(self) -> str:
        numbers = "  ".join(f"{key} {value:.2g}" for key, value in self.differences.items())
        return f"{self.name:<26} {numbers}  {self.verdict}"


def load_backbone(folder: Path) -> Backbone:
    """Builds the goldens' random CLIP through open_clip's reader of OpenAI state dicts."""
    state = load_file(folder / "weights.safetensors")
    i, j = np.mgrid[0:49408, 0 : state["ln_final.weight"].shape[0]].astype(np.float64)
    state["token_embedding.weight"] = torch.from_numpy(0.2 * np.sin(0.7 + 1.37 * i + 2.11 * j + 0.013 * i * j)).float()
    model = open_clip.model.build_model_from_openai_state_dict(state, cast_dtype=torch.float32)
    # The goldens were normalised with these rounded constants; CLIP's own would move logits by more than 1e-5.
    model.visual.image_mean = tuple(v / 255 for v in (122.771, 116.746, 104.094))
    model.visual.image_std = tuple(v / 255 for v in (68.501, 66.632, 70.323))
    return Backbone(model.float(), open_clip.get_tokenizer("ViT-B-16"), "golden")


def config_of(case: Case) -> ResCLIPConfig:
    """Reads a case's settings into ours."""
    rcs = RCS(*case["rcs_tau_lambda"]) if case["use_rcs"] else None
    (gain, mix), path_rule, sigma = case["sfr_tau_lambda"], case["delete_same_entity"], case["gaussian_std"]
    sfr = SFR(gain, mix, case["temp_thd"], path_rule, sigma) if case["use_sfr"] else None
    final = PAMR(case["final_pamr_steps"], tuple(case["final_pamr_dilations"])) if case["final_pamr_steps"] else None
    return ResCLIPConfig(
        strategy="naclip" if case["attn_strategy"] == "resclip" else case["attn_strategy"],
        arch="residual" if case["arch"] == "w_resi" else "bare",
        rcs=rcs,
        sfr=sfr,
        locality_sigma=case["gaussian_std"],
        window=Window(case["slide_crop"], case["slide_stride"]) if case["slide_crop"] else None,
        logit_scale=case["logit_scale"],
        prob_threshold=case["prob_thd"],
        pamr=final,
    )


def vocabulary_of(query_idx: NDArray[Any]) -> Vocabulary:
    """Makes up names for the phrases of a case; class 0 takes uncertain pixels, as in the release."""
    names = [f"class {c}" for c in range(int(query_idx.max()) + 1)]
    phrases = tuple(tuple(f"phrase {q}" for q in np.flatnonzero(query_idx == c)) for c in range(len(names)))
    return Vocabulary(tuple(names), phrases, background=names[0])


def check_case(
    folder: Path, case: Case, backbone: Backbone, change: Callable[[ResCLIPConfig], ResCLIPConfig] = lambda c: c
) -> Outcome:
    """Recomputes one case, window by window as the release does, then the whole image in our own batches.

    ``change`` alters the settings first, for tests that the goldens can fail.
    """
    outcome = Outcome(case["name"])
    config = change(config_of(case))
    first = window_boxes((case["height"], case["width"]), config.window)[0]
    grid = ((first.bottom - first.top) // backbone.patch_px, (first.right - first.left) // backbone.patch_px)
    trained = tuple(backbone.model.visual.grid_size)
    if grid[0] * grid[1] == trained[0] * trained[1] and grid != trained:
        outcome.decision = "the trained position table is taken for its own grid only"
        return outcome
    gold: Arrays = dict(np.load(folder / f"{case['name']}.npz"))
    text = torch.from_numpy(gold["query_features"].astype(np.float32))
    segmenter = ResCLIP(backbone, vocabulary_of(gold["query_idx"]), config, text)
    image = torch.from_numpy(np.asarray(Image.open(folder / f"{case['name']}.png").convert("RGB")).copy()).permute(2, 0, 1)
    limit = TOLERANCE_WITH_TIES if max(grid) % 2 and case["use_sfr"] else TOLERANCE
    for number, box in enumerate(window_boxes((image.shape[1], image.shape[2]), config.window)):
        pixels = backbone.normalise(image[None, :, box.rows, box.columns])
        _check_window(outcome, segmenter, pixels, gold, number, limit)
    _check_image(outcome, segmenter, image, case, gold, limit)
    return outcome


@contextmanager
def results_of(owner: Any, name: str) -> Iterator[list[Any]]:
    """Keeps what a function returns, call by call, while the method runs as it is."""
    results: list[Any] = []
    original = getattr(owner, name)

    def wrapper(*arguments: Any, **keywords: Any) -> Any:
        results.append(original(*arguments, **keywords))
        return results[-1]

    with patch.object(owner, name, wrapper):
        yield results


def _check_window(outcome: Outcome, segmenter: ResCLIP, pixels: Tensor, gold: Arrays, number: int, limit: float) -> None:
    with ExitStack() as stack:
        watched = (
            (Backbone, "finish"),
            (segmenter_module, "residual_map"),
            (feedback, "patch_labels"),
            (segmenter_module, "feedback_map"),
        )
        tokens, residuals, patches, matrices = (stack.enter_context(results_of(*place)) for place in watched)
        logits = segmenter.logits(pixels, segmenter.text_features)
    grid_hw = (logits.shape[2], logits.shape[3])
    kept = gold["windows_kept"].tolist()
    if segmenter.config.sfr is not None:
        outcome.note("patch_labels", int((patches[0][0].numpy() != gold["patch_labels"][number]).sum()), 0)
        if number == kept[0]:
            expected = gold["sfr_rows"][0] / gold["sfr_max"][number]
            outcome.note("feedback", _largest(matrices[0][0, 1:, 1:][gold["rows"].astype(int)], expected), limit)
    if number in kept:
        own = kept.index(number)
        outcome.note("logits", _largest(logits[0].flatten(1).T, gold["patch_logits"][own]), limit)
        final = tokens[-1].float()
        outcome.note("class_token", _largest(final[0, 0], gold["cls_token"][own]), limit * 10)
        rows = np.unique(np.round(np.linspace(0, grid_hw[0] * grid_hw[1] - 1, 12)).astype(int))
        outcome.note("tokens", _largest(final[0, 1:][rows], gold["patch_feat_rows"][own]), limit * 10)
    if number == 0 and "rcs_rows" in gold and residuals[0] is not None:
        rows = gold["rcs_rows_idx"].astype(int)
        outcome.note("rcs", _largest(residuals[0][0][:, rows], gold["rcs_rows"]), TOLERANCE)


def _check_image(outcome: Outcome, segmenter: ResCLIP, image: Tensor, case: Case, gold: Arrays, limit: float) -> None:
    out_hw = (case["ori_shape"][0], case["ori_shape"][1])
    result = segmenter.segment([image], [out_hw])[0]
    outcome.note("label_map", float((result.labels.numpy() != gold["label"]).mean()), LABEL_SHARE)
    scores = segmenter.resized(segmenter.image_scores([image])[0], image, out_hw).whole()
    grid = slice(case["seg_logits_offset"], None, case["seg_logits_stride"])
    outcome.note("map_logits", _largest(scores[:, grid, grid], gold["seg_logits_sub"]), limit)
    # the file's class probabilities were made to sum to one; ours are those before that, as labels and thresholds use them
    total = _class_total(scores[:, ::4, ::4], gold["query_idx"].tolist(), segmenter.config.logit_scale)
    probability = result.confidence[::4, ::4] / total
    # float16 in the file; beyond that, a probability moves with its logits times the scale
    off = np.abs(probability.numpy() - gold["class_maxprob"].astype(np.float32)) > 5e-4 + segmenter.config.logit_scale * limit
    # PAMR at a resized image divides by the spread of saturated regions, which is nothing but the rounding of the resize
    outcome.note("confidence", float(off.mean()), 0.01 if case["final_pamr_steps"] else 0)


def _class_total(scores: Tensor, classes: list[int], scale: float) -> Tensor:
    """The sum over classes of the probability of their likeliest phrase, ``(H, W)``."""
    probs, of = (scale * scores).softmax(dim=0), torch.tensor(classes)
    return torch.stack([probs[of == index].amax(dim=0) for index in of.unique()]).sum(dim=0)


def check_units(folder: Path, kind: str, backbone: Backbone) -> Iterator[Outcome]:
    """Checks one ``unit_*.npz`` file: single steps on their own inputs."""
    path = folder / f"unit_{kind}.npz"
    if path.is_file():
        yield from UNITS[kind](dict(np.load(path)), folder, backbone)


def _unit_gauss(gold: Arrays, folder: Path, backbone: Backbone) -> Iterator[Outcome]:
    for key, expected in gold.items():
        grid, sigma = key.split("_s")
        height, width = map(int, grid.split("x"))
        outcome = Outcome(f"unit_gauss {key}")
        ours = locality_bias((height, width), float(sigma), torch.float32, torch.device("cpu"))
        outcome.note("bias", _largest(ours, expected), 1e-6)
        yield outcome


def _unit_mode(gold: Arrays, folder: Path, backbone: Backbone) -> Iterator[Outcome]:
    for key in (k for k in gold if k.endswith("/patch_labels")):
        name, threshold = key.split("/")[0].split("_t")
        pixel_labels = torch.from_numpy(gold[f"{name}/pixel_labels"].astype(np.int64))
        unsure = torch.from_numpy(gold[f"{name}/pixel_maxprob"]) < float(threshold)
        patch = pixel_labels.shape[0] // gold[key].shape[0]
        outcome = Outcome(f"unit_mode {name} {threshold}")
        ours = feedback.most_frequent(pixel_labels.masked_fill(unsure, 0)[None], patch, 6)[0]
        outcome.note("patch_labels", int((ours.numpy() != gold[key]).sum()), 0)
        yield outcome


def _unit_pamr(gold: Arrays, folder: Path, backbone: Backbone) -> Iterator[Outcome]:
    image = backbone.normalise(torch.from_numpy(gold["image"]).permute(2, 0, 1)[None])
    mask = torch.from_numpy(gold["mask"].astype(np.float32))[None]
    for key, steps, dilations in (("a", 10, (8, 16)), ("b", 5, (1, 2, 4)), ("c", 1, (8, 16)), ("d", 3, (1, 2, 4, 8, 12, 24))):
        outcome = Outcome(f"unit_pamr out_{key}")
        outcome.note("refined", _largest(pamr.refine(mask, image, steps=steps, dilations=dilations)[0], gold[f"out_{key}"]), 1e-5)
        yield outcome


def _unit_pos(gold: Arrays, folder: Path, backbone: Backbone) -> Iterator[Outcome]:
    for key in (k.split("/")[0] for k in gold if k.endswith("/pos")):
        height, width = map(int, key.split("x"))
        outcome = Outcome(f"unit_pos {key}")
        if height * width == 196 and height != width:
            outcome.decision = "the trained position table is taken for its own grid only"
        else:
            ours = backbone._positions((height, width))[gold[f"{key}/rows"].astype(int)]
            outcome.note("positions", _largest(ours, gold[f"{key}/pos"]), 1e-6)
        yield outcome


def _unit_post(gold: Arrays, folder: Path, backbone: Backbone) -> Iterator[Outcome]:
    for name in sorted({k.split("/")[0] for k in gold}):
        scores = torch.from_numpy(gold[f"{name}/seg_logits"].astype(np.float32))
        classes, scale = gold[f"{name}/query_idx"].tolist(), float(gold[f"{name}/logit_scale"])
        outcome = Outcome(f"unit_post {name}")
        ours = labels.label_map(
            WholeScores(scores), classes, logit_scale=scale, threshold=float(gold[f"{name}/prob_thd"]), fallback=0
        )
        likeliest = gold[f"{name}/class_probs"].max(axis=0)
        outcome.note("class_probs", _largest(ours.confidence / _class_total(scores, classes, scale), likeliest), 1e-6)
        outcome.note("label_map", float((ours.labels.numpy() != gold[f"{name}/label"]).mean()), 0)
        yield outcome


def _unit_sfr(gold: Arrays, folder: Path, backbone: Backbone) -> Iterator[Outcome]:
    for entry in json.loads((folder / "unit_sfr.json").read_text()):
        key = entry["key"]
        outcome = Outcome(f"unit_sfr {key}")
        patches = torch.from_numpy(gold[f"{key}/labels"].astype(np.int64))[None]
        agreement = feedback.agreement(patches, path_rule=entry["delete"])
        if f"{key}/valid_bits" in gold:
            valid = np.unpackbits(gold[f"{key}/valid_bits"])[: agreement.numel()].reshape(agreement.shape[1:]).astype(bool)
            same = (patches.flatten()[:, None] == patches.flatten()[None]).numpy()
            outcome.note("path_rule", int(((agreement[0].numpy() == 1) != (valid & same)).sum()), 0)
        matrix = feedback.blurred_rows(agreement, entry["std"])[0]
        limit = TOLERANCE_WITH_TIES if max(entry["h"], entry["w"]) % 2 else TOLERANCE
        outcome.note("rows", _largest(matrix[gold[f"{key}/rows"].astype(int)], gold[f"{key}/sfr_rows"]), limit)
        outcome.note("maximum", abs(float(matrix.max()) - float(gold[f"{key}/max"])), limit)
        yield outcome


def _unit_text(gold: Arrays, folder: Path, backbone: Backbone) -> Iterator[Outcome]:
    outcome = Outcome("unit_text")
    words = [str(word) for word in gold["words"]]
    outcome.note("text_features", _largest(backbone.encode_text(words), gold["features"]), 1e-5)
    templates = open_clip.OPENAI_IMAGENET_TEMPLATES
    outcome.note("templates", abs(len(templates) - int(gold["n_templates"])), 0)
    tokens = backbone.tokenizer([templates[0](word) for word in words]).numpy()
    outcome.note("tokens", int((tokens != gold["tokens_first_template"]).sum()), 0)
    yield outcome


UNITS: dict[str, Callable[[Arrays, Path, Backbone], Iterator[Outcome]]] = {
    "gauss": _unit_gauss,
    "mode": _unit_mode,
    "pamr": _unit_pamr,
    "pos": _unit_pos,
    "post": _unit_post,
    "sfr": _unit_sfr,
    "text": _unit_text,
}


def _largest(ours: Tensor, gold: NDArray[Any]) -> float:
    if tuple(ours.shape) != gold.shape:
        return float("inf")
    return float((ours - torch.from_numpy(gold.astype(np.float32))).abs().max())


def check_folder(folder: Path, skip: Container[str] = ()) -> Iterator[Outcome]:
    """Checks every case and unit file of a folder; a case that raises is a failed one."""
    backbone = load_backbone(folder)
    cases = json.loads((folder / "cases.json").read_text())
    for case in (c for c in cases if c["name"] not in skip):
        try:
            yield check_case(folder, case, backbone)
        except Exception as error:  # whatever goes wrong, the other cases are still to be checked
            yield Outcome(case["name"], error=f"{type(error).__name__}: {error}")
    for kind in UNIT_KINDS:
        yield from check_units(folder, kind, backbone)


def main() -> int:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    passed = failed = 0
    for outcome in check_folder(folder):
        print(outcome, flush=True)
        bad = bool(outcome.failed or outcome.error)
        passed += not bad and not outcome.decision
        failed += bad
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    raise SystemExit(main())
