"""Chooses how many windows form a batch: on a GPU as many as fit into its free memory."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Protocol, TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

#: On a CPU larger batches are not faster; on a GPU the first batch shows how much memory a window needs.
_FIRST = 8
_MOST = 256
#: Share of the free memory to use; the rest is for results, fragmentation and other processes.
_SHARE = 0.7


class Memory(Protocol):
    """A device's memory, as :class:`Batches` uses it."""

    def free_bytes(self) -> int:
        """Returns how much could be allocated now."""

    def peak_bytes(self, work: Callable[[], Result]) -> tuple[Result, int]:
        """Does some work; returns its result and how far memory rose meanwhile."""


class GpuMemory:
    """The memory of a GPU as torch's allocator counts it, which does not wait for the GPU.

    Args:
        device: the GPU
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def free_bytes(self) -> int:
        """Returns how much could be allocated now: free on the GPU, or held by torch and not in use."""
        held = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        return torch.cuda.mem_get_info(self._device)[0] + held

    def peak_bytes(self, work: Callable[[], Result]) -> tuple[Result, int]:
        """Does some work; returns its result and how far memory rose meanwhile."""
        before = torch.cuda.memory_allocated(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        result = work()
        return result, torch.cuda.max_memory_allocated(self._device) - before


class Batches:
    """Does work in batches that fit into memory.

    The first batch of a kind is small and shows how much memory an item needs; later batches are as large as free memory allows.
    If a batch still runs out of memory, it is halved, and later batches of its kind keep the smaller size.

    Args:
        memory (None): memory of a GPU; without it, all batches are small
    """

    def __init__(self, memory: Memory | None) -> None:
        self._memory = memory
        self._sizes: dict[Hashable, int] = {}

    @classmethod
    def on(cls, device: torch.device) -> Batches:
        """Makes batches for a device."""
        return cls(GpuMemory(device) if device.type == "cuda" else None)

    def results(
        self, items: Sequence[Item], kind: Hashable, work: Callable[[Sequence[Item]], Result]
    ) -> Iterator[tuple[Sequence[Item], Result]]:
        """Processes the items batch by batch.

        Args:
            items: the items to process
            kind: a key that items of equal memory needs share
            work: processes a batch

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
