"""One colour for each class name: it stays, and classes can be told apart, also by people who can't see red or green."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from itertools import combinations

import pytest

from fiftyone_resclip.fields.colours import colours_for, palette

WORDS = ("road", "car", "sky", "tree", "person")
#: How deuteranopes and protanopes see linear RGB (Machado, Oliveira and Fernandes, 2009, severity 1).
DEUTERANOPIA = ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881))
PROTANOPIA = ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998))
NORMAL = ((1, 0, 0), (0, 1, 0), (0, 0, 1))


def seen(colour: str, sight: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """Returns how a colour looks, in CIELAB (written out here, apart from the code under test)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    r, g, b = (min(max(sum(w * v for w, v in zip(row, linear, strict=True)), 0), 1) for row in sight)
    xyz = (
        (0.4124564 * r + 0.3575761 * g + 0.1804375 * b) / 0.95047,
        0.2126729 * r + 0.7151522 * g + 0.0721750 * b,
        (0.0193339 * r + 0.1191920 * g + 0.9503041 * b) / 1.08883,
    )
    x, y, z = (v ** (1 / 3) if v > 216 / 24389 else (24389 / 27 * v + 16) / 116 for v in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def nearest(colours: Sequence[str], sight: Sequence[Sequence[float]]) -> float:
    """Returns the distance of the two most similar colours."""
    return min(math.dist(first, second) for first, second in combinations([seen(colour, sight) for colour in colours], 2))


@pytest.mark.parametrize("sight", [NORMAL, DEUTERANOPIA, PROTANOPIA], ids=["normal", "deuteranopia", "protanopia"])
def test_the_first_ten_can_be_told_apart_by_everybody(sight: Sequence[Sequence[float]]) -> None:
    assert nearest(palette(10), sight) > 30
    ten = colours_for([f"class {number}" for number in range(10)], {})
    assert set(ten.values()) == set(palette(10))


def test_red_and_green_would_fail_that_test() -> None:
    assert nearest(["#2ca02c", "#b86a2c"], NORMAL) > 30 > nearest(["#2ca02c", "#b86a2c"], DEUTERANOPIA)


def test_a_hundred_and_fifty_classes_differ() -> None:
    colours = [*colours_for([f"class {number}" for number in range(150)], {}).values()]
    assert nearest(colours, NORMAL) > 10
    assert len(set(palette(512))) == 512 and len(palette(600)) == 600


def test_known_colours_stay_and_are_taken() -> None:
    known = {"sky": "#2d78ff", "grass": "#d23c0f", "snow": "#000000"}
    colours = colours_for(WORDS, known)
    assert colours["sky"] == "#2d78ff" and list(colours) == list(WORDS)
    assert not {"#2d78ff", "#d23c0f"} & {colours[name] for name in WORDS if name != "sky"}
    near = {"sea": "#2d78fe"}  # not one of ours, but almost
    assert "#2d78ff" not in colours_for([f"class {number}" for number in range(150)], near).values()


def test_neither_order_nor_a_new_word_changes_what_is_known() -> None:
    first = colours_for(WORDS, {})
    shuffled = random.Random(0).sample(WORDS, len(WORDS))
    longer = [*shuffled[:2], "bicycle", *shuffled[2:]]
    later = colours_for(longer, first)
    assert {name: later[name] for name in WORDS} == first
    assert later["bicycle"] not in first.values()


def test_a_word_that_is_added_last_changes_nothing() -> None:
    for end in range(1, len(WORDS)):
        shorter, longer = colours_for(WORDS[:end], {}), colours_for(WORDS[: end + 1], {})
        assert {name: longer[name] for name in shorter} == shorter


def test_a_colour_word_in_a_name_decides() -> None:
    colours = colours_for(["blue cloth", "class 1", "red cloth", "Green cloth"], {})
    seen_as = {name: [int(colour[at : at + 2], 16) for at in (1, 3, 5)] for name, colour in colours.items()}
    strongest = {name: max(range(3), key=parts.__getitem__) for name, parts in seen_as.items()}
    assert (strongest["red cloth"], strongest["Green cloth"], strongest["blue cloth"]) == (0, 1, 2)
    assert nearest([*colours_for(["red cloth", "red car", "crimson", *WORDS], {}).values()], NORMAL) > 30


def test_two_fields_may_have_the_same_blue() -> None:
    known = colours_for(["blue fabric", "road"], {})
    later = colours_for(["blue cloth", "sky"], known)
    assert later["blue cloth"] == known["blue fabric"] and later["sky"] not in known.values()
    assert colours_for(["blue cloth", "blue fabric"], known)["blue cloth"] != known["blue fabric"]


def test_more_classes_than_colours_get_some_colour() -> None:
    colours = colours_for([f"class {number}" for number in range(700)], {})
    assert len(colours) == 700 and len(set(colours.values())) == 512


def test_names_of_any_kind_have_colours() -> None:
    names = ["", "\ud800", "a.b", "$x", "名前"]
    assert len(set(colours_for(names, {}).values())) == len(names)
