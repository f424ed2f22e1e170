from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton comes with torch's builds for GPUs")

#: The kernel in Triton's own interpreter, which needs no GPU, against shifted views. It is chosen when Triton is imported.
CODE = """
import torch
from fiftyone_resclip.core import pamr, pamr_kernel

for batch, channels, height, width, dilations in ((1, 1, 5, 3, (1,)), (2, 40, 12, 15, (1, 4)), (1, 32, 9, 40, (8, 16))):
    generator = torch.Generator().manual_seed(0)
    scores, image = (torch.rand(batch, n, height, width, generator=generator) for n in (channels, 3))
    weights = pamr.affinity(image, dilations)
    expected = sum(other * weights[:, n : n + 1] for n, other in enumerate(pamr._neighbours(scores, dilations)))
    rows, shares = (values.flatten(2).transpose(1, 2).contiguous() for values in (scores, weights))
    gathered = torch.full_like(rows, torch.nan)
    pamr_kernel.gather(rows, shares, (height, width), pamr._offsets(dilations), gathered)
    torch.testing.assert_close(gathered.transpose(1, 2).view_as(scores), expected, atol=1e-6, rtol=1e-6)
print("agrees")
"""


#: Triton brings the compiler for NVIDIA's GPUs, so the whole way down to machine code needs no GPU either.
COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from fiftyone_resclip.core import pamr_kernel

tensors = dict(pixels="*fp32", weights="*fp32", offsets="*i32", result="*fp32", height="i32", width="i32", channels="i32")
constants = dict(neighbours=16, block_pixels=64, block_channels=32)
source = ASTSource(pamr_kernel._gather, tensors | dict.fromkeys(constants, "constexpr"), constants)
print(len(triton.compile(source, target=GPUTarget("cuda", 80, 32)).asm["cubin"]) > 1000)
"""


def test_the_kernel_compiles_for_a_gpu(tmp_path: Path) -> None:
    environment = os.environ | {"TRITON_CACHE_DIR": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True)
    assert run.stdout.strip() == "True", run.stderr


def test_the_kernel_of_gpus_agrees_with_shifted_views() -> None:
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    run = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True)
    assert run.stdout.strip() == "agrees", run.stderr
