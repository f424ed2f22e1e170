"""Remembers the trunk of the images looked at last, so that other words need only the last block."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from fiftyone_resclip.clip.backbone import Backbone, Trunk

_Key: TypeAlias = tuple[bytes, tuple[int, ...], tuple[int, ...], str]


class TrunkMemory:
    """A trunk that knows what it has seen: give it to :class:`fiftyone_resclip.segmenter.ResCLIP` in the backbone's place.

    What it remembers depends on pixels, blocks and precision, never on words, thresholds or mixes.

    Args:
        backbone: what is asked for images that are new
        budget_mib (512): memory it may fill; the image that was not asked for longest goes first, the last one always stays

    Attributes:
        runs: how often the backbone was asked
    """

    def __init__(self, backbone: Backbone, budget_mib: float = 512.0) -> None:
        self.backbone, self.budget_mib, self.runs = backbone, budget_mib, 0
        self._known: OrderedDict[_Key, Trunk] = OrderedDict()

    def __call__(self, pixels: Tensor, map_blocks: Sequence[int] = ()) -> Trunk:
        """Gives the trunk; see :meth:`fiftyone_resclip.clip.backbone.Backbone.trunk`. It is shared: don't write to it."""
        key = _key(pixels, map_blocks)
        if key not in self._known:
            self.runs += 1
            self._known[key] = self.backbone.trunk(pixels, map_blocks)
            while len(self._known) > 1 and self.size_mib > self.budget_mib:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return self._known[key]

    @property
    def size_mib(self) -> float:
        """Memory in use."""
        tensors = [part for trunk in self._known.values() for part in trunk if isinstance(part, Tensor)]
        return sum(tensor.element_size() * tensor.nelement() for tensor in tensors) / 2**20


def _key(pixels: Tensor, map_blocks: Sequence[int]) -> _Key:
    device = pixels.device.type
    precision = str(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else str(pixels.dtype)
    digest = hashlib.blake2b(pixels.cpu().numpy().tobytes(), digest_size=16).digest()
    return digest, tuple(pixels.shape), tuple(map_blocks), precision
