"""Corrects the words by a few images whose masks are known: the formulas, on patch features.

A discriminant is added to the cosines with the text. Its class means come from the examples; its covariance, and the means of
classes that no example shows, come from unlabelled images of the same kind. It is linear in the features, so the rest of the
method does not change. ``docs/EVIDENCE.md`` explains the formulas and what they were compared with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import pstdev
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fiftyone_resclip.core.text import Correction, best_of_classes
from fiftyone_resclip.errors import ConfigError

#: Strengths that are tried; 0 is the words alone. The default is taken unless another one is clearly better.
STRENGTHS, DEFAULT_STRENGTH = (0.0, 0.5, 1.0, 3.0), 0.5

#: Share of the examples in the mean of a class; the rest comes from unlabelled patches that look like the class.
_TRUST = 2 / 3
_SHRINKAGE = 0.01
_ROUNDS = 10
_RAREST = 1e-4
#: Weight of the logarithm of how rare a class without examples seems to be.
_RARITY = 2.0


class Example(NamedTuple):
    """The patches of an image whose mask is known.

    Attributes:
        features: L2-normalised, ``(P, D)``
        shares: share of each patch's pixels that the mask gives to each class, ``(P, C)``; zeros for a patch that is left out
    """

    features: Tensor
    shares: Tensor


class Seen(NamedTuple):
    """The mean feature of each class, summed over examples that show the class; every example counts the same.

    Attributes:
        total: sum of the means, ``(C, D)``
        examples: number of examples that show each class, ``(C,)``
    """

    total: Tensor
    examples: Tensor

    @classmethod
    def nothing(cls, n_classes: int, width: int) -> Seen:
        """Returns what has been seen before the first example."""
        return cls(torch.zeros(n_classes, width), torch.zeros(n_classes))

    @classmethod
    def of(cls, example: Example) -> Seen:
        """Returns what one example shows."""
        mass = example.shares.sum(dim=0)
        return cls(example.shares.T @ example.features / mass.clamp(min=1e-9)[:, None], (mass > 0).float())

    def plus(self, other: Seen, sign: int = 1) -> Seen:
        """Adds what other examples show, or takes it away."""
        return Seen(self.total + sign * other.total, self.examples + sign * other.examples)


@dataclass(frozen=True)
class Teacher:
    """Everything that is learned from.

    Attributes:
        text: text features, ``(Q, D)``
        phrase_classes: class of each phrase, ascending, ``(Q,)`` int64
        logit_scale: factor on cosines before the softmax over phrases
        seen: what the examples show
        unlabelled: patches of images of the same kind, ``(m, D)``
    """

    text: Tensor
    phrase_classes: Tensor
    logit_scale: float
    seen: Seen
    unlabelled: Tensor

    def class_scores(self, features: Tensor) -> Tensor:
        """Scores patches by the words alone; each class counts as its likeliest phrase, ``(m, D)`` -> ``(m, C)``."""
        return best_of_classes(features @ self.text.T, self.phrase_classes, len(self.seen.examples))

    def correction(self, strength: float) -> Correction:
        """Computes what is added to the cosines of each class.

        Args:
            strength: how much the examples count; 0 for the words alone

        Returns:
            the correction; all zeros without examples or strength

        Source:
            Wang et al., ICLR 2024 (Gaussian discriminant analysis added to zero-shot scores); here the means of classes are
            shared with unlabelled patches, by expectation maximisation
        """
        if not strength or not self.seen.examples.any():
            return Correction(torch.zeros_like(self.seen.total), torch.zeros_like(self.seen.examples))
        weights, bias = self._discriminant(strength)
        return Correction(*(part * (strength / self.logit_scale) for part in (weights, bias)))

    def _discriminant(self, strength: float) -> tuple[Tensor, Tensor]:
        """Alternates between guessing the classes of unlabelled patches and fitting Gaussians that share one covariance."""
        patches, words = self.unlabelled, self.logit_scale * self.class_scores(self.unlabelled)
        count, width = patches.shape
        taught = self.seen.examples > 0
        example_means = self.seen.total / self.seen.examples.clamp(min=1)[:, None]
        own = (_TRUST * taught)[:, None]
        second, identity = patches.T @ patches / count, torch.eye(width)
        weights, bias = torch.zeros_like(example_means), torch.zeros(len(example_means))
        for _ in range(_ROUNDS):
            guess = (words + strength * (patches @ weights.T + bias)).softmax(dim=1)
            share = guess.mean(dim=0)
            guessed = guess.T @ patches / count / share.clamp(min=1e-9)[:, None]
            means = own * example_means + (1 - own) * guessed
            cross = (share[:, None] * guessed).T @ means
            within = second - cross - cross.T + (share[:, None] * means).T @ means
            precision = torch.linalg.inv((1 - _SHRINKAGE) * within + _SHRINKAGE * within.trace() / width * identity)
            rare = (share / share[taught].mean()).clamp(_RAREST, 1).log() * ~taught
            weights = means @ precision
            bias = _RARITY * rare - (weights * means).sum(dim=1) / 2
            weights, bias = weights - weights.mean(dim=0), bias - bias.mean()
        return weights, bias


@dataclass(frozen=True)
class Taught:
    """What examples taught, and how.

    Attributes:
        class_names: the classes that were taught
        correction: what is added to their cosines
        strength: how much the examples count; 0 if the words alone were better
        scores: mIoU by strength, over the patches of examples left out one at a time, in [0, 1]; empty if no strengths were tried
        examples: number of examples that show each class, by name
        sample_ids: the ids of the examples
        unlabelled: number of further images
        unknown: names in the masks that no class has
        skipped: reason by file, for images that could not be used
        weights: identity of the CLIP
        settings: settings of the last block, on which features depend
    """

    class_names: tuple[str, ...]
    correction: Correction
    strength: float
    scores: Mapping[float, float]
    examples: Mapping[str, int]
    sample_ids: tuple[str, ...]
    unlabelled: int
    unknown: tuple[str, ...]
    skipped: Mapping[str, str]
    weights: str
    settings: Mapping[str, Any]

    def for_classes(self, class_names: Sequence[str]) -> Correction:
        """Returns the correction for some classes, in their order; those that were not taught keep their words alone."""
        rows = torch.tensor([self.class_names.index(name) if name in self.class_names else -1 for name in class_names])
        known = (rows >= 0).float()
        return Correction(self.correction.weights[rows] * known[:, None], self.correction.bias[rows] * known)

    def check(self, settings: Mapping[str, Any], weights: str | None = None) -> None:
        """Refuses another model than the one that was taught: its features would mean something else.

        Args:
            settings: settings of its last block
            weights (None): identity of its CLIP; by default only the settings are compared

        Raises:
            ConfigError: if the settings or the weights are others
        """
        if weights not in (None, self.weights):
            raise ConfigError("examples taught a model with other weights; choose that model, or learn again with this one")
        changed = [
            f"{name} {settings.get(name)!r} instead of {then!r}"
            for name, then in self.settings.items()
            if settings.get(name) != then
        ]
        if changed:
            raise ConfigError(
                "examples taught a model with other settings of the last block, on which features depend: "
                f"{', '.join(changed)}; choose those settings, or learn again with these"
            )

    @property
    def digest(self) -> str:
        """A hash of the numbers that were learned."""
        numbers = b"".join(part.numpy().astype("<f4").tobytes() for part in self.correction)
        return hashlib.blake2b(numbers, digest_size=16).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Returns everything except the tensors as plain JSON values, with a digest of the tensors."""
        values = {name: value for name, value in vars(self).items() if name != "correction"}
        return {
            **values,
            "class_names": list(self.class_names),
            "sample_ids": list(self.sample_ids),
            "unknown": list(self.unknown),
            "scores": {f"{strength:g}": score for strength, score in self.scores.items()},
            "digest": self.digest,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any], correction: Correction) -> Taught:
        """Does the opposite of :meth:`to_json`.

        Raises:
            ValueError: if the values are not those of ``correction``
        """
        lists = {name: tuple(values[name]) for name in ("class_names", "sample_ids", "unknown")}
        scores = {float(strength): score for strength, score in values["scores"].items()}
        given = {name: value for name, value in values.items() if name != "digest"}
        taught = cls(**{**given, **lists, "scores": scores}, correction=correction)
        if taught.to_json() != dict(values):
            raise ValueError("its numbers are not those that were saved")
        return taught

    def __str__(self) -> str:
        shown = sum(count > 0 for count in self.examples.values())
        parts = [f"{len(self.sample_ids)} examples of {shown} of {len(self.class_names)} classes"]
        parts.append(f"{self.unlabelled} unlabelled images")
        parts.append(f"strength {self.strength:g}" if self.strength else "strength 0: the words alone are used")
        if self.scores:
            best, words = (f"{100 * self.scores[strength]:.1f}" for strength in (self.strength, 0.0))
            parts.append(f"mIoU of patches {best} %, words alone {words} %, each example left out in turn")
        if self.unknown:
            parts.append(f"no class is called {', '.join(self.unknown)}")
        parts.extend(f"not used: {reason}" for reason in self.skipped.values())
        return "; ".join(parts)


