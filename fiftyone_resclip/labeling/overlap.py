"""Reading, computing, encoding and writing at the same time, in order, with little held in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
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
    batch_size: int,
    threads: int,
    ahead: int = 2,
    initializer: Callable[[], object] | None = None,
) -> Generator[Result, None, None]:
    """Runs batches through four steps that overlap.

    Threads rather than processes: decoders, compressors and the database leave Python's lock to the others while they work, and
    nothing is copied or pickled.

    Args:
        items: what there is to do
        read: makes the input of one item; in threads
        compute: turns a batch of inputs into as many outputs; in the caller's thread
        encode: makes one output ready for writing; in threads
        write: writes a batch; in one thread, batch after batch
        batch_size: items at once
        threads: for reading, and as many for encoding
        ahead (2): batches that may be read before they are computed, and that may wait to be written
        initializer (None): called once in each thread, before its first work

    Yields:
        what ``write`` gave, batch by batch, in order, after it has ended

    Raises:
        whatever a step raises; the last batches' writing, when the caller stops. All that was computed is still written then;
        nothing new begins
    """
    reading, encoding, writing = (ThreadPoolExecutor(workers, initializer=initializer) for workers in (threads, threads, 1))
    batches = (items[start : start + batch_size] for start in range(0, len(items), batch_size))
    begun = ((batch, [reading.submit(read, item) for item in batch]) for batch in batches)
    to_compute, to_write = deque(islice(begun, ahead)), deque[Future[Result]]()
    try:
        while to_compute:
            batch, inputs = to_compute.popleft()
            ready = [future.result() for future in inputs]
            to_compute.extend(islice(begun, 1))
            encoded = [encoding.submit(encode, *pair) for pair in zip(batch, compute(ready), strict=True)]
            to_write.append(writing.submit(lambda futures: write([future.result() for future in futures]), encoded))
            while to_write and (to_write[0].done() or len(to_write) > ahead):
                yield to_write.popleft().result()
        while to_write:
            yield to_write.popleft().result()
    except GeneratorExit:
        for written in to_write:
            written.result()
        raise
    finally:
        reading.shutdown(cancel_futures=True)
        encoding.shutdown()
        writing.shutdown()
