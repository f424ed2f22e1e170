from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from fiftyone_resclip.core.kernels import onednn as module
from fiftyone_resclip.core.kernels.onednn import linear


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("gelu", [False, True])
@pytest.mark.parametrize("with_bias", [False, True])
def test_both_kernels_give_torchs_linear(fused: bool, gelu: bool, with_bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not fused:
        monkeypatch.setattr(module, "_fused_kernel_works", lambda: False)
    tokens, weight = torch.randn(2, 5, 12), torch.randn(12, 7).T  # a transposed weight, as CLIP's projection
    bias = torch.randn(7) if with_bias else None
    expected = functional.linear(tokens, weight, bias)
    with torch.inference_mode():
        ours = linear(tokens, weight, bias, gelu=gelu)
    torch.testing.assert_close(ours, functional.gelu(expected) if gelu else expected, atol=1e-5, rtol=1e-5)


def test_a_kernel_that_is_missing_or_wrong_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_fused", lambda tokens, *rest: tokens[:, :4])
    assert not module._fused_kernel_works.__wrapped__()
    monkeypatch.setattr(module, "_fused", lambda *rest: torch.ops.mkldnn.no_such_kernel())
    assert not module._fused_kernel_works.__wrapped__()


def test_half_precision_and_autocast_go_by_torchs_own_kernel() -> None:
    half = linear(torch.randn(3, 4, dtype=torch.bfloat16), torch.randn(5, 4, dtype=torch.bfloat16), None)
    assert half.dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(torch.randn(3, 4), torch.randn(5, 4), None).dtype == torch.bfloat16
