from __future__ import annotations

import torch

from fiftyone_resclip.core.text import cosines, ensemble


def test_each_embedding_counts_by_direction_not_by_length() -> None:
    short, long = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 100.0])
    torch.testing.assert_close(ensemble(torch.stack([short, long])[None]), torch.full((1, 2), 0.5**0.5))


def test_cosines_leave_out_the_class_token_and_keep_the_grid() -> None:
    tokens = torch.zeros(1, 7, 2)
    tokens[0, 1:, 0] = torch.arange(1.0, 7.0)  # any length
    tokens[0, 6] = torch.tensor([0.0, 5.0])
    scores = cosines(tokens, torch.eye(2), (2, 3))
    assert scores.shape == (1, 2, 2, 3)
    assert scores[0, 0].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert scores[0, 1, 1, 2] == 1
