from __future__ import annotations

import signal
import threading
from collections.abc import Generator, Sequence
from typing import Any

import pytest

from fiftyone_resclip.labeling.pipelining import pipelined

WAIT_SECONDS = 20  # far more than needed; a pipeline that does not overlap would wait for ever


class Steps:
    """Four steps that note what they did."""

    def __init__(self) -> None:
        self.read_items: list[int] = []
        self.computed: list[list[int]] = []
        self.written: list[list[str]] = []
        self.done: list[list[str]] = []
        self.lock = threading.Lock()

    def read(self, item: int) -> int:
        with self.lock:
            self.read_items.append(item)
        return item * 10

    def compute(self, inputs: list[int]) -> Sequence[int]:
        self.computed.append(inputs)
        return [value + 1 for value in inputs]

    def encode(self, item: int, output: int) -> str:
        return f"{item}:{output}"

    def write(self, encoded: list[str]) -> list[str]:
        self.written.append(encoded)
        return encoded

    def run(self, count: int, **settings: Any) -> Generator[None, None, None]:
        steps = {name: getattr(self, name) for name in ("read", "compute", "encode", "write")}
        return pipelined(list(range(count)), **{"batch_size": 2, "threads": 3, "done": self.done.append, **steps, **settings})


def test_every_item_goes_through_all_steps_in_order() -> None:
    steps = Steps()
    assert len(list(steps.run(7))) == 4
    assert steps.done == steps.written == [["0:1", "1:11"], ["2:21", "3:31"], ["4:41", "5:51"], ["6:61"]]
    assert list(steps.run(0)) == []


def test_a_batch_is_done_once_it_is_written() -> None:
    steps = Steps()
    for number, _ in enumerate(steps.run(9), start=1):
        assert len(steps.done) == number
        assert steps.written[:number] == steps.done


def test_each_thread_is_prepared_before_its_first_work() -> None:
    steps, prepared = Steps(), threading.local()
    seen: list[bool] = []

    def note(value: Any, *rest: Any) -> Any:
        seen.append(getattr(prepared, "is_ready", False))
        return value

    list(steps.run(5, read=note, encode=note, write=note, initializer=lambda: setattr(prepared, "is_ready", True)))
    assert len(seen) == 5 + 5 + 3 and all(seen)


def test_the_next_batches_are_read_while_one_is_computed_and_no_more_than_that() -> None:
    steps = Steps()
    third_batch_read = threading.Event()

    def read(item: int) -> int:
        steps.read(item)
        if item == 5:
            third_batch_read.set()
        return item

    def compute(inputs: list[int]) -> Sequence[int]:
        if inputs == [0, 1]:
            assert third_batch_read.wait(WAIT_SECONDS)
            assert max(steps.read_items) == 5  # two batches ahead, not the fourth
        return steps.compute(inputs)

    assert len(list(steps.run(20, read=read, compute=compute))) == 10


def test_a_batch_is_written_while_the_next_are_computed_and_no_more_than_two_wait() -> None:
    steps = Steps()
    second_computed = threading.Event()

    def compute(inputs: list[int]) -> Sequence[int]:
        if len(steps.computed) == 1:
            second_computed.set()
        return steps.compute(inputs)

    def write(encoded: list[str]) -> list[str]:
        assert second_computed.wait(WAIT_SECONDS)
        assert len(steps.computed) - len(steps.written) <= 4  # this one, two waiting, one just computed
        return steps.write(encoded)

    assert len(list(steps.run(20, compute=compute, write=write))) == 10


@pytest.mark.parametrize("count", [0, 1, 2, 20])
def test_the_first_item_may_be_written_before_another_is_computed(count: int) -> None:
    steps = Steps()
    run = steps.run(count, batch_size=8, first_alone=True)
    if count:
        next(run)
        assert (steps.computed, steps.done) == ([[0]], [["0:1"]])
    list(run)
    assert [len(batch) for batch in steps.done] == {0: [], 1: [1], 2: [1, 1], 20: [1, 8, 8, 3]}[count]
    assert [item for batch in steps.done for item in batch] == [f"{item}:{10 * item + 1}" for item in range(count)]


def test_a_batch_counts_that_was_written_while_ctrl_c_ended_the_wait_for_it() -> None:
    steps = Steps()

    def write(encoded: list[str]) -> list[str]:
        threading.Event().wait(0.3)  # until the main thread waits
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        threading.Event().wait(0.3)
        return steps.write(encoded)

    with pytest.raises(KeyboardInterrupt):
        next(steps.run(2, write=write))
    assert steps.done == steps.written == [["0:1", "1:11"]]


def test_stopping_keeps_what_was_computed_and_leaves_no_thread() -> None:
    before = threading.active_count()
    steps = Steps()
    run = steps.run(40)
    next(run)
    run.close()
    assert steps.done == steps.written
    assert len(steps.written) == len(steps.computed) < 20
    assert threading.active_count() == before


def test_a_batch_that_can_not_be_written_is_an_error_even_after_stopping() -> None:
    before = threading.active_count()
    steps, second_computed = Steps(), threading.Event()

    def compute(inputs: list[int]) -> Sequence[int]:
        if steps.computed:
            second_computed.set()
        return steps.compute(inputs)

    def write(encoded: list[str]) -> list[str]:
        if steps.written:
            raise OSError("the disk is full")
        assert second_computed.wait(WAIT_SECONDS)
        return steps.write(encoded)

    run = steps.run(40, compute=compute, write=write)
    next(run)
    with pytest.raises(OSError, match="the disk is full"):
        run.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("step", ["read", "compute", "encode", "write"])
def test_an_error_arrives_and_what_was_computed_before_is_written(step: str) -> None:
    before = threading.active_count()
    steps = Steps()

    def failing(*arguments: Any) -> Any:
        if any("8" in str(argument) for argument in arguments):  # in the fifth of ten batches
            raise OSError("the disk is full")
        return getattr(steps, step)(*arguments)

    with pytest.raises(OSError, match="the disk is full"):
        list(steps.run(20, **{step: failing}))
    assert steps.written[:4] == [["0:1", "1:11"], ["2:21", "3:31"], ["4:41", "5:51"], ["6:61", "7:71"]]
    assert steps.done == steps.written
    assert threading.active_count() == before
