"""A class has one colour in the grid, predicted or true, at once and without opening the dataset again; errors are red."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import fiftyone as fo
import numpy as np
from PIL import Image, ImageColor

from fiftyone_resclip.evaluation.error_masks import COLOURS
from fiftyone_resclip.fields import masks
from fiftyone_resclip.fields.colour_scheme import colours_of
from tests.browser.walk import open_dataset, open_form, picture_of, run_form, screenshot, type_words
from tests.conftest import CLASSES

LEAST_PIXELS = 600


def painted(page: Any, dataset: fo.Dataset, field: str, colours: Mapping[str, str]) -> dict[str, str]:
    """Returns for each large class of the first sample's mask the class whose colour the grid shows there.

    The App lays masks over the picture, so each colour is laid over it here, too, and the one nearest to the grid's is taken.
    """
    sample = dataset.first()
    mask, targets = masks.read_mask(sample[field]), dataset.mask_targets[field]
    height, width = mask.shape
    with Image.open(sample.filepath) as photo:
        below = np.asarray(photo.convert("RGB"), float)
    grid = np.asarray(picture_of(page.locator('[data-cy="looker"]').first).resize((width, height)), float)
    found = {}
    for value, name in targets.items():
        inside = mask == value
        inside[:12], inside[-12:], inside[:, :12], inside[:, -12:] = False, False, False, False  # borders and icons of the tile
        if inside.sum() >= LEAST_PIXELS:
            seen, bare = np.median(grid[inside], axis=0), np.median(below[inside], axis=0)
            layers = {other: np.array(ImageColor.getrgb(colour)) for other, colour in colours.items()}
            far = {other: np.abs(seen - (0.3 * bare + 0.7 * layer)).sum() for other, layer in layers.items()}
            found[name] = min(far, key=lambda other: far[other])
    return found


def seen_right(page: Any, dataset: fo.Dataset, field: str, colours: Mapping[str, str]) -> dict[str, str]:
    """Waits until the grid shows each class in its colour, for the grid loads what it shows; returns what it shows then."""
    for _ in range(60):
        found = painted(page, dataset, field, colours)
        if all(name == other for name, other in found.items()):
            break
        page.wait_for_timeout(2000)
    return found


def show_only(page: Any, *fields: str) -> None:
    """Ticks fields in the sidebar, and no others; waits after each, for the App fails to draw tiles that change twice at once."""
    for field in ("ground_truth", "resclip"):
        row = page.locator(f'[data-cy="sidebar-field-container-{field}"]').first
        box = row.locator("xpath=preceding::input[@type='checkbox'][1]")
        if (field in fields) != box.is_checked():
            box.click(force=True)
            page.wait_for_timeout(2000)


def test_classes_have_their_colours_at_once(page: Any, server: str, make_dataset: Callable[..., fo.Dataset]) -> None:
    dataset = make_dataset(3, sizes=((160, 208),))
    dataset.name = "app-colours"
    dataset.app_config.color_scheme = None  # as if the ground truth came from elsewhere
    dataset.save()
    open_dataset(page, server, dataset.name)
    form = open_form(page, "ResCLIP: segment")
    type_words(page, form, ", ".join(reversed(CLASSES)))
    run_form(page, form)
    page.wait_for_selector("text=/3 of 3 images labelled/", timeout=240_000)
    dataset.reload()
    colours = colours_of(dataset, "resclip")
    assert colours == colours_of(dataset, "ground_truth") and len(set(colours.values())) == len(CLASSES)
    for field in ("resclip", "ground_truth"):
        show_only(page, field)
        found = seen_right(page, dataset, field, colours)
        screenshot(page, f"colours-{field}")
        assert len(found) > 1 and all(name == other for name, other in found.items()), found

    form = open_form(page, "ResCLIP: evaluate")
    form.get_by_text("classes in both").wait_for(timeout=240_000)
    run_form(page, form)
    page.get_by_role("button", name="Worst images first").click(timeout=240_000)
    page.wait_for_selector("text=/Drawn in the grid: right green, wrong red/", timeout=240_000)
    dataset.reload()
    worst = dataset.sort_by("resclip_eval_miou")[:1].first()
    ordered = dataset.select([worst.id]).clone()
    found = seen_right(page, ordered, "resclip_eval_errors", COLOURS)
    screenshot(page, "colours-errors")
    assert "wrong" in found and all(name == other for name, other in found.items()), found
    ordered.delete()
