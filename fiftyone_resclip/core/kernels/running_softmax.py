"""Finds the likeliest phrase from logits that arrive a few phrases at a time, so that they are never all in memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class RunningLikeliest:
    """Finds what :func:`fiftyone_resclip.core.labels.likeliest` finds, from logits that arrive in parts.

    Args:
        shape: shape of the pixels
        device: device of the logits

    Attributes:
        phrase: index of the likeliest phrase so far, int64; a tie goes to the first
    """

    def __init__(self, shape: Sequence[int], device: torch.device) -> None:
        self._highest = torch.full(shape, -torch.inf, device=device)
        self._total = torch.zeros(shape, device=device)
        self._seen = 0
        self.phrase = torch.zeros(shape, dtype=torch.int64, device=device)

    def add(self, logits: Tensor) -> None:
        """Adds the next phrases.

        Args:
            logits: cosines times the logit scale, phrases last, ``(*shape, q)``; overwritten
        """
        value, phrase = logits.max(dim=-1)
        highest = torch.maximum(self._highest, value)
        self._total *= (self._highest - highest).exp_()
        self._total += logits.sub_(highest[..., None]).exp_().sum(dim=-1)
        self.phrase = torch.where(value > self._highest, phrase + self._seen, self.phrase)
        self._highest = highest
        self._seen += logits.shape[-1]

    @property
    def confidence(self) -> Tensor:
        """The probability of the likeliest phrase, from the softmax over all phrases so far."""
        return 1 / self._total
