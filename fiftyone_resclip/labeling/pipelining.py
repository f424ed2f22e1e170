"""Reads, computes, encodes and writes batches at the same time, in order, with few batches in memory.

A stop, by Ctrl-C or by the App, ends the run after the current batch; what was computed by then is still written.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Input = TypeVar("Input")
Output = TypeVar("Output")
Encoded = TypeVar("Encoded")
Result = TypeVar("Result")


def pipelined(
    items: Sequence[Item],
    *,
    read: Callable[[Item], Input],
    compute: Callable[[list[Input]], Sequence[Output]],
    encode: Callable[[Item, Output], Encoded],
    write: Callable[[list[Encoded]], Result],
    done: Callable[[Result], object],
    batch_size: int,
    threads: int,
    ahead: int = 2,
    first_alone: bool = False,
    initializer: Callable[[], object] | None = None,
) -> Generator[None, None, None]:
    """Runs batches through four steps that overlap.

    It uses threads, not processes: decoders, compressors and the database release Python's global lock while they work, and
    threads need no copying or pickling.

    Args:
        items: the items to process
        read: reads the input of one item; in threads
        compute: turns a batch of inputs into as many outputs; in the caller's thread
        encode: encodes one output for writing; in threads
        write: writes a batch; in one thread, batch by batch
        done: called with what ``write`` returned, in order, in the caller's thread; also after the caller stopped
        batch_size: items per batch
        threads: number of threads for reading, and for encoding
        ahead (2): number of batches that may be read ahead, and that may wait to be written
        first_alone (False): whether the first item is a batch of its own, written before the second batch is computed, so that
            there is something to see soon
        initializer (None): called once in each thread, before its first work

    Yields:
        ``None`` after each written batch

    Raises:
        any error of a step. When the caller stops, computed batches are still written and nothing new begins; errors of that
        writing are raised, too
    """
    reading, encoding, writing = (ThreadPoolExecutor(workers, initializer=initializer) for workers in (threads, threads, 1))
    batches = _batches(items, batch_size, first_alone=first_alone)
    begun = ((batch, [reading.submit(read, item) for item in batch]) for batch in batches)
    to_compute, to_write, waits = deque(islice(begun, ahead)), deque[Future[Result]](), first_alone

    def finish() -> None:
        result = to_write[0].result()  # stays in line while we wait, or it would be forgotten if Ctrl-C comes now
        to_write.popleft()
        done(result)

    try:
        while to_compute:
            batch, inputs = to_compute.popleft()
            ready = [future.result() for future in inputs]
            to_compute.extend(islice(begun, 1))
            encoded = [encoding.submit(encode, *pair) for pair in zip(batch, compute(ready), strict=True)]
            to_write.append(writing.submit(lambda futures: write([future.result() for future in futures]), encoded))
            while to_write and (waits or to_write[0].done() or len(to_write) > ahead):
                waits = False
                finish()
                yield
        while to_write:
            finish()
            yield
    except GeneratorExit:
        while to_write:
            finish()
        raise
    finally:
        reading.shutdown(cancel_futures=True)
        encoding.shutdown()
        writing.shutdown()
        for written in to_write:  # a step failed: batches that were written still count
            if written.exception() is None:
                done(written.result())


def _batches(items: Sequence[Item], size: int, *, first_alone: bool) -> Iterator[Sequence[Item]]:
    if first_alone and items:
        yield items[:1]
    for start in range(int(first_alone), len(items), size):
        yield items[start : start + size]
