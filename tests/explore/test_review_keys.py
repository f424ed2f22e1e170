from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import fiftyone as fo
import numpy as np
import pytest

from fiftyone_resclip.errors import ConfigError
from fiftyone_resclip.explore import review
from fiftyone_resclip.explore.review_keys import UNDO, Key, take
from fiftyone_resclip.fields import schema


@pytest.fixture
def dataset(make_dataset: Callable[..., fo.Dataset]) -> fo.Dataset:
    dataset = make_dataset(4)
    schema.declare_field(dataset, "pred", {1: "cloth"})
    dataset.set_values("pred", [fo.Segmentation(mask=np.eye(8, dtype=np.uint8)) for _ in range(4)])
    return dataset


def keys_of(dataset: fo.Dataset) -> list[Key]:
    """Keep, keep, undo, discard, keep, fix later: on the samples on which a reviewer would give them."""
    one, two, three, four = dataset.values("id")
    actions = [("keep", one), ("keep", two), (UNDO, None), ("discard", two), ("keep", three), ("fix later", four)]
    return [Key(number, "pred", action, [sample] if sample else []) for number, (action, sample) in enumerate(actions, start=1)]


def test_keys_are_taken_in_their_order_however_they_arrive(dataset: fo.Dataset) -> None:
    keys = keys_of(dataset)
    random.Random(0).shuffle(keys)
    assert take(dataset, "shuffled", keys) == ["verdict on 1 sample undone"]
    assert dataset.values("pred_review") == ["keep", "discard", "keep", "fix later"]


def test_keys_that_arrive_again_count_once(dataset: fo.Dataset) -> None:
    keys = keys_of(dataset)
    with ThreadPoolExecutor(4) as threads:
        batches = [keys[: number + 1] for number in range(len(keys)) for _ in range(2)]
        for batch in batches:  # each batch twice at the same time, and with all that came before
            list(threads.map(lambda given: take(dataset, "again", given), [batch, batch]))
    assert dataset.values("pred_review") == ["keep", "discard", "keep", "fix later"]
    assert review.revision(dataset, "pred") == 6  # five verdicts, and an undo


def test_another_session_has_numbers_of_its_own(dataset: fo.Dataset) -> None:
    first, second = dataset.values("id")[:2]
    take(dataset, "mine", [Key(1, "pred", "keep", [first])])
    take(dataset, "yours", [Key(1, "pred", "discard", [second])])
    assert dataset.values("pred_review")[:2] == ["keep", "discard"]


def test_keys_before_a_bad_one_are_taken_and_those_after_it_can_follow(dataset: fo.Dataset) -> None:
    first, second = dataset.values("id")[:2]
    keys = [Key(1, "pred", "keep", [first]), Key(2, "pred", "maybe", [second])]
    with pytest.raises(ConfigError, match="verdict 'maybe' is unknown"):
        take(dataset, "bad", keys)
    assert dataset.values("pred_review")[:2] == ["keep", None]
    take(dataset, "bad", [keys[0], Key(2, "pred", "keep", [second])])
    assert dataset.values("pred_review")[:2] == ["keep", "keep"]
    assert take(dataset, "bad", [Key(number, "pred", UNDO) for number in (3, 4, 5)])[-1] is None
