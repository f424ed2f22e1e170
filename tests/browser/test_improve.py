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
from tests.browser.test_review import wait_for_counts
from tests.browser.walk import advanced, choose, open_dataset, open_form, open_panel, run_form, screenshot, type_words

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
    type_words(page, form, ", ".join(COLOURS_AND_GROUNDS))
    advanced(page, form)
    choose(page, form, "full: RCS and SFR", "fast: RCS alone")
    form.get_by_text("Use examples, regions or tags").click()
    form.get_by_text("Learn from").wait_for(timeout=240_000)
    form.get_by_text("Learn from").scroll_into_view_if_needed()
    screenshot(page, "segment-evidence")
    run_form(page, form)
    page.wait_for_selector(f"text=/ of {N_IMAGES} images/")
    page.wait_for_selector(f"text=/{N_IMAGES} of {N_IMAGES} images labelled/", timeout=240_000)

    open_panel(page, "review")
    wait_for_counts(page, f"0 keep 0 discard 0 fix later {N_IMAGES} open")
    page.locator('[data-cy="resclip-review"] canvas').first.wait_for()  # a key counts only for a mask that is known
    assert not page.get_by_role("button", name="Improve the rest").count()
    for _ in range(N_KEPT):
        page.keyboard.press("k")
    wait_for_counts(page, f"{N_KEPT} keep 0 discard 0 fix later {N_IMAGES - N_KEPT} open")
    page.get_by_role("button", name="Improve the rest").click()
    form = page.locator('[data-cy="operators-prompt-modal"]')
    left = N_IMAGES - N_KEPT
    form.get_by_text(f"5 kept masks will teach; the other {left} images are labelled into").wait_for(timeout=240_000)
    screenshot(page, "improve-form")
    form.get_by_role("button", name="Execute").click()
    page.wait_for_selector(f"text=/ of {left} images/")
    page.wait_for_selector("text=/Learned: 5 examples of/", timeout=240_000)  # in a notification, since the review opens
    screenshot(page, "improve-done")
    page.locator("figcaption", has_text="resclip_improved").wait_for(timeout=240_000)
    wait_for_counts(page, f"{N_KEPT} keep 0 discard 0 fix later {left} open")
    page.wait_for_timeout(3000)
    screenshot(page, "improve-review")

    dataset.reload()
    rest = dataset.skip(N_KEPT)
    before, after = (
        evaluate(rest, field, "ground_truth", f"{field}_rest", progress=False).miou for field in ("resclip", "resclip_improved")
    )
    assert after > before
    dataset.delete()
