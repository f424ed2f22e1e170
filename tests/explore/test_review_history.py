from __future__ import annotations

import threading
import time
from collections.abc import Callable

import fiftyone as fo
import pytest

from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.explore.review_history import History, batches
from fiftyone_resclip.fields.private import database

MakeDataset = Callable[..., fo.Dataset]


def test_steps_are_undone_newest_first_and_with_their_parts(make_dataset: MakeDataset) -> None:
    history = History(make_dataset(1), "pred")
    with history.turn():
        steps = [history.begin("verdicts", [{"ids": [number]}, {"ids": [10 * number]}]) for number in (1, 2)]
        assert history.begin("verdicts", []) is None
        for step in steps:
            history.finish(step)
        assert history.interrupted() == []
        newest = history.claim()
        assert newest and newest["_id"] == steps[1]["_id"] and not history.goes_on(newest)
        assert [part["ids"] for part in history.parts(newest)] == [[2], [20]]
        history.forget(newest)
        assert list(history.parts(newest)) == []
        assert history.claim()["_id"] == steps[0]["_id"] and history.claim() is None


def test_a_step_that_can_not_be_written_down_leaves_nothing(make_dataset: MakeDataset) -> None:
    history = History(make_dataset(1), "pred")

    def parts():
        yield {"ids": [1]}
        raise DatasetError("no")

    with history.turn():
        with pytest.raises(DatasetError, match="no"):
            history.begin("labels", parts(), to_field="gold")
        assert history.interrupted() == [] and history.writers("gold") == []


def test_one_writer_has_the_turn(make_dataset: MakeDataset) -> None:
    dataset, seen = make_dataset(1), []

    def write() -> None:
        history = History(dataset, "pred")
        for _ in range(5):
            with history.turn():
                seen.append("in")
                time.sleep(0.01)
                seen.append("out")

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == ["in", "out"] * 20
    with History(dataset, "pred").turn(), History(dataset, "other").turn():
        pass  # each field has its own


def test_a_process_that_paused_for_too_long_does_not_go_on(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(1)
    first, second = History(dataset, "pred"), History(dataset, "pred")

    def parts():
        yield {"ids": [1]}
        database()["fiftyone_resclip.leases"].update_many({}, [{"$set": {"until": {"$subtract": ["$$NOW", 1]}}}])  # it paused
        with second.turn():
            for step in second.interrupted():
                second.forget(step)

    with first.turn():
        with pytest.raises(
            DatasetError, match="this process paused for so long that another one has changed the review of 'pred'"
        ):
            first.begin("verdicts", parts())
        with pytest.raises(DatasetError, match="this process paused"):
            first.stay()


def test_batches_have_everything_once() -> None:
    assert list(batches([1, 2, 3, 4, 5], 2)) == [[1, 2], [3, 4], [5]]
    assert list(batches([], 2)) == []