def judged(teacher: Teacher, examples: Sequence[Example]) -> tuple[float, dict[float, float]]:
    """Judges strengths by leaving out one example at a time and labelling its patches with what the others teach.

    Args:
        teacher: has seen all examples
        examples: those that are left out, one at a time

    Returns:
        the strength to take, see :func:`clearly_best`, and by strength the mIoU over the patches of all these examples, in [0, 1]

    Source:
        Breiman et al., *Classification and Regression Trees*, 1984 (the rule of one standard error)
    """
    n_classes = len(teacher.seen.examples)
    confusions = {strength: torch.zeros(len(examples), n_classes, n_classes) for strength in STRENGTHS}
    for number, example in enumerate(examples):
        others = replace(teacher, seen=teacher.seen.plus(Seen.of(example), -1))
        known = example.shares.sum(dim=1) > 0
        features, truth = example.features[known], example.shares[known].argmax(dim=1)
        scores = teacher.class_scores(features)
        for strength, confusion in confusions.items():
            weights, bias = others.correction(strength)
            found = (scores + features @ weights.T + bias).argmax(dim=1)
            pairs = torch.bincount(truth * n_classes + found, minlength=n_classes**2)
            confusion[number] = pairs.view(n_classes, n_classes)
    return clearly_best(confusions), _mious(confusions)


