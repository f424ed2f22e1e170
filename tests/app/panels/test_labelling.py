"""Runs in the background of the App's server, and the panel that shows them."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import fiftyone as fo
import pytest

from fiftyone_resclip.app import background, models
from fiftyone_resclip.app.operators.improve import Improve
from fiftyone_resclip.app.operators.segment import Segment
from fiftyone_resclip.app.operators.stop import Stop
from fiftyone_resclip.app.panels.labelling import Labelling
from fiftyone_resclip.errors import ResCLIPError
from fiftyone_resclip.explore import review
from fiftyone_resclip.labeling import writers
from fiftyone_resclip.labeling.label import iter_label, label
from fiftyone_resclip.labeling.runs import list_runs, load_run
from fiftyone_resclip.model import ResCLIPModel, load_model
from tests.app.conftest import MakeContext, MakeDataset, asked, notices, opened_panel, until

FAST: dict[str, Any] = {"classes": "red cloth, snow", "label_field": "words", "model": "resclip-tiny", "mode": "fast"}
PANEL = {"panel_id": "runs"}

pytestmark = pytest.mark.usefixtures("in_the_app")


class Page:
    """A page of the App in which the panel is open; it keeps the panel's state between events."""

    def __init__(self, make_context: MakeContext, dataset: fo.Dataset) -> None:
        self.make_context, self.dataset, self.state = make_context, dataset, dict[str, Any]()

    def send(self, event: str, **params: Any) -> Any:
        context = self.make_context(
            self.dataset, {"active_fields": ["ground_truth", "words_classes"]}, **PANEL, panel_state=self.state, **params
        )
        getattr(Labelling(), event)(context)
        for name, change in asked(context):
            if name == "patch_panel_state":
                self.state |= change["state"]
        return context

    def looks(self) -> list[tuple[str, dict[str, Any]]]:
        """Returns what the page was asked to do at a tick of the timer."""
        return [request for request in asked(self.send("on_tick")) if "panel" not in request[0]]

    def text(self) -> str:
        """Returns everything that the panel shows."""
        shown = Labelling().render(self.make_context(self.dataset, **PANEL, panel_state=self.state))
        return "\n".join(_texts(shown.type))


def _texts(part: Any) -> Iterator[str]:
    for each in part.properties.values():
        label = each.view.label if each.view else None
        yield from (str(text) for text in (each.default, label) if isinstance(text, str))
        if hasattr(each.type, "properties"):
            yield from _texts(each.type)


@pytest.fixture
def open_page(make_context: MakeContext) -> Callable[[fo.Dataset], Page]:
    return lambda dataset: Page(make_context, dataset)


class Gate:
    """Holds runs after each batch until the test lets them go on."""

    def __init__(self) -> None:
        self.permits, self.held = threading.Semaphore(0), threading.Semaphore(0)

    def pass_on(self, batches: int) -> None:
        self.permits.release(batches)

    def wait(self) -> None:
        """Waits until a batch is saved and its run is held."""
        assert self.held.acquire(timeout=300)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate, tell = Gate(), writers.Presence.tell

    def held(presence: writers.Presence, progress: writers.Progress) -> bool:
        if progress.done:
            gate.held.release()
            assert gate.permits.acquire(timeout=300)
        return tell(presence, progress)

    with patch.object(writers.Presence, "tell", held):
        yield gate
        gate.pass_on(1000)


def ended(dataset: fo.Dataset) -> background.Job:
    job = background.jobs(dataset)[-1]
    until(lambda: not job.is_live)
    return job


def test_a_run_goes_on_without_its_page_and_each_page_that_watches_shows_it_once(
    make_dataset: MakeDataset, make_context: MakeContext, open_page: Any, gate: Gate
) -> None:
    dataset = make_dataset(12)
    context = make_context(dataset, **FAST)
    assert Segment().execute(context) is None
    assert opened_panel(context) == ("labelling", {})
    first, second = open_page(dataset), open_page(dataset)
    assert [name for name, _ in first.looks()] == []
    gate.wait()
    assert "1 of 12 images" in first.text()
    assert "per second, about" in first.text() and "Stop and keep what is done" in first.text()
    assert second.looks() == [] and "images, " in second.text()
    gate.pass_on(100)
    ended(dataset)
    shown = first.looks()
    assert [name for name, _ in shown] == ["notify", "reload_dataset", "set_active_fields", "set_color_scheme"]
    assert shown[0][1]["variant"] == "success" and "12 of 12 images labelled" in shown[0][1]["message"]
    assert shown[2][1] == {"fields": ["words"]}  # no masks or tags over masks
    assert [name for name, _ in second.looks()] == ["reload_dataset", "set_active_fields", "set_color_scheme"]
    assert first.looks() == second.looks() == []
    assert len(dataset.exists("words")) == 12
    assert "12 of 12 images labelled" in first.text() and "Evaluate" in first.text() and "Review" in first.text()


