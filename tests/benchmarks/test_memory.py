from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.memory import peak_mib, reset_peak, resident_mib

MIB = 2**20


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the books of memory are Linux'")
def test_the_peak_remembers_what_was_freed_until_it_is_reset() -> None:
    before = resident_mib()
    held = np.ones(256 * MIB, np.uint8)
    assert 250 < resident_mib() - before < 300
    del held
    assert resident_mib() - before < 50
    assert peak_mib() - before > 250
    reset_peak()
    assert peak_mib() - before < 50
