"""Generated pictures of cloth on the ground, with captions and exact ground truth.

The bundled tiny CLIP knows only these scenes: pieces of cloth in six colours and four patterns on three grounds. Training sees
only ``Scene.image`` and ``caption``; ``Scene.truth`` is for evaluation and the demo. This module does not need torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (205, 40, 45),
    "orange": (240, 140, 30),
    "yellow": (235, 215, 50),
    "green": (45, 155, 65),
    "blue": (45, 85, 205),
    "purple": (140, 60, 165),
}
PATTERNS: tuple[str, ...] = ("plain", "striped", "dotted", "checked")
GROUNDS: dict[str, tuple[int, int, int]] = {"asphalt": (72, 72, 76), "gravel": (148, 146, 142), "snow": (228, 232, 238)}

#: Pairs that no training caption ever names together; scenes contain them, but captions name only their colour or their pattern.
NEVER_NAMED: frozenset[tuple[str, str]] = frozenset(
    {("striped", "green"), ("dotted", "blue"), ("checked", "yellow"), ("plain", "purple")}
)

#: How :func:`phrases` names a piece of cloth.
Naming = Literal["colour", "pattern", "both"]

_HELD_OUT_SEED = 1_000_000  # training draws its scenes from [seed, step]; held-out ones come from [_HELD_OUT_SEED, index]
_MIN_VISIBLE_SHARE = 0.35
_RADIUS_PX = (16.0, 34.0)


@dataclass(frozen=True)
class Cloth:
    """A piece of cloth: the names of its pattern and colour."""

    pattern: str
    colour: str

    @property
    def name(self) -> str:
        """The full phrase, such as ``"striped red cloth"``."""
        return f"{self.pattern} {self.colour} cloth"


ALL_CLOTHS: tuple[Cloth, ...] = tuple(Cloth(pattern, colour) for pattern in PATTERNS for colour in COLOURS)

#: Vocabularies for scenes: colours; colours and grounds; pairs of pattern and colour, and grounds.
COLOUR_CLASSES: tuple[str, ...] = tuple(f"{colour} cloth" for colour in COLOURS)
COLOURS_AND_GROUNDS: tuple[str, ...] = (*COLOUR_CLASSES, *GROUNDS)
PAIR_CLASSES: tuple[str, ...] = (*(cloth.name for cloth in ALL_CLOTHS), *GROUNDS)


@dataclass(frozen=True)
class Scene:
    """A picture and its contents.

    Attributes:
        image: RGB, ``(H, W, 3)`` uint8
        truth: the region of each pixel, as an index into ``regions``, ``(H, W)`` uint8
        grounds: the names of one or two grounds
        cloths: the pieces of cloth, bottom to top
    """

    image: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    grounds: tuple[str, ...]
    cloths: tuple[Cloth, ...]

    @property
    def regions(self) -> tuple[str, ...]:
        """The full name of every region: grounds, then cloths."""
        return (*self.grounds, *(cloth.name for cloth in self.cloths))


def draw_scene(
    rng: np.random.Generator, image_hw: tuple[int, int] = (96, 96), n_cloths: int = 1, two_grounds_share: float = 0.35
) -> Scene:
    """Draws one scene with ``n_cloths`` different pieces of cloth, each largely visible.

    Args:
        rng: the only source of randomness, so equal seeds give equal scenes
        image_hw ((96, 96)): height and width in pixels
        n_cloths (1): number of pieces, >= 0
        two_grounds_share (0.35): probability of two kinds of ground, in [0, 1]

    Returns:
        the :class:`Scene`
    """
    n_grounds = 2 if rng.random() < two_grounds_share else 1
    grounds = tuple(str(name) for name in rng.choice(list(GROUNDS), size=n_grounds, replace=False))
    cloths = tuple(ALL_CLOTHS[i] for i in rng.choice(len(ALL_CLOTHS), size=n_cloths, replace=False))
    polygons = _place_polygons(rng, image_hw, n_cloths)
    truth = np.where(polygons > 0, polygons + (n_grounds - 1), _split(rng, image_hw) * (n_grounds - 1)).astype(np.uint8)
    textures = [_ground(rng, image_hw, name) for name in grounds] + [_texture(rng, image_hw, cloth) for cloth in cloths]
    canvas = np.take_along_axis(np.stack(textures), truth[None, ..., None].astype(np.int64), axis=0)[0]
    canvas = canvas * _lighting(rng, image_hw)[..., None] + rng.normal(0, 4, (*image_hw, 3))
    return Scene(np.clip(canvas, 0, 255).astype(np.uint8), truth, grounds, cloths)


def held_out_scene(index: int, image_hw: tuple[int, int], n_cloths: int) -> Scene:
    """Draws a scene that no training run has seen, by number."""
    return draw_scene(np.random.default_rng([_HELD_OUT_SEED, index]), image_hw, n_cloths)


def dense_scene(index: int) -> Scene:
    """Draws a held-out scene for evaluating masks: 144x192 px with 2 to 5 pieces of cloth."""
    return held_out_scene(index, (144, 192), 2 + index % 4)


def caption(rng: np.random.Generator, scene: Scene, ground_share: float = 0.7) -> str:
    """Describes a scene in words, never naming a pair of :data:`NEVER_NAMED`.

    Each piece is named in full, by its colour or by its pattern, in random order. The ground is named with probability
    ``ground_share``, and always if there are no pieces.
    """
    phrases = [_phrase(rng, cloth) for cloth in scene.cloths]
    rng.shuffle(phrases)
    ground = " and ".join(scene.grounds)
    if not phrases:
        return ground
    text = " and ".join(phrases)
    return f"{text} on {ground}" if rng.random() < ground_share else text


def phrases(scene: Scene, naming: Naming) -> tuple[str, ...]:
    """Names everything in a scene, never by a pair of :data:`NEVER_NAMED`.

    Args:
        scene: the scene
        naming: each piece by its colour, by its pattern, or by both; where both are never named, by its colour

    Returns:
        different phrases: those of the pieces, then the grounds
    """
    return (*dict.fromkeys(_named(cloth, naming) for cloth in scene.cloths), *scene.grounds)


def class_map(scene: Scene, class_names: Sequence[str]) -> NDArray[np.uint8]:
    """Turns ``scene.truth`` into class ids, 1 for the first of ``class_names``.

    A region belongs to the first class whose words all occur in its full name: ``"red cloth"`` takes every red piece.

    Args:
        scene: the scene
        class_names: phrases for cloth or names of grounds

    Returns:
        ``(H, W)`` uint8, 255 (void) where no class fits
    """
    table = np.full(len(scene.regions), 255, dtype=np.uint8)
    for entry, region in enumerate(scene.regions):
        fitting = [i for i, name in enumerate(class_names, start=1) if set(name.split()) <= set(region.split())]
        table[entry] = fitting[0] if fitting else 255
    return table[scene.truth]


def _phrase(rng: np.random.Generator, cloth: Cloth) -> str:
    partial = (_named(cloth, "colour"), _named(cloth, "pattern"))
    if (cloth.pattern, cloth.colour) in NEVER_NAMED:
        return str(rng.choice(partial))
    return str(rng.choice((cloth.name, *partial), p=(0.5, 0.25, 0.25)))


def _named(cloth: Cloth, naming: Naming) -> str:
    if naming == "both" and (cloth.pattern, cloth.colour) not in NEVER_NAMED:
        return cloth.name
    return f"{cloth.pattern if naming == 'pattern' else cloth.colour} cloth"


def _place_polygons(rng: np.random.Generator, image_hw: tuple[int, int], count: int) -> NDArray[np.uint8]:
    """Draws polygons until enough of each is visible; they shrink with each attempt."""
    scale = 1.0
    while True:
        picture = Image.new("L", (image_hw[1], image_hw[0]))
        areas = [_draw_polygon(rng, picture, index, scale) for index in range(1, count + 1)]
        truth = np.asarray(picture)
        visible = np.bincount(truth.ravel(), minlength=count + 1)[1:]
        if all(seen >= _MIN_VISIBLE_SHARE * area for seen, area in zip(visible, areas, strict=True)):
            return truth
        scale *= 0.97


def _draw_polygon(rng: np.random.Generator, picture: Image.Image, index: int, scale: float) -> float:
    """Draws a star-shaped polygon with value ``index``; returns its area in pixels, including the part outside the picture."""
    radius = scale * rng.uniform(*_RADIUS_PX)
    corners = int(rng.integers(4, 8))
    angles = (np.arange(corners) + rng.uniform(-0.25, 0.25, corners)) * (2 * np.pi / corners) + rng.uniform(0, 2 * np.pi)
    radii = radius * rng.uniform(0.75, 1.1, corners)
    x = rng.uniform(0.1, 0.9) * picture.width + radii * np.cos(angles)
    y = rng.uniform(0.1, 0.9) * picture.height + radii * np.sin(angles)
    ImageDraw.Draw(picture).polygon(list(zip(x.tolist(), y.tolist(), strict=True)), fill=index)
    return float(0.5 * abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))))


def _texture(rng: np.random.Generator, image_hw: tuple[int, int], cloth: Cloth) -> NDArray[np.float64]:
    colour = np.array(COLOURS[cloth.colour]) + rng.normal(0, 8, 3)
    light = 0.15 * colour + 0.85 * np.array((250, 246, 238))
    share = _light_share(rng, image_hw, cloth.pattern)[..., None]
    return np.where(share, light, colour)


def _light_share(rng: np.random.Generator, image_hw: tuple[int, int], pattern: str) -> NDArray[np.bool_]:
    """Computes where the second, light colour of a pattern shows, ``(H, W)``."""
    if pattern == "plain":
        return np.zeros(image_hw, dtype=np.bool_)
    y, x = np.mgrid[: image_hw[0], : image_hw[1]]
    angle, period = rng.uniform(0, np.pi), rng.uniform(7, 10)
    phase_u, phase_v = rng.uniform(0, 1, 2)
    u = (x * np.cos(angle) + y * np.sin(angle)) / period + phase_u
    v = (y * np.cos(angle) - x * np.sin(angle)) / period + phase_v
    if pattern == "striped":
        return np.asarray(u % 1 < 0.4)
    if pattern == "dotted":
        return np.asarray(np.hypot(u % 1 - 0.5, v % 1 - 0.5) < 0.3)
    return np.asarray((u % 1 < 0.5) ^ (v % 1 < 0.5))


def _split(rng: np.random.Generator, image_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Splits the picture by a straight line near its middle; returns where the second ground would be."""
    y, x = np.mgrid[-0.5 : 0.5 : image_hw[0] * 1j, -0.5 : 0.5 : image_hw[1] * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    return np.asarray(x * np.cos(angle) + y * np.sin(angle) > rng.uniform(-0.2, 0.2))


def _ground(rng: np.random.Generator, image_hw: tuple[int, int], name: str) -> NDArray[np.float64]:
    """Draws a ground: asphalt is dark with fine grain, gravel is grey with coarse grain, snow is white and smooth."""
    coarse = (
        rng.normal(0, 1, (-(-image_hw[0] // 3), -(-image_hw[1] // 3))).repeat(3, 0).repeat(3, 1)[: image_hw[0], : image_hw[1]]
    )
    grain = {"asphalt": rng.normal(0, 9, image_hw), "gravel": 22 * coarse, "snow": 2 * coarse}[name]
    return np.asarray(np.array(GROUNDS[name], dtype=float) + grain[..., None])


def _lighting(rng: np.random.Generator, image_hw: tuple[int, int]) -> NDArray[np.float64]:
    y, x = np.mgrid[0 : 1 : image_hw[0] * 1j, 0 : 1 : image_hw[1] * 1j]
    slope = rng.uniform(-0.12, 0.12, 2)
    return np.asarray(rng.uniform(0.9, 1.05) + slope[0] * (x - 0.5) + slope[1] * (y - 0.5))
