from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import evidence
from benchmarks.evidence_scenes import PARTIAL_TRUTHS, REGIONS, make_dataset
from benchmarks.readme import with_tables
from benchmarks.rival_estimators import ClosedForm, HeadPerImage, Support
from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.core.teaching import Seen
from fiftyone_resclip.core.text import Correction
from fiftyone_resclip.presets import TINY
from fiftyone_resclip.segmenter import ResCLIP
from fiftyone_resclip.tiny.scenes import COLOURS_AND_GROUNDS, dense_scene
from fiftyone_resclip.vocabulary import Vocabulary

ROOT = Path(__file__).parents[2]


def test_every_row_is_measured_and_each_kind_of_evidence_reaches_the_masks(tmp_path: Path) -> None:
    rows = evidence.measure(tmp_path, 14, 2, 1, [6])
    by_classes = {
        classes: {row["evidence"]: row for row in rows if row["classes"] == classes}
        for classes in ("six colours and three grounds", "six colours, the rest is background")
    }
    complete, cloths = by_classes.values()
    assert len(rows) == len(complete) + len(cloths) and cloths["words + background"] != cloths["words alone"]
    assert all(0 <= row["lowest"] <= row["miou"] <= row["highest"] <= 100 for row in rows)
    figures = {name: row["miou"] for name, row in complete.items()}
    assert figures["words + 8 examples + presence"] > figures["words alone"]
    learned = [(row["miou"], row["boundary_iou"]) for row in rows if row.get("estimator") and row["examples"]]
    assert len(learned) == 6
    of_all, of_some = learned[:3], learned[3:]
    assert len({*of_all}) == len({*of_some}) == 3, "two estimators gave the same masks"
    assert all(every != some for every, some in zip(of_all, of_some, strict=True)), "hiding three classes changed nothing"
    borders = {name: row["boundary_iou"] for name, row in complete.items()}
    assert borders["words + 8 examples + regions (true outlines)"] > borders["words + 8 examples + presence"] + 10


@pytest.mark.parametrize("field", REGIONS)
def test_regions_have_the_quality_that_they_are_called_after(field: str) -> None:
    scene = dense_scene(evidence.FIRST_TEST)
    regions = REGIONS[field](scene, np.random.default_rng(0))
    assert regions.shape == scene.truth.shape and regions.min() > 0
    wrong = sum(
        int((scene.truth[regions == value] != np.bincount(scene.truth[regions == value]).argmax()).sum())
        for value in np.unique(regions)
    )
    assert (wrong > 0) == (field == "jittered_outlines") and wrong < 0.15 * scene.truth.size
    assert (len(np.unique(regions)) > 2 * len(scene.regions)) == (field == "small_pieces")


def test_three_classes_have_no_name_in_partial_truths_and_each_class_has_one_in_most(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path, evidence.FIRST_EXAMPLE, 1)
    named = [set(dataset.mask_targets[field].values()) for field in PARTIAL_TRUTHS]
    assert [len(names) for names in named] == [6, 6, 6]
    assert all(sum(name in names for names in named) == 2 for name in COLOURS_AND_GROUNDS)
    assert (dataset.first()["six_of_nine_0"].mask == dataset.first().truth.mask).all()


def test_a_head_for_each_image_learns_from_examples_like_it(tiny: Backbone) -> None:
    words = torch.eye(3, 64)
    method = ResCLIP(tiny, Vocabulary.parse(["a", "b", "c"]), TINY, words)
    patches = torch.eye(64)[10:13] + 0.1 * words[[1, 2, 0]]  # the words are a little like the wrong patches
    head = HeadPerImage(method, Support(patches.repeat(4, 1), torch.arange(3).repeat(4)))._trained(patches, words.mean(dim=0))
    assert (patches @ words.T).argmax(dim=1).tolist() == [1, 2, 0] and head(patches).argmax(dim=1).tolist() == [0, 1, 2]


def test_support_has_a_direction_for_each_class_in_each_example() -> None:
    means = torch.tensor([[2.0, 0], [0, 0], [0, 3]])
    support = Support.of([Correction(means, torch.tensor([1.0, 0, 1])), Correction(means, torch.tensor([0.0, 0, 1]))])
    assert support.classes.tolist() == [0, 2, 2]
    assert support.features.tolist() == [[1, 0], [0, 1], [0, 1]]


def test_examples_and_unlabelled_images_are_never_judged(tmp_path: Path) -> None:
    pool, test = make_dataset(tmp_path, evidence.FIRST_EXAMPLE, 2), make_dataset(tmp_path, evidence.FIRST_TEST, 1)
    assert [Path(path).stem for path in pool.values("filepath")] == ["20000", "20001"]
    assert [Path(path).stem for path in test.values("filepath")] == ["30000"]
    assert test.mask_targets["cloths"][7] == "background" and set(test.first().names) <= set(COLOURS_AND_GROUNDS)


def test_the_closed_form_separates_gaussians_and_leaves_classes_without_examples_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    means, spread = torch.eye(4)[:2], torch.tensor([0.05, 0.05, 3.0, 0.05])
    features = torch.cat([mean + spread * torch.randn(400, 4, generator=generator) for mean in means])
    text = torch.tensor([[0.0, 0.0, 1.0, 0.0]]).expand(3, 4)
    teacher = ClosedForm(
        text, torch.arange(3), 1.0, Seen(torch.cat([means, torch.zeros(1, 4)]), torch.tensor([1.0, 1, 0])), features
    )
    weights, bias = teacher.correction(1.0)
    guesses = (features @ weights[:2].T + bias[:2]).argmax(dim=1)
    assert torch.equal(guesses, torch.arange(2).repeat_interleave(400))
    assert not weights[2].any() and not bias[2].any()


def test_the_file_has_what_the_command_writes_and_the_page_shows_it() -> None:
    results = ROOT / "benchmarks" / "results"
    figures = json.loads((results / "evidence.json").read_text(encoding="utf-8"))
    assert {"commit", "model", "pool", "test", "boundary"} <= set(figures)
    names = [row["evidence"] for row in figures["cases"]]
    assert [f"words + {n} example{'s' * (n > 1)}" in names for n in evidence.EXAMPLES] == [True] * 5
    page = (ROOT / "docs" / "EVIDENCE.md").read_text(encoding="utf-8")
    assert with_tables(page, results) == page
    assert evidence.table(figures["cases"]) in page
