"""Chooses a colour for each class name, so that a class looks the same wherever it is shown."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from itertools import pairwise
from math import gcd

import numpy as np
from numpy.typing import NDArray
from PIL.ImageColor import colormap, getrgb

#: The first colours. Any two of them differ as well for people who can't see red or can't see green.
_FOR_EVERYBODY = (
    "#2d78ff", "#d23c0f", "#ffe100", "#692d78", "#2dfff0", "#f07887", "#0000ff", "#871e2d", "#00c3ff", "#ffe187",
)  # fmt: skip

#: How many colours a name may choose among: first among those for everybody, then among ever more that are ever more alike.
_CIRCLES = (len(_FOR_EVERYBODY), 256, 512)
#: Distances in CIELAB between the colours of two classes, the first that can be had; 2.3 is just noticeable.
_APART = (30.0, 15.0, 7.0)
_STEPS = 16
_LIGHTNESS, _LEAST_CHROMA = (30, 93), 20

_Rows = NDArray[np.float64]


def colours_for(names: Collection[str], known: Mapping[str, str]) -> dict[str, str]:
    """Chooses a colour for each name of a field.

    The name itself decides: a colour word in it, so that "red car" is red, else all of its letters. So neither the order of the
    names nor a new one among them changes the others, except where two names choose similar colours: then the first gets its own.

    Args:
        names: names of classes
        known: hex colour by name, of classes that have one; no other class gets a similar colour while there are others

    Returns:
        hex colour by name, for ``names``
    """
    colours, lab = _sequence()
    chosen = dict(known)
    room, here = _room(lab, known.values()), _room(lab, [colour for name, colour in known.items() if name in names])
    for name in names:
        if name not in chosen:
            word = _colour_word(name)  # "blue cloth" may be as blue as the "blue fabric" of another field
            number = _best(_wishes(name) if word is None else _nearest(word, lab), room if word is None else here)
            chosen[name] = colours[number]
            room, here = (np.minimum(each, np.linalg.norm(lab - lab[number], axis=1)) for each in (room, here))
    return {name: chosen[name] for name in names}


def palette(n_colours: int) -> list[str]:
    """Returns colours that are easy to tell apart, for what has no name; the same number always returns the same colours.

    Args:
        n_colours: number of colours; beyond 512 they repeat

    Returns:
        hex colours such as ``"#e6194b"``
    """
    colours, _ = _sequence()
    return [colours[number % len(colours)] for number in range(n_colours)]


def _room(lab: _Rows, colours: Iterable[str]) -> NDArray[np.float64]:
    """Returns how far each colour is from the nearest of some others."""
    room = np.full(len(lab), np.inf)
    for row in _lab(_rgb(colours)):
        room = np.minimum(room, np.linalg.norm(lab - row, axis=1))
    return room


def _best(wishes: NDArray[np.int64], room: NDArray[np.float64]) -> int:
    """Returns the first wish that is far from all colours in use; where none is, the first that is less far."""
    far = [room[wishes] >= apart for apart in (*_APART, 0.0)]
    return int(wishes[next(int(enough.argmax()) for enough in far if enough.any())])


def _colour_word(name: str) -> str | None:
    return next((word for word in re.findall(r"[a-z]+", name.lower()) if word in colormap), None)


def _nearest(word: str, lab: _Rows) -> NDArray[np.int64]:
    """Returns the numbers of all colours, the one that is most like a colour word first."""
    return np.argsort(np.linalg.norm(lab - _lab(np.array([getrgb(word)]) / 255), axis=1), kind="stable")


def _wishes(name: str) -> NDArray[np.int64]:
    """Returns the numbers of all colours, the one that the letters of a name choose first."""
    start, step = np.frombuffer(hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "<u4").tolist()
    circles = []
    for first, end in pairwise((0, *_CIRCLES)):
        size = end - first
        stride = next(n for n in range(1 + step % size, 2 * size + 1) if gcd(n, size) == 1)  # so that it reaches every colour
        circles.append(first + (start + stride * np.arange(size)) % size)
    return np.concatenate(circles)


@cache
def _sequence() -> tuple[list[str], _Rows]:
    """Returns all colours as hex and in CIELAB: each after the first few is as far as possible from all before it."""
    cube = np.stack(np.meshgrid(*[np.linspace(0, 1, _STEPS)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    lab = _lab(cube)
    clear = (lab[:, 0] > _LIGHTNESS[0]) & (lab[:, 0] < _LIGHTNESS[1]) & (np.hypot(lab[:, 1], lab[:, 2]) > _LEAST_CHROMA)
    cube, lab, first = cube[clear], lab[clear], _rgb(_FOR_EVERYBODY)
    distance = np.linalg.norm(lab[:, None] - _lab(first), axis=-1).min(axis=1)
    order = []
    for _ in range(_CIRCLES[-1] - len(first)):
        order.append(int(distance.round(3).argmax()))  # rounded, so that all machines choose the same
        distance = np.minimum(distance, np.linalg.norm(lab - lab[order[-1]], axis=1))
    rgb = np.vstack([first, cube[order]])
    return ["#" + "".join(f"{round(255 * part):02x}" for part in colour) for colour in rgb], _lab(rgb)


def _rgb(colours: Iterable[str]) -> _Rows:
    """Returns hex colours as numbers in [0, 1], ``(n, 3)``."""
    return np.array([[int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)] for colour in colours]).reshape(-1, 3)


def _lab(rgb: _Rows) -> _Rows:
    """Converts sRGB to CIELAB (white D65), where distances are about as large as they look."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])
    relative = linear @ to_xyz.T / (0.95047, 1.0, 1.08883)
    x, y, z = np.moveaxis(np.where(relative > 216 / 24389, np.cbrt(relative), (24389 / 27 * relative + 16) / 116), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)
