"""A user labels scenes, keeps five masks and lets them improve the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
from PIL import Image

from fiftyone_resclip.evaluation.evaluate import evaluate
from fiftyone_resclip.fields import schema
from fiftyone_resclip.labeling.label import label
from fiftyone_resclip.model import load_model
from fiftyone_resclip.tiny.scenes import COLOURS_AND_GROUNDS, class_map, dense_scene
from fiftyone_resclip.vocabulary import Vocabulary
from tests.browser.walk import box_below, choose, open_dataset, open_form, open_panel, screenshot

N_IMAGES, N_KEPT = 24, 5


def make_scenes(folder: Path) -> fo.Dataset:
    """Makes scenes, those first whose masks come out best: the masks that a user would keep."""
    dataset = fo.Dataset()
    schema.declare_field(dataset, "ground_truth", schema.mask_targets(Vocabulary.parse(list(COLOURS_AND_GROUNDS))))
    for index in range(N_IMAGES):
        scene = dense_scene(70_000 + index)
        path = folder / f"{index:02d}.png"
        Image.fromarray(scene.image).save(path)
        truth = fo.Segmentation(mask=class_map(scene, COLOURS_AND_GROUNDS))
        dataset.add_sample(fo.Sample(str(path), ground_truth=truth))
    model = load_model("resclip-tiny", COLOURS_AND_GROUNDS, sfr=None, device="cpu")
    label(dataset, model, "trial", progress=False)
    right = [np.mean(sample.trial.mask == sample.ground_truth.mask) for sample in dataset]
    ids = np.array(dataset.values("id"))[np.argsort(right)[::-1]].tolist()
    ordered = dataset.select(ids, ordered=True).clone()
    dataset.delete()
    ordered.delete_sample_field("trial")
    return ordered


def test_kept_masks_improve_the_rest(page: Any, server: str, tmp_path: Path) -> None:
    dataset = make_scenes(tmp_path)
    dataset.name = "app-improve"
    open_dataset(page, server, dataset.name)
    form = open_form(page, "ResCLIP: segment")
    form.locator("textarea").first.fill(", ".join(COLOURS_AND_GROUNDS))
    choose(page, form, "resclip-vit-b-16 (will be downloaded when it runs)", "resclip-tiny (ready)")
    choose(page, form, "full: RCS and SFR", "fast: RCS alone")
    form.get_by_text("Use examples, regions or tags").click()
    form.get_by_text("Learn from").wait_for(timeout=30_000)
    form.get_by_text("Learn from").scroll_into_view_if_needed()
    screenshot(page, "segment-evidence")
    form.get_by_role("button", name="Execute").click()
    page.wait_for_selector(f"text=/{N_IMAGES} of {N_IMAGES} images labelled/", timeout=120_000)
    page.get_by_role("button", name="Done").click()

    open_panel(page, "review")
    key = box_below(page, "Type here: k keep")
    page.wait_for_selector(f"text=/{N_IMAGES} open/", timeout=60_000)
    assert not page.get_by_role("button", name="Improve the rest").count()
    key.focus()
    for number in range(1, N_KEPT + 1):
        page.keyboard.press("k")
        page.wait_for_selector(f"text=/{number} keep.*{N_IMAGES - number} open/", timeout=30_000)
    page.get_by_role("button", name="Improve the rest").click()
    form = page.locator('[data-cy="operators-prompt-modal"]')
    left = N_IMAGES - N_KEPT
    form.get_by_text(f"5 kept masks teach; {left} images without a verdict are labelled into").wait_for(timeout=30_000)
    screenshot(page, "improve-form")
    form.get_by_role("button", name="Execute").click()
    page.wait_for_selector("text=/Learned: 5 examples of/", timeout=120_000)
    screenshot(page, "improve-done")
    page.get_by_role("button", name="Done").click()
    page.wait_for_selector("text=/Now: resclip_improved/", timeout=60_000)
    page.wait_for_selector(f"text=/{N_KEPT} keep.*{left} open/", timeout=30_000)
    page.wait_for_timeout(3000)
    screenshot(page, "improve-review")

    dataset.reload()
    rest = dataset.skip(N_KEPT)
    before, after = (
        evaluate(rest, field, "ground_truth", f"{field}_rest", progress=False).miou for field in ("resclip", "resclip_improved")
    )
    assert after > before
    dataset.delete()
