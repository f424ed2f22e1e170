from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiftyone_resclip.tiny.scenes import (
    ALL_CLOTHS,
    COLOURS,
    GROUNDS,
    NEVER_NAMED,
    Cloth,
    Naming,
    Scene,
    caption,
    class_map,
    draw_scene,
    phrases,
)


@given(st.integers(0, 10_000), st.integers(0, 4))
@settings(max_examples=40, deadline=None)
def test_a_scene_shows_what_its_truth_says(seed: int, n_cloths: int) -> None:
    scene = draw_scene(np.random.default_rng(seed), (64, 96), n_cloths)
    assert scene.image.shape == (64, 96, 3)
    assert scene.truth.shape == (64, 96)
    assert len(scene.cloths) == len(set(scene.cloths)) == n_cloths
    assert scene.truth.max() < len(scene.regions)
    for index, cloth in enumerate(scene.cloths, start=len(scene.grounds)):
        pixels = scene.image[scene.truth == index].astype(int)
        if cloth.pattern == "plain" and len(pixels) > 20:
            assert np.abs(np.median(pixels, axis=0) - COLOURS[cloth.colour]).max() < 60


def test_equal_seeds_give_equal_scenes() -> None:
    first, again = (draw_scene(np.random.default_rng(3), n_cloths=3) for _ in range(2))
    assert (first.image == again.image).all()
    assert first.regions == again.regions


@given(st.integers(0, 100_000))
@settings(max_examples=200, deadline=None)
def test_no_caption_names_a_pair_that_is_held_back(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cloths = tuple(ALL_CLOTHS[i] for i in rng.choice(len(ALL_CLOTHS), 3, replace=False))
    text = caption(rng, Scene(np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1), np.uint8), ("snow",), cloths))
    for pattern, colour in NEVER_NAMED:
        assert f"{pattern} {colour}" not in text
    assert text.count("cloth") == 3


def test_other_pairs_are_named_in_full() -> None:
    scene = Scene(np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1), np.uint8), ("snow",), (Cloth("plain", "red"),))
    texts = {caption(np.random.default_rng(seed), scene) for seed in range(80)}
    assert texts == {f"{phrase}{end}" for phrase in ("plain red cloth", "red cloth", "plain cloth") for end in ("", " on snow")}


@pytest.mark.parametrize(
    ("naming", "expected"),
    [
        ("colour", ("red cloth", "green cloth", "snow", "gravel")),
        ("pattern", ("plain cloth", "striped cloth", "snow", "gravel")),
        ("both", ("plain red cloth", "striped red cloth", "green cloth", "snow", "gravel")),
    ],
)
def test_phrases_name_everything_once_and_no_pair_that_is_held_back(naming: Naming, expected: tuple[str, ...]) -> None:
    cloths = (Cloth("plain", "red"), Cloth("striped", "red"), Cloth("striped", "green"))
    assert (
        phrases(Scene(np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1), np.uint8), ("snow", "gravel"), cloths), naming) == expected
    )


@pytest.mark.parametrize(
    ("class_names", "expected"),
    [
        (["red cloth", "snow"], [2, 255, 1, 255]),
        (["cloth"], [255, 255, 1, 1]),
        (["dotted blue cloth", "blue cloth", "gravel"], [255, 3, 255, 1]),
        (["moon"], [255] * 4),
    ],
)
def test_a_region_belongs_to_the_first_class_whose_words_fit(class_names: list[str], expected: list[int]) -> None:
    truth = np.array([[0, 1, 2, 3]], np.uint8)
    scene = Scene(np.zeros((1, 4, 3), np.uint8), truth, ("snow", "gravel"), (Cloth("plain", "red"), Cloth("dotted", "blue")))
    assert class_map(scene, class_names).tolist() == [expected]


def test_there_are_24_cloths_of_which_4_are_held_back() -> None:
    assert len(ALL_CLOTHS) == 24
    assert len(NEVER_NAMED) == 4
    assert len(GROUNDS) == 3