def test_a_run_begins_while_a_sample_is_open(make_dataset: MakeDataset, make_context: MakeContext) -> None:
    dataset = make_dataset(1)
    context = make_context(dataset, {"current_sample": dataset.first().id}, **FAST)
    Segment().execute(context)
    assert notices(context) == [("info", "'words' is being labelled; 'ResCLIP: runs' shows how far it is")]
    assert [name for name, _ in asked(context)] == ["notify"]
    assert ended(dataset).state == "finished"


def test_a_page_that_opens_later_shows_what_nobody_saw(
    make_dataset: MakeDataset, make_context: MakeContext, open_page: Any
) -> None:
    dataset = make_dataset(2)
    Segment().execute(make_context(dataset, **FAST))
    ended(dataset)
    shown = [name for name, _ in open_page(dataset).looks()]
    assert shown == [
        "notify",
        "reload_dataset",
        "set_active_fields",
        "set_color_scheme",
    ]
    assert open_page(dataset).looks() == []


def test_one_run_per_field_and_the_next_one_says_what_it_waits_for(
    make_dataset: MakeDataset, make_context: MakeContext, open_page: Any, gate: Gate
) -> None:
    dataset = make_dataset(6)
    page = open_page(dataset)
    Segment().execute(make_context(dataset[:4], **FAST))
    gate.wait()
    Segment().execute(make_context(dataset, **FAST))
    until(lambda: "Waits for an earlier run, which fills the same field" in page.text())
    Segment().execute(make_context(dataset, **FAST, existing="new field"))
    assert [job.label_field for job in background.jobs(dataset)] == ["words", "words", "words_2"]
    gate.pass_on(100)
    until(lambda: not any(job.is_live for job in background.jobs(dataset)))
    assert [str(job.report)[:6] for job in background.jobs(dataset)] == ["4 of 4", "2 of 2", "6 of 6"]


def test_a_run_waits_for_another_program(
    make_dataset: MakeDataset, make_context: MakeContext, open_page: Any, fast_model: ResCLIPModel
) -> None:
    dataset = make_dataset(8)
    page = open_page(dataset)
    other = iter_label(dataset, load_model("resclip-tiny", FAST["classes"], sfr=None, device="cpu"), "words")
    next(other)
    next(other)
    assert page.looks() == [] and "1 of 8 images" in page.text() and "words" in page.text()
    Segment().execute(make_context(dataset, **FAST))
    until(lambda: "Waits for process" in page.text())
    for _ in other:
        pass
    assert ended(dataset).state == "finished"
    assert [name for name, _ in page.looks()] == ["notify", "reload_dataset", "set_active_fields", "set_color_scheme"]


def test_runs_of_other_programs_are_shown_stopped_and_their_masks_appear(
    make_dataset: MakeDataset, open_page: Any, fast_model: ResCLIPModel
) -> None:
    dataset = make_dataset(40)
    page = open_page(dataset)
    other = iter_label(dataset, fast_model, "theirs")
    next(other)
    next(other)
    page.looks()
    page.send("on_stop", field="theirs")
    reports = list(other)
    assert reports[-1].stopped
    assert [name for name, _ in page.looks()] == ["reload_dataset", "set_active_fields", "set_color_scheme"]
    assert "stopped" in page.text() and "Go on" in page.text()


