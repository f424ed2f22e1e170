"""Names from a dataset can't make the App fetch anything or show links: it renders labels, notices and tables as Markdown."""

from __future__ import annotations

from typing import Any

import fiftyone as fo
import numpy as np
from PIL import Image

from fiftyone_resclip.evaluation.evaluate import evaluate
from tests.browser.walk import open_dataset, open_form, open_panel, screenshot

BEACON = "http://beacon.invalid"
HOSTILE = (
    f"![x]({BEACON}/1.png)",
    f"[link]({BEACON}/2) {BEACON}/3 www.beacon.invalid me@beacon.invalid",
    f"<img src={BEACON}/4.png> <{BEACON}/5>",
    f"a | b <a href='{BEACON}/6'>c</a> `d` **e** ![f][g]",
)


def test_names_stay_text(page: Any, server: str, tmp_path: Any) -> None:
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    targets = dict(enumerate(HOSTILE, start=1))
    dataset = fo.Dataset("app-names")
    dataset.mask_targets = {"gt": targets, "pred": targets, "other": {1: HOSTILE[0], 2: "# nowhere"}}
    dataset.default_classes = list(HOSTILE)
    for number in range(2):
        Image.new("RGB", (96, 96)).save(tmp_path / f"{number}.png")
        truth, prediction = np.full((96, 96), 1 + number, np.uint8), np.tile(np.arange(1, 5, dtype=np.uint8), (96, 24))
        labels = {"gt": truth, "pred": prediction, "other": truth}
        dataset.add_sample(fo.Sample(str(tmp_path / f"{number}.png"), **{k: fo.Segmentation(mask=m) for k, m in labels.items()}))
    evaluate(dataset, "pred", "gt", "before")
    evaluate(dataset, "pred", "gt", "ev")
    open_dataset(page, server, dataset.name)
    open_panel(page, "error_explorer")
    page.get_by_text("frequency-weighted IoU").wait_for(timeout=55_000)
    page.get_by_text("Compare with").first.locator("xpath=following::*[@role='combobox' or @role='button'][1]").click()
    page.get_by_role("option", name="before").click()
    page.get_by_text("earlier:").wait_for(timeout=20_000)
    cells = {text.replace("\N{WORD JOINER}", "") for text in page.get_by_role("cell").all_inner_texts()}
    assert set(HOSTILE) <= cells  # shown unchanged
    screenshot(page, "names-panel")
    form = open_form(page, "ResCLIP: evaluate")
    form.get_by_text("classes in both").wait_for(timeout=20_000)
    page.wait_for_timeout(1500)
    screenshot(page, "names-form")
    assert [url for url in requests if "beacon" in url] == []
    assert page.locator("a[href*=beacon], img[src*=beacon]").count() == 0
    dataset.delete()
