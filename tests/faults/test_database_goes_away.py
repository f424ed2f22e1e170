"""Reviews and evaluations whose database is killed in the middle, and comes back or does not."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable

import pytest

from tests.faults import processes
from tests.faults.test_labelling_is_killed import own_mongod  # noqa: F401  # a fixture

Mongod = tuple[str, Callable[[], "subprocess.Popen[bytes]"]]

#: Does ``WORK``, and stops before one of its database commands until it may go on.
WORKING = """
import os, sys
from pymongo import monitoring

class Pause(monitoring.CommandListener):
    command = None
    def started(self, event):
        if Pause.command and event.command_name == Pause.command[0] and Pause.command[1] in str(event.command):
            Pause.command = None
            print("now", flush=True)
            sys.stdin.readline()
    def succeeded(self, event): pass
    def failed(self, event): pass

monitoring.register(Pause())
os.environ["FIFTYONE_DATABASE_URI"] = f"mongodb://127.0.0.1:{sys.argv[1]}/?serverSelectionTimeoutMS=2000"
import fiftyone as fo, numpy as np
from fiftyone_resclip.evaluation.evaluate import evaluate
from fiftyone_resclip.explore import review
from fiftyone_resclip.fields import leases, schema
leases._LEASE_MS = 1000
dataset = fo.Dataset("away", persistent=True)
for field in ("gt", "pred"):
    schema.declare_field(dataset, field, {1: "cloth", 2: "snow"})
masks = [np.array([[1, 2], [1, 1 + number % 2]], np.uint8) for number in range(300)]
made = [fo.Sample(f"/nowhere/{n}.png", gt=fo.Segmentation(mask=m), pred=fo.Segmentation(mask=m)) for n, m in enumerate(masks)]
dataset.add_samples(made, progress=False)
ids = dataset.values("id")
review.mark(dataset, "pred", ids, "keep")
Pause.command = sys.argv[2].split(":")
"""

MARK = 'print(review.mark(dataset, "pred", ids, "discard"), review.counts(dataset, "pred")["discard"])'
COPY = 'print(review.copy_kept(dataset, "pred", "gold"), dataset.count("gold"))'
UNDO = 'print(review.undo(dataset, "pred"), review.counts(dataset, "pred")["open"], review.undo(dataset, "pred"))'
EVALUATE = """
results = evaluate(dataset, "pred", "gt", "ev", progress=False)
print(results.miou, results.images, len(results.without_prediction), len(dataset.exists("ev_miou")), dataset.list_evaluations())
"""


@pytest.mark.parametrize(
    ("code", "moment", "expected"),
    [
        pytest.param(MARK, "update:pred_reviewed_id", "300 300", marks=pytest.mark.slow),
        (COPY, "update:gold", "300 300"),
        pytest.param(UNDO, "update:pred_review", "verdict on 300 samples undone 300 None", marks=pytest.mark.slow),
        (UNDO, "delete:review_steps", "verdict on 300 samples undone 300 None"),
        pytest.param(EVALUATE, "getMore:samples", "100.0 300 0 300 ['ev']", marks=pytest.mark.slow),
        (EVALUATE, "update:ev_miou", "100.0 300 0 300 ['ev']"),
        pytest.param(EVALUATE, "update:evaluations", "100.0 300 0 300 ['ev']", marks=pytest.mark.slow),
    ],
)
def test_what_a_database_interrupts_goes_on_when_it_is_back(
    own_mongod: Mongod,  # noqa: F811
    code: str,
    moment: str,
    expected: str,
) -> None:
    port, start = own_mongod
    mongod = start()
    environment = {**os.environ, "FIFTYONE_DATABASE_VALIDATION": "false"}
    process = processes.start_plain(WORKING + code, environment, port, moment)
    assert process.stdout and process.stdin
    assert process.stdout.readline() == "now\n"
    mongod.terminate()
    mongod.wait()
    start()
    out, err = process.communicate("go\n", timeout=120)
    assert out.strip() == expected, err[-2000:]
