from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
import torch

from fiftyone_resclip.core.kernels import gathered_pamr

pytest.importorskip("triton", reason="Triton comes with torch's builds for GPUs")

#: The kernel in Triton's own interpreter, which needs no GPU, against the formula. It is chosen when Triton is imported.
INTERPRET = """
import torch
from fiftyone_resclip.core import pamr
from fiftyone_resclip.core.kernels import gathered_pamr, triton_pamr

assert gathered_pamr.triton_works(torch.device("cpu"))
for batch, channels, height, width, dilations in ((1, 1, 5, 3, (1,)), (2, 40, 12, 15, (1, 4)), (1, 32, 9, 40, (8, 16))):
    generator = torch.Generator().manual_seed(0)
    scores, image = (torch.rand(batch, n, height, width, generator=generator) for n in (channels, 3))
    refinement = gathered_pamr.Refinement(image, 3, dilations, triton_pamr.by_kernel((height, width), dilations))
    torch.testing.assert_close(refinement(scores), pamr.refine(scores, image, steps=3, dilations=dilations), atol=1e-6, rtol=1e-6)
print("agrees")
"""

#: Triton brings the compiler for NVIDIA's GPUs, so the whole way down to machine code needs no GPU either.
COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from fiftyone_resclip.core.kernels import triton_pamr

tensors = dict(pixels="*fp32", weights="*fp32", offsets="*i32", result="*fp32", height="i32", width="i32", channels="i32")
constants = dict(neighbours=16, block_pixels=64, block_channels=32)
source = ASTSource(triton_pamr._gather, tensors | dict.fromkeys(constants, "constexpr"), constants)
print(len(triton.compile(source, target=GPUTarget("cuda", 80, 32)).asm["cubin"]) > 1000)
"""


def test_the_kernel_compiles_for_a_gpu(tmp_path: Path) -> None:
    environment = os.environ | {"TRITON_CACHE_DIR": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True)
    assert run.stdout.strip() == "True", run.stderr


def test_the_kernel_of_gpus_agrees_with_the_formula() -> None:
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    run = subprocess.run([sys.executable, "-c", INTERPRET], env=environment, capture_output=True, text=True)
    assert run.stdout.strip() == "agrees", run.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="here the kernel can run")
def test_where_the_kernel_cant_run_pamr_says_so_and_does_without(caplog: pytest.LogCaptureFixture) -> None:
    gathered_pamr.triton_works.cache_clear()
    assert not gathered_pamr.triton_works(torch.device("cuda"))
    assert "PAMR runs without its GPU kernel" in caplog.text


def test_a_gpu_that_was_full_once_keeps_its_kernel() -> None:
    gathered_pamr.triton_works.cache_clear()
    with patch.object(gathered_pamr, "_triton_agrees", side_effect=[torch.cuda.OutOfMemoryError("full"), True]):
        with pytest.raises(torch.cuda.OutOfMemoryError):
            gathered_pamr.triton_works(torch.device("cuda"))
        assert gathered_pamr.triton_works(torch.device("cuda"))
    gathered_pamr.triton_works.cache_clear()