def test_stopping_keeps_what_is_done_and_the_panel_goes_on(
    make_dataset: MakeDataset, make_context: MakeContext, open_page: Any, gate: Gate
) -> None:
    dataset = make_dataset(12)
    page = open_page(dataset)
    Segment().execute(make_context(dataset[2:], **FAST))
    gate.wait()
    stop = make_context(dataset)
    Stop().execute(stop)
    assert "Stopping 1 run; what is done is kept" in notices(stop)[0][1]
    gate.pass_on(100)
    assert ended(dataset).state == "stopped"
    kept = len(dataset.exists("words"))
    assert 0 < kept < 10 and load_run(dataset, "words").state == "stopped"
    assert "Go on" in page.text() and "stopped. " in page.text() and "label the field again" not in page.text()
    page.send("on_go_on", run="words")
    assert ended(dataset).state == "finished"
    assert len(dataset[2:].exists("words")) == 10 and not len(dataset[:2].exists("words"))  # the same view as before
    assert load_run(dataset, "words").state == "finished" and "Go on" not in page.text()


@pytest.mark.parametrize("has_begun", [True, False])
def test_a_run_that_is_stopped_before_its_first_mask_leaves_nothing(
    has_begun: bool,
    make_dataset: MakeDataset,
    make_context: MakeContext,
    open_page: Any,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset = make_dataset(3)
    page = open_page(dataset)
    loading = threading.Event()
    if not has_begun:
        monkeypatch.setattr(background.Job, "_wait", lambda job: loading.wait(300))
    busy = threading.Thread(target=lambda: models.in_turn(lambda: loading.wait(300)))
    busy.start()
    Segment().execute(make_context(dataset, **FAST))
    until(lambda: not has_begun or background.jobs(dataset)[-1].state == "running")
    page.send("on_stop", field="words")
    loading.set()
    busy.join()
    assert ended(dataset).state == "stopped"
    assert "stopped before the first mask, so nothing was written" in page.text()
    dataset.reload()
    assert not dataset.has_sample_field("words") and list_runs(dataset) == []
    assert [name for name, _ in until(page.looks)] == ["notify"]


def test_the_end_of_a_run_is_said_again_if_it_could_not_be_said(
    make_dataset: MakeDataset, make_context: MakeContext, open_page: Any
) -> None:
    dataset = make_dataset(1)
    Segment().execute(make_context(dataset, **FAST))
    ended(dataset)
    page = open_page(dataset)
    with patch("fiftyone_resclip.app.panels.labelling._announce", side_effect=ResCLIPError("gone")):
        assert page.looks() == []
    assert "notify" in [name for name, _ in page.looks()]
    assert page.looks() == []


def test_a_refused_run_ends_in_a_sentence_and_leaves_no_field(
    make_dataset: MakeDataset, make_context: MakeContext, open_page: Any, tmp_path: Path
) -> None:
    dataset = make_dataset(2)
    page = open_page(dataset)
    (tmp_path / "file").write_text("no folder")
    blocked = {"store": "disk", "output_dir": str(tmp_path / "file" / "masks")}
    for change in ({"classes": "road, road"}, blocked):
        at_once = make_context(dataset, **{**FAST, **change})
        Segment().execute(at_once)
        assert [variant for variant, _ in notices(at_once)] == ["error"] and background.jobs(dataset) == []
    Segment().execute(make_context(dataset, **{**FAST, "regions": "tags"}))
    assert ended(dataset).state == "failed"
    assert "regions must name a field of" in page.text()
    assert [(name, params["variant"]) for name, params in page.looks()] == [("notify", "error")]
    dataset.reload()
    assert not dataset.has_sample_field("words") and list_runs(dataset) == []
    page.send("on_dismiss", job=background.jobs(dataset)[-1].id)
    assert "There is no labelling run yet" in page.text()


def test_a_folder_that_turns_read_only_leaves_no_field(make_dataset: MakeDataset, make_context: MakeContext) -> None:
    dataset = make_dataset(2)
    with patch("fiftyone_resclip.fields.masks.to_segmentation", side_effect=OSError("the disk is full")):
        Segment().execute(make_context(dataset, **FAST))
        assert ended(dataset).state == "failed"
    dataset.reload()
    assert not dataset.has_sample_field("words") and list_runs(dataset) == []
    assert "words" not in dataset.mask_targets


def test_files_that_failed_are_shown_as_a_view(make_dataset: MakeDataset, make_context: MakeContext, open_page: Any) -> None:
    dataset = make_dataset(4)
    page = open_page(dataset)
    broken = dataset.values("filepath")[1:3]
    for path in broken:
        Path(path).write_bytes(b"nothing")
    Segment().execute(make_context(dataset, **FAST))
    ended(dataset)
    notice = page.looks()[0][1]
    assert notice["variant"] == "warning" and notice["message"].count("not labelled: ") == 1
    assert "; and 1 more" in notice["message"] and "; and 1 more" in page.text()
    assert "Show the 2 that failed" in page.text()
    shown = page.send("on_failures", run="words")
    stages = next(params["view"] for name, params in asked(shown) if name == "set_view")
    assert fo.DatasetView._build(dataset, stages).values("filepath") == broken
    form = asked(page.send("on_evaluate", field="words", run="words"))
    assert ("prompt_user_for_operation", "@fiftyone-resclip/resclip/evaluate", {"pred_field": "words"}) in [
        (name, params.get("operator_uri"), params.get("params")) for name, params in form
    ]


def test_what_was_learned_and_chosen_is_said_with_the_run(
    make_dataset: MakeDataset, make_context: MakeContext, open_page: Any
) -> None:
    dataset = make_dataset(4)
    chosen = {"evidence": True, "learn_from": "all:ground_truth", "background": "auto"}
    Segment().execute(make_context(dataset, **FAST, **chosen))
    ended(dataset)
    text = open_page(dataset).text()
    assert "Learned: 2 examples of 2 of 3 classes" in text and "Words chosen for the background: " in text


def test_a_run_that_learned_goes_on_with_what_it_learned(
    make_dataset: MakeDataset, make_context: MakeContext, open_page: Any, fast_model: ResCLIPModel, gate: Gate
) -> None:
    dataset = make_dataset(14)
    page = open_page(dataset)
    gate.pass_on(5)
    label(dataset, fast_model, "pred", progress=False)
    for _ in range(5):
        gate.wait()
    review.mark(dataset, "pred", dataset.values("id")[:4], "keep")
    Improve().execute(make_context(dataset, label_field="pred"))
    gate.wait()
    page.send("on_stop", field="pred_improved")
    gate.pass_on(100)
    assert ended(dataset).state == "stopped"
    taught = load_run(dataset, "pred_improved").recipe["examples"]
    page.send("on_go_on", run="pred_improved")
    assert ended(dataset).state == "finished"
    assert load_run(dataset, "pred_improved").recipe["examples"] == taught
    dataset.reload()
    assert dataset.count("pred_improved") == 14 and review.counts(dataset, "pred_improved")["keep"] == 4


SERVER = """
import sys
import fiftyone as fo
from fiftyone_resclip.app import background, models
from fiftyone_resclip.app.operators.segment import _labelling
from fiftyone_resclip.labeling.plan import Plan
dataset = fo.load_dataset(sys.argv[1])
params = {"classes": "red cloth, snow", "model": "resclip-tiny", "mode": "fast"}
job = background.start(dataset, "words", _labelling(Plan.of(dataset.skip(2), "words"), params, dataset), lambda page: None)
while job.report is None or not job.report.done:
    pass
print("begun", flush=True)
{end}
"""


@pytest.mark.parametrize("end", ["", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"], ids=["ends", "is killed"])
def test_a_server_that_ends_loses_no_run(end: str, make_dataset: MakeDataset, open_page: Any) -> None:
    dataset = make_dataset(80)
    dataset.persistent = True
    try:
        script = SERVER.replace("{end}", end)
        server = subprocess.run([sys.executable, "-c", script, dataset.name], stdout=subprocess.PIPE, timeout=600, text=True)
        assert server.stdout == "begun\n"
        dataset.reload()
        done = len(dataset.exists("words"))
        assert 0 < done < 78 and load_run(dataset, "words").state in ("stopped", "killed")
        page = open_page(dataset)
        page.looks()
        assert "kept" in page.text() or "stopped" in page.text()
        assert "Go on" in page.text()
        page.send("on_go_on", run="words")
        until(lambda: dataset.count("words") > done)
        assert background.stop(dataset) == 1
        ended(dataset)
        assert writers.alive(dataset) == [] and not len(dataset[:2].exists("words"))
    finally:
        dataset.persistent = False
