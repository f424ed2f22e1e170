from __future__ import annotations

import threading
import time

import pytest

from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.fields import leases
from fiftyone_resclip.fields.leases import held
from fiftyone_resclip.fields.private import database


def test_one_at_a_time() -> None:
    seen: list[str] = []

    def work() -> None:
        for _ in range(5):
            with held("a", "a"):
                seen.append("in")
                time.sleep(0.005)
                seen.append("out")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == ["in", "out"] * 20
    with held("a", "a"), held("b", "b"):
        pass  # each name has its own


def test_a_holder_keeps_its_lease_for_as_long_as_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "_LEASE_MS", 300)
    monkeypatch.setattr(leases, "_WAIT_S", 1.5)
    with held("long", "long work") as check:
        with pytest.raises(DatasetError, match="another process has been changing long work for 2 s; try again later"):
            held("long", "long work").__enter__()
        check()


def test_a_holder_that_lost_its_lease_is_told() -> None:
    with held("lost", "dataset 'x'") as check:
        database()["fiftyone_resclip.leases"].update_one({"_id": "lost"}, [{"$set": {"until": {"$subtract": ["$$NOW", 1]}}}])
        with held("lost", "dataset 'x'") as other:
            other()
            with pytest.raises(DatasetError, match="this process paused for so long that another one has changed dataset 'x'"):
                check()
    assert database()["fiftyone_resclip.leases"].find_one({"_id": "lost"}) is None
