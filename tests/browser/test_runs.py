"""Runs go on in the background: whatever happens to the page, it finds them again, and shows what came of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo

from tests.browser.walk import open_dataset, open_form, run_form, screenshot, type_words

N_IMAGES, N_BROKEN = 60, 3
LONG_MS = 55_000


def start(page: Any) -> None:
    form = open_form(page, "ResCLIP: segment")
    type_words(page, form, "red cloth", "snow")
    run_form(page, form)
    form.wait_for(state="detached", timeout=LONG_MS)


def test_a_reload_in_mid_run_finds_its_progress(page: Any, server: str, make_dataset: Callable[..., fo.Dataset]) -> None:
    dataset = make_dataset(N_IMAGES, sizes=((288, 384),))
    dataset.name = "app-runs"
    for path in dataset.values("filepath")[-N_BROKEN:]:
        Path(path).write_bytes(b"nothing")
    open_dataset(page, server, dataset.name)
    start(page)
    page.wait_for_selector(f"text=/ of {N_IMAGES} images, .* per second, about/", timeout=LONG_MS)
    screenshot(page, "runs-progress")
    page.reload(wait_until="domcontentloaded")
    page.wait_for_selector('[data-cy="looker"]', timeout=LONG_MS)
    page.wait_for_selector(f"text=/ of {N_IMAGES} images, .* per second, about/", timeout=LONG_MS)
    assert not page.locator('[data-cy="checkbox-resclip"] input:checked').count()
    page.wait_for_selector(rf"text=/(1[5-9]|[2-5]\d) of {N_IMAGES} images/", timeout=LONG_MS)
    page.get_by_role("button", name=f"Show the {N_BROKEN} that failed").wait_for(timeout=LONG_MS)
    page.wait_for_selector('[data-cy="checkbox-resclip"] input:checked', state="attached", timeout=LONG_MS)
    page.wait_for_timeout(3000)
    screenshot(page, "runs-ended")
    dataset.reload()
    assert len(dataset.exists("resclip")) == N_IMAGES - N_BROKEN
    page.get_by_role("button", name=f"Show the {N_BROKEN} that failed").click()
    shown = f"() => /\\b{N_BROKEN} samples?\\b/.test(document.querySelector('[data-cy=\"entry-counts\"]')?.innerText || '')"
    page.wait_for_function(shown, timeout=LONG_MS)
    page.get_by_role("button", name="Evaluate").click()
    page.locator('[data-cy="operators-prompt-modal"]').get_by_text("2 classes in both").wait_for(timeout=LONG_MS)


def test_a_run_that_writes_nothing_leaves_a_sentence_and_no_field(
    page: Any, server: str, make_dataset: Callable[..., fo.Dataset]
) -> None:
    dataset = make_dataset(2)
    dataset.name = "app-nothing"
    open_dataset(page, server, dataset.name)
    for path in dataset.values("filepath"):
        Path(path).write_bytes(b"nothing")
    start(page)
    page.wait_for_selector("text=/resclip: 0 of 2 images labelled/", timeout=LONG_MS)
    screenshot(page, "runs-nothing")
    assert not page.locator('[data-cy="operators-prompt-modal"]').count()
    dataset.reload()
    assert not dataset.has_sample_field("resclip")
    page.get_by_role("button", name="Dismiss").click()
    page.wait_for_selector("text=/There is no labelling run yet/", timeout=LONG_MS)
