"""Caches the trunk of recent images, so that new words need only the last block."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeAlias

import torch
from cachetools import LRUCache
from torch import Tensor

from fiftyone_resclip.clip.backbone import Backbone, Trunk

_Key: TypeAlias = tuple[bytes, tuple[int, ...], tuple[int, ...], str]


class CachedBackbone(Backbone):
    """A backbone that caches its trunks.

    A cached trunk depends on pixels, blocks and precision, but not on words, thresholds or mixes.

    Args:
        backbone: the backbone whose weights it shares
        budget_mib (512): memory limit; the least recently used image is dropped first, the latest one is always kept

    Attributes:
        runs: how often the trunk had to run
    """

    def __init__(self, backbone: Backbone, budget_mib: float = 512.0) -> None:
        self.__dict__.update(vars(backbone))
        budget = budget_mib * 2**20
        self.runs = 0
        self._known: LRUCache[_Key, Trunk] = LRUCache(budget, getsizeof=lambda trunk: min(_bytes(trunk), budget))

    def trunk(self, pixels: Tensor, map_blocks: Sequence[int] = ()) -> Trunk:
        """Returns the trunk; see :meth:`Backbone.trunk`. It is cached: do not write to it."""
        key = _key(pixels, map_blocks)
        if key not in self._known:
            self.runs += 1
            self._known[key] = super().trunk(pixels, map_blocks)
        return self._known[key]

    @property
    def size_mib(self) -> float:
        """Memory in use, in MiB."""
        return float(self._known.currsize) / 2**20


def _bytes(trunk: Trunk) -> int:
    return sum(part.element_size() * part.nelement() for part in trunk if isinstance(part, Tensor))


def _key(pixels: Tensor, map_blocks: Sequence[int]) -> _Key:
    device = pixels.device.type
    precision = str(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else str(pixels.dtype)
    digest = hashlib.blake2b(pixels.cpu().numpy().tobytes(), digest_size=16).digest()
    return digest, tuple(pixels.shape), tuple(map_blocks), precision
