"""The settings and strategies. Both are frozen dataclasses; settings are checked when they are created.

``None`` turns a part off: ``ResCLIPConfig(rcs=None)`` runs without RCS. ``dataclasses.replace(preset, ...)`` varies a preset.
This module does not import a tensor library.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from fiftyone_resclip.checks import check_known, check_positive, check_switch, check_unit, check_whole
from fiftyone_resclip.errors import ConfigError, unknown

StrategyName = Literal["vanilla", "sclip", "clearclip", "naclip"]
ArchName = Literal["residual", "bare"]
Remainder = Literal["stretch", "pad"]
Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class Strategy:
    """How the last block scores tokens against each other: one row of the method's table.

    Attributes:
        pairs: which projections are multiplied; each pair has its own softmax, and the results are added
        locality: whether a bias towards nearby patches is added to the scores
        arch: the architecture the strategy was published with
        bare_allowed: whether it can also run without the residual connection and the MLP
    """

    pairs: tuple[tuple[Literal["q", "k"], Literal["q", "k"]], ...]
    locality: bool
    arch: ArchName
    bare_allowed: bool = True


STRATEGIES: Mapping[str, Strategy] = {
    "vanilla": Strategy((("q", "k"),), locality=False, arch="residual"),
    "sclip": Strategy((("q", "q"), ("k", "k")), locality=False, arch="residual", bare_allowed=False),
    "clearclip": Strategy((("q", "q"),), locality=False, arch="bare"),
    "naclip": Strategy((("k", "k"),), locality=True, arch="bare"),
}


def _check_part(name: str, value: object, kind: type) -> None:
    if not isinstance(value, (kind, type(None))):
        raise ConfigError(f"{name} must be {kind.__name__}(...), a mapping of its settings or null, but got {value!r}")


def _whole_numbers(name: str, values: object) -> tuple[int, ...]:
    if not isinstance(values, Sequence) or isinstance(values, str) or not values:
        raise ConfigError(f"{name} must be a list of at least one whole number, but got {values!r}")
    for value in values:
        check_whole(name, value, 1)
    return tuple(int(value) for value in values)


@dataclass(frozen=True)
class RCS:
    """Residual cross-correlation self-attention: mixes the attention of earlier blocks into that of the last, after the softmax.

    Attributes:
        gain: ``tau_r`` of the paper, > 0; attention rows sum to it
        mix: ``lambda_r``, the share of the earlier blocks' attention, in [0, 1]
        blocks: the blocks whose attention is averaged, counted from 1
    """

    gain: float = 2.0
    mix: float = 0.3
    blocks: tuple[int, ...] = (6, 7, 8, 9)

    def __post_init__(self) -> None:
        check_positive("gain", self.gain)
        check_unit("mix", self.mix)
        object.__setattr__(self, "blocks", _whole_numbers("blocks", self.blocks))
        if len(set(self.blocks)) < len(self.blocks):
            raise ConfigError(f"blocks must be different from each other, but got {self.blocks}")


@dataclass(frozen=True)
class PAMR:
    """Pixel-adaptive mask refinement.

    Attributes:
        steps: propagation steps, >= 0
        dilations: neighbour distances in pixels, each >= 1
    """

    steps: int = 10
    dilations: tuple[int, ...] = (8, 16)

    def __post_init__(self) -> None:
        check_whole("steps", self.steps, 0)
        object.__setattr__(self, "dilations", _whole_numbers("dilations", self.dilations))


@dataclass(frozen=True)
class SFR:
    """Semantic feedback refinement: the first segmentation, fed back into the attention scores before the softmax.

    Attributes:
        gain: ``tau_s`` of the paper, > 0
        mix: ``lambda_s``, the share of the feedback, in [0, 1]
        threshold: ``temp_thd``; draft pixels less certain than this become phrase 0, in [0, 1]
        path_rule: whether a pair counts less when the line between its patches crosses another label
        sigma: standard deviation of the blur along keys, in patches, > 0
        pamr: settings for refining the draft; ``None`` does not refine it
    """

    gain: float = 2.1
    mix: float = 0.7
    threshold: float = 0.25
    path_rule: bool = True
    sigma: float = 5.0
    pamr: PAMR | None = PAMR()

    def __post_init__(self) -> None:
        check_positive("gain", self.gain)
        check_unit("mix", self.mix)
        check_unit("threshold", self.threshold)
        check_positive("sigma", self.sigma)
        check_switch("path_rule", self.path_rule)
        _check_part("pamr", self.pamr, PAMR)


@dataclass(frozen=True)
class Window:
    """Sliding windows over the resized image.

    Attributes:
        crop_px: side of the square window, in pixels
        stride_px: distance between windows, in pixels, at most ``crop_px``
    """

    crop_px: int = 224
    stride_px: int = 112

    def __post_init__(self) -> None:
        check_whole("crop_px", self.crop_px, 1)
        check_whole("stride_px", self.stride_px, 1)
        if self.stride_px > self.crop_px:
            raise ConfigError(
                f"stride_px must be at most crop_px so that every pixel is covered, but got {self.stride_px} > {self.crop_px}"
            )


@dataclass(frozen=True)
class ResCLIPConfig:
    """All settings that affect a label map; weights and words are given separately.

    Attributes:
        strategy: the base attention of the last block, a key of :data:`STRATEGIES`
        arch: whether the last block keeps (``"residual"``) or drops (``"bare"``) its residual connection and MLP; ``None`` is as
            published
        rcs: the first addition of ResCLIP; ``None`` turns it off
        sfr: the second addition of ResCLIP; ``None`` turns it off
        locality_sigma: width of the locality bias, in patches, > 0
        window: sliding windows; ``None`` processes the whole image at once
        short_side_px: length to which the image's short side is resized before the network
        max_long_side_px: limit for the long side; it overrides ``short_side_px``
        logit_scale: factor on cosines before the softmax over phrases, > 0
        prob_threshold: pixels less certain than this get the background class, or none; in [0, 1]
        pamr: refinement of the final result; ``None`` turns it off, as published. Large results are refined in tiles, each with a
            margin of ``steps`` times the largest dilation, in less than 1 GiB of memory
        remainder: how pixels beyond the last whole patch are handled. ``"stretch"``, as measured: they are dropped and the
            scores are stretched over them, which shifts scores at the right and bottom by up to a patch. ``"pad"``: the image's
            edge is repeated up to a whole patch, so that scores do not shift
        min_area: a class that covers less than this share of the image is removed, and its pixels get their next likeliest
            class; 0 turns this off, as published. The release's own area threshold never changes a prediction
        precision: floating-point type of the network; scores, PAMR, feedback and labels always use float32
    """

    strategy: StrategyName = "naclip"
    arch: ArchName | None = None
    rcs: RCS | None = RCS()
    sfr: SFR | None = SFR()
    locality_sigma: float = 5.0
    window: Window | None = Window()
    short_side_px: int = 336
    max_long_side_px: int = 2048
    logit_scale: float = 40.0
    prob_threshold: float = 0.0
    pamr: PAMR | None = None
    remainder: Remainder = "stretch"
    min_area: float = 0.0
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        check_known("strategy", self.strategy, STRATEGIES)
        if self.arch is not None:
            check_known("arch", self.arch, get_args(ArchName))
        if self.arch == "bare" and not STRATEGIES[self.strategy].bare_allowed:
            raise ConfigError(f"strategy {self.strategy!r} runs with arch 'residual' only, but got 'bare'; leave arch out")
        check_positive("locality_sigma", self.locality_sigma)
        check_whole("short_side_px", self.short_side_px, 1)
        check_whole("max_long_side_px", self.max_long_side_px, self.short_side_px)
        check_positive("logit_scale", self.logit_scale)
        check_unit("prob_threshold", self.prob_threshold)
        check_unit("min_area", self.min_area)
        check_known("remainder", self.remainder, get_args(Remainder))
        check_known("precision", self.precision, get_args(Precision))
        for name, kind in _PARTS.items():
            _check_part(name, getattr(self, name), kind)

    @property
    def residual_arch(self) -> bool:
        """Whether the last block keeps its residual connection and MLP."""
        return (self.arch or STRATEGIES[self.strategy].arch) == "residual"

    @property
    def last_block(self) -> dict[str, Any]:
        """The settings on which the patches of the draft depend, before they are compared with words, as plain JSON values."""
        values = self.to_dict()
        names = ("strategy", "rcs", "locality_sigma")
        settings: dict[str, Any] = json.loads(json.dumps({name: values[name] for name in names}))
        return {**settings, "residual": self.residual_arch}

    def to_dict(self) -> dict[str, Any]:
        """Returns the settings as plain JSON values; :meth:`from_dict` reads them back."""
        return dataclasses.asdict(self)

    def varied(self, values: Mapping[str, Any]) -> ResCLIPConfig:
        """Returns a config with some settings changed; a part such as ``sfr`` may be given with only the settings that change.

        Args:
            values: as for :meth:`from_dict`; settings that are left out keep their values, also within a part

        Returns:
            the varied config

        Raises:
            ConfigError: as for :meth:`from_dict`
        """
        return self.from_dict(_merged(self.to_dict(), values))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ResCLIPConfig:
        """Makes a config from plain JSON values.

        Args:
            values: some or all settings by name; the parts ``rcs``, ``sfr``, ``window`` and ``pamr`` are mappings or ``None``

        Returns:
            the config; settings that are left out keep their defaults

        Raises:
            ConfigError: if a name is unknown (the message suggests the nearest known one) or a value is out of range
        """
        config: ResCLIPConfig = _build(cls, values)
        return config


_PARTS: Mapping[str, type[RCS] | type[SFR] | type[Window] | type[PAMR]] = {"rcs": RCS, "sfr": SFR, "window": Window, "pamr": PAMR}


def _check_mapping(values: object) -> None:
    if not isinstance(values, Mapping):
        raise ConfigError(f"settings must be a mapping, such as {{'prob_threshold': 0.5}}, but got {values!r}")


def _merged(base: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    _check_mapping(values)
    parts = {name: value for name, value in values.items() if isinstance(value, Mapping) and isinstance(base.get(name), Mapping)}
    return {**base, **values, **{name: _merged(base[name], value) for name, value in parts.items()}}


def _build(cls: Any, values: Mapping[str, Any]) -> Any:
    _check_mapping(values)
    known = {field.name for field in dataclasses.fields(cls)}
    for name in values:
        if name not in known:
            raise ConfigError(unknown(f"setting of {cls.__name__}", name, known))
    parts = {name: _build(_PARTS[name], v) if name in _PARTS and isinstance(v, Mapping) else v for name, v in values.items()}
    return cls(**parts)
