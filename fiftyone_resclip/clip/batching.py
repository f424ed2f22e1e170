"""How many windows go through the network at once: on a GPU as many as its free memory holds."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Protocol, TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

#: On a CPU more windows are no faster; on a GPU so many show what a window takes.
_FIRST = 8
_MOST = 256
#: The rest is left to the results, to fragments and to other processes.
_SHARE = 0.7


class Memory(Protocol):
    """A device's memory, as :class:`Batches` asks for it."""

    def free_bytes(self) -> int:
        """What could be allocated now."""

    def peak_bytes(self, work: Callable[[], Result]) -> tuple[Result, int]:
        """Does some work; gives its result and how far memory rose meanwhile."""


class GpuMemory:
    """The memory of a GPU, as torch's allocator counts it: without waiting for the GPU.

    Args:
        device: the GPU
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def free_bytes(self) -> int:
        """What could be allocated now: free on the GPU, or held by torch and not in use."""
        held = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        return torch.cuda.mem_get_info(self._device)[0] + held

    def peak_bytes(self, work: Callable[[], Result]) -> tuple[Result, int]:
        """Does some work; gives its result and how far memory rose meanwhile."""
        before = torch.cuda.memory_allocated(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        result = work()
        return result, torch.cuda.max_memory_allocated(self._device) - before


class Batches:
    """Does work in batches that fit into memory.

    The first batch of a kind is small and shows what an item takes; those after it are as large as free memory lets them be. One
    that runs out of memory nevertheless is halved, and no batch of its kind is as large again.

    Args:
        memory (None): of a GPU; without it, all batches are small
    """

    def __init__(self, memory: Memory | None) -> None:
        self._memory = memory
        self._sizes: dict[Hashable, int] = {}

    @classmethod
    def on(cls, device: torch.device) -> Batches:
        """Gives batches for a device."""
        return cls(GpuMemory(device) if device.type == "cuda" else None)

    def results(
        self, items: Sequence[Item], kind: Hashable, work: Callable[[Sequence[Item]], Result]
    ) -> Iterator[tuple[Sequence[Item], Result]]:
        """Does the work, batch by batch.

        Args:
            items: what there is to do
            kind: of items that take the same memory
            work: does a batch

        Yields:
            a batch of items and its result, in order

        Raises:
            torch.cuda.OutOfMemoryError: if a single item does not fit
        """
        while items:
            batch = items[: self._sizes.get(kind, _FIRST)]
            try:
                result = self._measured(batch, kind, work)
            except torch.cuda.OutOfMemoryError:
                if len(batch) == 1:
                    raise
                self._sizes[kind] = len(batch) // 2
                continue
            yield batch, result
            items = items[len(batch) :]

    def _measured(self, batch: Sequence[Item], kind: Hashable, work: Callable[[Sequence[Item]], Result]) -> Result:
        if self._memory is None or kind in self._sizes:
            return work(batch)
        free = self._memory.free_bytes()
        result, taken = self._memory.peak_bytes(lambda: work(batch))
        self._sizes[kind] = min(max(int(_SHARE * free * len(batch) / max(taken, 1)), 1), _MOST)
        return result
