"""Estimators from the literature that learn from the same examples, to compare ours with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from fiftyone_resclip.config import STRATEGIES
from fiftyone_resclip.core.attention import attend
from fiftyone_resclip.core.kernels import stitch
from fiftyone_resclip.core.residual import residual_map
from fiftyone_resclip.core.teaching import Teacher
from fiftyone_resclip.core.text import Correction
from fiftyone_resclip.core.windows import ResizableScores
from fiftyone_resclip.segmenter import ResCLIP

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


class MeansOfAnImage(Teacher):
    """Returns, in place of a correction, the mean feature of each class in one example, and 1 for each class that it shows."""

    def correction(self, strength: float) -> Correction:
        """Returns what was seen, whatever the strength."""
        return Correction(*self.seen)


class Support(NamedTuple):
    """What examples show: a feature for each class in each of them.

    Attributes:
        features: L2-normalised, ``(n, D)``
        classes: the class of each, ``(n,)`` int64
    """

    features: Tensor
    classes: Tensor

    @classmethod
    def of(cls, examples: Sequence[Correction]) -> Support:
        """Collects the results of :class:`MeansOfAnImage`."""
        shown = [bias > 0 for _, bias in examples]
        features = torch.cat([means[some] for (means, _), some in zip(examples, shown, strict=True)])
        return cls(functional.normalize(features, dim=1), torch.cat([some.nonzero().flatten() for some in shown]))


class HeadPerImage(ResCLIP):
    """Labels each image with a linear head that is trained for it alone, from examples like it and from the words.

    It reads the patches that examples teach, those of the draft. There is one phrase per class.

    Args:
        method: its backbone, words and settings
        support: what the examples show

    Source:
        "Retrieve and Segment", CVPR 2026 (MIT), from its description
    """

    _NEAREST, _SHARES = 4, (0.9, 0.8, 0.6, 0.4, 0.2, 0.0)
    _SCALE, _STEPS, _RATE, _DECAY = 100.0, 700, 2e-3, 5e-4

    def __init__(self, method: ResCLIP, support: Support) -> None:
        self.__dict__.update(vars(method))
        self.support = support

    def image_scores(self, images: Sequence[Tensor], present: Sequence[Tensor | None] | None = None) -> list[ResizableScores]:
        """Scores whole images with their heads; see :meth:`ResCLIP.image_scores`. Presence is not used."""
        return [self._of_image(image) for image in images]

    def _of_image(self, image: Tensor) -> ResizableScores:
        def run(pixels: Tensor, _: Sequence[object]) -> Tensor:
            trunk = self.trunk(pixels)
            whole = self.backbone.finish(trunk, attend(trunk.q, trunk.k, trunk.v, STRATEGIES["vanilla"]), residual_arch=True)
            patches = self.tokens(trunk, residual=residual_map(trunk.mean_attention, self.config.rcs))
            return functional.normalize(torch.cat([whole[:, :1], patches[:, 1:]], dim=1), dim=-1)

        _, crops = self._crops([image])
        found = self._of_crops([image], crops, run)
        tokens = torch.stack([found[number] for number in range(len(crops))])
        head = self._trained(tokens[:, 1:].flatten(0, 1), functional.normalize(tokens[:, 0].mean(dim=0), dim=0))
        rows = (crops[0].box.bottom - crops[0].box.top) // self.backbone.patch_px  # all windows have the same size
        scores = (head(tokens[:, 1:]) / self.config.logit_scale).transpose(1, 2).unflatten(2, (rows, -1))
        return stitch(list(scores), [crop.box for crop in crops], (image.shape[1], image.shape[2]))

    def _trained(self, patches: Tensor, whole: Tensor) -> nn.Linear:
        """Trains the head of an image.

        Args:
            patches: all patches of the image, ``(P, D)``
            whole: its global feature, ``(D,)``
        """
        inputs, targets, classes = self._lesson(patches)
        weights = (whole @ self.text_features.T).softmax(dim=0)[classes]
        with torch.inference_mode(False), torch.enable_grad():
            inputs, targets, weights = (part.clone() for part in (inputs, targets, weights))
            head = nn.Linear(inputs.shape[1], targets.shape[1])
            for part in head.parameters():
                nn.init.zeros_(part)  # a random start would only add noise: the problem is convex
            optimiser = torch.optim.AdamW(head.parameters(), lr=self._RATE, weight_decay=self._DECAY, fused=True)
            for _ in range(self._STEPS):
                optimiser.zero_grad()
                (weights * functional.cross_entropy(head(inputs), targets, reduction="none")).mean().backward()
                optimiser.step()
        return head

    def _lesson(self, patches: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns inputs ``(n, D)``, their targets ``(n, C)``, and the class that each of them stands for, ``(n,)``."""
        text, (features, classes) = self.text_features, self.support
        nearest = (patches @ features.T).topk(min(self._NEAREST, len(features))).indices.unique()
        found, likeliest = classes[nearest].unique(), (patches @ text.T).argmax(dim=1)
        means = torch.stack([features[classes == each].mean(dim=0) for each in found])
        guessed = likeliest.unique()
        guessed_means = torch.stack([patches[likeliest == each].mean(dim=0) for each in guessed])
        blends, guesses = self._blends(means, text[found]), self._blends(guessed_means, text[guessed])
        stands_for = [classes[nearest], found.repeat(len(self._SHARES)), guessed.repeat(len(self._SHARES))]
        known = functional.one_hot(torch.cat(stands_for[:2]), len(text)).float()
        targets = torch.cat([known, (self._SCALE * guesses @ text.T).softmax(dim=1)])
        return torch.cat([features[nearest], blends, guesses]), targets, torch.cat(stands_for)

    def _blends(self, means: Tensor, text: Tensor) -> Tensor:
        return functional.normalize(torch.cat([share * means + (1 - share) * text for share in self._SHARES]), dim=1)
