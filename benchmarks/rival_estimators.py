"""Estimators from the literature that learn from the same examples, to compare ours with."""

from __future__ import annotations

import torch
from torch import Tensor

from fiftyone_resclip.core.teaching import Teacher

_SHRINKAGE = 0.01


class ClosedForm(Teacher):
    """Gaussian discriminant analysis added to the words: class means from the examples alone, one covariance of all patches.

    Classes without examples keep their words.

    Source:
        Wang et al., "A hard-to-beat baseline for training-free CLIP-based adaptation", ICLR 2024
    """

    def _discriminant(self, strength: float) -> tuple[Tensor, Tensor]:
        mean, covariance = self.unlabelled.mean(dim=0), torch.cov(self.unlabelled.T, correction=0)
        width, taught = len(mean), self.seen.examples > 0
        shrunk = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * covariance.trace() / width * torch.eye(width)
        means = self.seen.total[taught] / self.seen.examples[taught, None]
        of_taught = torch.linalg.solve(shrunk, (means - mean).T).T
        bias_of_taught = -(of_taught * (means + mean)).sum(dim=1) / 2
        weights, bias = torch.zeros_like(self.seen.total), torch.zeros_like(self.seen.examples)
        weights[taught], bias[taught] = of_taught - of_taught.mean(dim=0), bias_of_taught - bias_of_taught.mean()
        return weights, bias
