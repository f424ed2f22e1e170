from __future__ import annotations

from collections.abc import Callable
from unittest.mock import patch

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from fiftyone_resclip.core import kernels
from fiftyone_resclip.core.kernels import onednn


def missing(*arguments: object, **keywords: object) -> Tensor:
    return torch.ops.mkldnn.no_such_kernel()


def wrong(tokens: Tensor, *arguments: object, **keywords: object) -> Tensor:
    return tokens[:, :4]


@pytest.mark.parametrize("kernel", [missing, wrong])
def test_a_kernel_that_is_missing_or_wrong_is_left_alone(kernel: Callable[..., Tensor]) -> None:
    tokens, weight = torch.randn(3, 8), torch.randn(4, 8)
    onednn.works.cache_clear()
    try:
        with patch.object(onednn, "linear", kernel):
            assert not onednn.works()
            torch.testing.assert_close(kernels.linear(tokens, weight, None), functional.linear(tokens, weight))
    finally:
        onednn.works.cache_clear()


def test_half_precision_and_autocast_use_torchs_own_kernel() -> None:
    half = kernels.linear(torch.randn(3, 4, dtype=torch.bfloat16), torch.randn(5, 4, dtype=torch.bfloat16), None)
    assert half.dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        assert kernels.linear(torch.randn(3, 4), torch.randn(5, 4), None).dtype == torch.bfloat16
