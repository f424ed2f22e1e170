"""Chooses words for the rest of the picture, so that pixels of no class have something to be."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.clip.text_cache import text_features
from fiftyone_resclip.vocabulary import Vocabulary

#: The value of ``background`` that chooses words for it.
AUTO = "auto"

#: A word whose text is this similar to that of a class is left out, because it would take pixels from the class.
TOO_SIMILAR = 0.9
#: How many words are chosen.
MOST_WORDS = 64


@cache
def lexicon() -> tuple[str, ...]:
    """Returns the words to choose from; ``background_lexicon.json`` names the source of each."""
    content = json.loads((Path(__file__).parent / "background_lexicon.json").read_text(encoding="utf-8"))
    return tuple(content["words"])


def with_chosen_background(backbone: Backbone, vocabulary: Vocabulary) -> Vocabulary:
    """Adds a background class with words that cover what else there may be.

    This helps where the classes name some things in the picture; where they cover all of it, it takes pixels from them.

    Args:
        backbone: the CLIP, whose text features decide
        vocabulary: the classes

    Returns:
        the vocabulary with the class ``"background"`` last

    Raises:
        VocabularyError: if a class has that name already
    """
    words, classes = text_features(backbone, lexicon()), text_features(backbone, vocabulary.flat_phrases)
    far = torch.nonzero((words @ classes.T).amax(dim=1) < TOO_SIMILAR).flatten()
    chosen = spread(words[far] @ words[far].T, MOST_WORDS)
    return vocabulary.with_background([lexicon()[int(far[number])] for number in chosen])


def spread(similarity: Tensor, most: int) -> list[int]:
    """Chooses members that together are near to all others, by greedy facility location.

    Args:
        similarity: ``(n, n)``
        most: how many to choose, at most

    Returns:
        their indices, the most useful first; a tie goes to the smaller index
    """
    covered, chosen = similarity.new_full((len(similarity),), -1.0), list[int]()
    for _ in range(min(most, len(similarity))):
        gains = (similarity - covered[:, None]).clamp(min=0).sum(dim=0)
        gains[chosen] = -1
        chosen.append(int(gains.argmax()))
        covered = torch.maximum(covered, similarity[:, chosen[-1]])
    return chosen
