"""Measures the time and memory of each tuned form against the formula or library call that it replaces.

``python -m benchmarks.kernels FILE`` writes the results as JSON and prints them as a table. Both sides get the same input and run
in turn, on one thread of a CPU; weights are random. Each measurement has a process of its own, with the allocator told what to do
with freed memory: left to itself it decides by what ran before, and large tensors then take up to four times as long.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from tabulate import tabulate

from benchmarks.cases import ARCHITECTURE
from benchmarks.comparisons import COMPARISONS, Setting
from benchmarks.memory import peak_mib, reset_peak, resident_mib
from benchmarks.timing import seconds
from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.published.provenance import provenance

#: Both sides are run in turn until the plain one has taken about this long, within these limits on the number of runs.
_SECONDS, _LEAST, _MOST = 10.0, 5, 50

#: Settings of glibc. Times are measured with freed memory kept, which helps the plain side most; peaks are measured with
#: freed memory returned at once, so that memory freed earlier does not hide what is used.
_KEEP_FREED = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**30)}
_RETURN_FREED = {"MALLOC_MMAP_THRESHOLD_": str(2**17)}


@torch.inference_mode()
def measure(name: str, setting: Setting) -> dict[str, Any]:
    """Times both sides of a comparison.

    Args:
        name: a key of :data:`benchmarks.comparisons.COMPARISONS`
        setting: sizes and weights

    Returns:
        plain JSON values; ``ratio`` is the median of the tuned form's time over the plain form's
    """
    comparison = COMPARISONS[name]
    tuned, plain, sizes = comparison.sides(setting)
    tuned()
    rounds = min(max(round(_SECONDS / seconds(plain)), _LEAST), _MOST)
    pairs = [(seconds(plain), seconds(tuned)) for _ in range(rounds)]
    return {
        "name": name,
        "sizes": sizes,
        "tuned": comparison.tuned,
        "compared_with": comparison.plain,
        "ratio": round(median(own / other for other, own in pairs), 3),
        "rounds": rounds,
    }


@torch.inference_mode()
def peak_memory(name: str, side: str, setting: Setting) -> float:
    """Measures in this process, which must be fresh, how far memory rises above the input of a first run.

    Args:
        name: a key of :data:`benchmarks.comparisons.COMPARISONS`
        side: ``tuned`` or ``plain``
        setting: sizes and weights

    Returns:
        MiB
    """
    work = getattr(COMPARISONS[name].sides(setting), side)
    # libraries load on first use; their memory is not the form's
    setting.backbone.trunk(torch.zeros(1, 3, setting.backbone.patch_px, setting.backbone.patch_px))
    before = resident_mib()
    reset_peak()
    work()
    return peak_mib() - before


def in_fresh_processes(name: str) -> dict[str, Any]:
    """Makes all measurements of a comparison: those of :func:`measure`, and the memory of both sides."""
    figures = _in_fresh_process(name, "time", _KEEP_FREED)
    tuned, plain = (round(_in_fresh_process(name, side, _RETURN_FREED), 1) for side in ("tuned", "plain"))
    return {**figures, "peak_memory_mib": tuned, "plain_peak_memory_mib": plain}


def _in_fresh_process(name: str, what: str, allocator: Mapping[str, str]) -> Any:
    command = [sys.executable, "-m", "benchmarks.kernels", "--measure", name, what]
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **allocator})
    return json.loads(run.stdout)


def _measured(name: str, what: str) -> Any:
    """Runs in each fresh process of :func:`in_fresh_processes`."""
    setting = Setting(Backbone.random(ARCHITECTURE, 0))
    return measure(name, setting) if what == "time" else peak_memory(name, what, setting)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Turns the results into a Markdown table.

    Args:
        rows: from :func:`in_fresh_processes`

    Returns:
        its lines
    """
    headers = ["step", "on", "compared with", "time / its time", "rounds", "memory", "its memory"]
    return str(tabulate([_cells(row) for row in rows], headers, tablefmt="github", disable_numparse=True))


def _cells(row: Mapping[str, Any]) -> list[str]:
    memory = [f"{row[key]:.0f} MiB" for key in ("peak_memory_mib", "plain_peak_memory_mib")]
    return [row["name"], row["sizes"], row["compared_with"], f"{row['ratio']:.2f}", str(row["rounds"]), *memory]


def main() -> None:
    """Measures and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", help="where the JSON goes")
    parser.add_argument("--only", choices=COMPARISONS, action="append", help="only this one; may be repeated")
    parser.add_argument("--measure", nargs=2, metavar=("NAME", "WHAT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.measure:
        print(json.dumps(_measured(*options.measure)))
        return
    origin, cases = provenance(), []
    for name in options.only or COMPARISONS:
        cases.append(in_fresh_processes(name))
        print(table(cases).splitlines()[-1], flush=True)
    print(table(cases))
    if options.file:
        content = {"architecture": ARCHITECTURE, **origin, "cases": cases}
        options.file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
