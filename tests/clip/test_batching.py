from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import pytest
import torch

from fiftyone_resclip.clip.batching import Batches

Result = TypeVar("Result")


class Gpu:
    """A memory that fills as items run and refuses what does not fit, as a GPU's would."""

    def __init__(self, free: int, item: int, visible: int | None = None) -> None:
        self.free, self.item, self.visible = free, item, free if visible is None else visible
        self.sizes: list[int] = []
        self.refused = 0

    def free_bytes(self) -> int:
        return self.visible

    def peak_bytes(self, work: Callable[[], Result]) -> tuple[Result, int]:
        return work(), self.sizes[-1] * self.item

    def run(self, batch: Sequence[int]) -> list[int]:
        if len(batch) * self.item > self.free:
            self.refused += 1
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        self.sizes.append(len(batch))
        return [item * 10 for item in batch]


def outcomes(batches: Batches, gpu: Gpu, count: int, kind: str = "window") -> list[int]:
    pairs = list(batches.results(list(range(count)), kind, gpu.run))
    assert [item for batch, _ in pairs for item in batch] == list(range(count))
    return [value for _, results in pairs for value in results]


def test_batches_grow_to_what_free_memory_holds() -> None:
    gpu = Gpu(free=1000, item=10)
    batches = Batches(gpu)
    assert outcomes(batches, gpu, 200) == [item * 10 for item in range(200)]
    assert gpu.sizes == [8, 70, 70, 52]  # 70 % of 1000 bytes
    outcomes(batches, gpu, 70)
    assert gpu.sizes[4:] == [70]


def test_each_kind_of_item_has_its_own_size() -> None:
    small, large = Gpu(1000, 10), Gpu(1000, 100)
    batches = Batches(small)
    outcomes(batches, small, 100)
    outcomes(batches, large, 8, "large window")
    assert (max(small.sizes), large.sizes) == (70, [8])


@pytest.mark.parametrize("memory", ["visible", None])
def test_what_does_not_fit_is_halved_for_good(memory: str | None) -> None:
    gpu = Gpu(free=50, item=10, visible=5000)  # another process took the rest
    batches = Batches(gpu if memory else None)
    assert outcomes(batches, gpu, 9) == [item * 10 for item in range(9)]
    assert gpu.sizes == [4, 4, 1] and gpu.refused == 1
    outcomes(batches, gpu, 9)
    assert gpu.refused == 1


def test_a_single_item_that_does_not_fit_is_an_error() -> None:
    gpu = Gpu(free=5, item=10)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        outcomes(Batches(gpu), gpu, 3)


def test_items_that_take_nothing_and_items_that_take_nearly_all_have_sizes_that_work() -> None:
    for item, expected in ((0, 256), (900, 1)):
        gpu = Gpu(free=1000, item=item)
        outcomes(Batches(gpu), gpu, 600)
        assert max(gpu.sizes) == expected
