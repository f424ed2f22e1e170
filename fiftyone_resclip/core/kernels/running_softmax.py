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
        highest: its logit
    """

    def __init__(self, shape: Sequence[int], device: torch.device) -> None:
        self.highest = torch.full(shape, -torch.inf, device=device)
        self.phrase = torch.zeros(shape, dtype=torch.int64, device=device)
        self._total = torch.zeros(shape, device=device)

    def add(self, logits: Tensor, numbers: Tensor) -> None:
        """Adds phrases.

        Args:
            logits: cosines times the logit scale, phrases last, ``(*shape, q)``; overwritten
            numbers: indices of these phrases, ascending, ``(q,)`` int64
        """
        value, place = logits.max(dim=-1)
        phrase, highest = numbers[place], torch.maximum(self.highest, value)
        self._total *= (self.highest - highest).exp_()
        self._total += logits.sub_(highest[..., None]).exp_().sum(dim=-1)
        self.phrase = torch.where(
            (value > self.highest) | ((value == self.highest) & (phrase < self.phrase)), phrase, self.phrase
        )
        self.highest = highest

    @property
    def confidence(self) -> Tensor:
        """The probability of the likeliest phrase, from the softmax over all phrases so far."""
        return 1 / self._total

    @property
    def log_sum(self) -> Tensor:
        """The logarithm of the softmax's sum over all phrases so far."""
        return self._total.log().add_(self.highest)