def clearly_best(confusions: Mapping[float, Tensor]) -> float:
    """Chooses a strength.

    Args:
        confusions: pairs of true and found class, counted in each image, by strength, ``(E, C, C)``

    Returns:
        the one of the highest mIoU, if that is higher than with the default by more than a standard error; otherwise the default
    """
    mious = _mious(confusions)
    best = max(mious, key=lambda strength: mious[strength])
    error = _standard_error(confusions[best], confusions[DEFAULT_STRENGTH])
    return best if mious[best] - mious[DEFAULT_STRENGTH] > error else DEFAULT_STRENGTH


def _mious(confusions: Mapping[float, Tensor]) -> dict[float, float]:
    return {strength: _miou(confusion.sum(dim=0)) for strength, confusion in confusions.items()}


def _standard_error(one: Tensor, other: Tensor) -> float:
    """Estimates the standard error of a difference of mIoUs from the confusions of each image, by the jackknife."""
    differences = [_miou(one.sum(dim=0) - a) - _miou(other.sum(dim=0) - b) for a, b in zip(one, other, strict=True)]
    return pstdev(differences) * (len(differences) - 1) ** 0.5 if differences else 0.0


def _miou(confusion: Tensor) -> float:
    hits = confusion.diag()
    return float((hits / (confusion.sum(dim=0) + confusion.sum(dim=1) - hits)).nanmean().nan_to_num())
