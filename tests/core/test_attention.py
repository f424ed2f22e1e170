from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fiftyone_resclip.config import RCS, SFR, STRATEGIES
from fiftyone_resclip.core.attention import attend, attention_map, blend, locality_bias, patch_offsets

CPU = torch.device("cpu")


def qk(seed: int = 0, tokens: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 3, tokens, 8, generator=generator), torch.randn(2, 3, tokens, 8, generator=generator)


@pytest.mark.parametrize("name", STRATEGIES)
@given(seed=st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_rows_sum_to_the_number_of_pairs_and_with_rcs_to_its_gain(name: str, seed: int) -> None:
    q, k = qk(seed)
    strategy = STRATEGIES[name]
    plain = attention_map(q, k, strategy)
    torch.testing.assert_close(plain.sum(-1), torch.full((2, 3, 7), float(len(strategy.pairs))))
    if len(strategy.pairs) == 1:
        mixed = attention_map(q, k, strategy, rcs=(RCS(2.0, 0.3), plain.flip(1)))
        torch.testing.assert_close(mixed.sum(-1), torch.full((2, 3, 7), 2.0))


def test_vanilla_is_torchs_own_attention() -> None:
    q, k = qk()
    v = torch.eye(7).expand(2, 3, 7, 7)
    torch.testing.assert_close(
        attention_map(q, k, STRATEGIES["vanilla"]), torch.nn.functional.scaled_dot_product_attention(q, k, v)
    )


def in_the_papers_words(
    q: torch.Tensor, k: torch.Tensor, bias: torch.Tensor, rcs: tuple[RCS, torch.Tensor], sfr: tuple[SFR, torch.Tensor]
) -> torch.Tensor:
    scores = k @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
    scores = sfr[0].gain * ((1 - sfr[0].mix) * scores + sfr[0].mix * sfr[1][:, None])
    attn = (scores + bias).softmax(-1)
    return rcs[0].gain * ((1 - rcs[0].mix) * attn + rcs[0].mix * rcs[1])


@given(seed=st.integers(0, 1000), gain=st.floats(0.5, 3), mix=st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_values_are_gathered_as_in_the_paper(seed: int, gain: float, mix: float) -> None:
    q, k = qk(seed)
    v = torch.randn(2, 3, 7, 8)
    bias, rcs, sfr = torch.rand(7, 7), (RCS(2.0, 0.3), torch.rand(2, 3, 7, 7)), (SFR(gain, mix), torch.rand(2, 7, 7))
    ours = attend(q, k, v, STRATEGIES["naclip"], bias=bias, rcs=rcs, sfr=sfr)
    torch.testing.assert_close(ours, in_the_papers_words(q, k, bias, rcs, sfr) @ v, atol=1e-5, rtol=1e-5)


def test_sclip_adds_two_softmaxes() -> None:
    q, k = qk()
    both = attention_map(q, k, STRATEGIES["sclip"])
    torch.testing.assert_close(both, attention_map(q, q, STRATEGIES["clearclip"]) + attention_map(k, k, STRATEGIES["naclip"]))


@pytest.mark.parametrize("name", STRATEGIES)
def test_without_mix_the_additions_change_nothing(name: str) -> None:
    q, k = qk()
    strategy, other = STRATEGIES[name], torch.rand(2, 3, 7, 7)
    off = attention_map(q, k, strategy, rcs=(RCS(gain=1, mix=0), other), sfr=(SFR(gain=1, mix=0), other[:, 0]))
    torch.testing.assert_close(off, attention_map(q, k, strategy))


def test_the_bias_comes_after_the_feedback_and_is_not_scaled() -> None:
    q, k = qk()
    bias, feedback = torch.rand(7, 7), torch.rand(2, 7, 7)
    sfr = SFR(gain=2.0, mix=1.0)
    expected = (2.0 * feedback[:, None] + bias).softmax(-1).expand(2, 3, 7, 7)
    torch.testing.assert_close(attention_map(q, k, STRATEGIES["naclip"], bias=bias, sfr=(sfr, feedback)), expected)


def test_blend_is_the_papers_formula() -> None:
    torch.testing.assert_close(blend(torch.tensor([1.0]), torch.tensor([3.0]), gain=2.0, mix=0.25), torch.tensor([3.0]))


def test_locality_bias_by_hand() -> None:
    bias = locality_bias((2, 2), 1.0, torch.float32, CPU)
    assert bias.shape == (5, 5)
    assert bias[0].abs().sum() == bias[:, 0].abs().sum() == 0
    near, far = math.exp(-0.5), math.exp(-1.0)
    torch.testing.assert_close(bias[1, 1:], torch.tensor([1.0, near, near, far]))
    torch.testing.assert_close(bias, bias.T)


def test_the_bias_depends_on_all_of_its_key() -> None:
    wide = locality_bias((2, 3), 5.0, torch.float32, CPU)
    assert not torch.equal(wide, locality_bias((2, 3), 1.0, torch.float32, CPU))
    assert not torch.equal(wide, locality_bias((3, 2), 5.0, torch.float32, CPU))
    assert locality_bias((2, 3), 5.0, torch.float64, CPU).dtype == torch.float64


def test_offsets_are_rows_then_columns() -> None:
    rows, columns = patch_offsets((2, 3), CPU)
    assert rows[3].tolist() == [1, 1, 1, 0, 0, 0]
    assert columns[1].tolist() == [1, 0, -1, 1, 0, -1]
