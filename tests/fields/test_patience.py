from __future__ import annotations

import pytest
from pymongo import MongoClient
from pymongo.errors import AutoReconnect

from fiftyone_resclip.errors import DatabaseError, DatasetError
from fiftyone_resclip.fields.patience import patiently


def test_an_action_is_repeated_until_the_database_answers() -> None:
    answers = [AutoReconnect("gone"), AutoReconnect("still gone"), None]

    def action() -> str:
        error = answers.pop(0)
        if error:
            raise error
        return "done"

    assert patiently(action, wait_s=60) == "done"


def test_a_database_that_stays_away_ends_in_one_sentence() -> None:
    with MongoClient("mongodb://127.0.0.1:9", serverSelectionTimeoutMS=200) as client, pytest.raises(DatabaseError) as caught:
        patiently(lambda: client.fiftyone.datasets.find_one(), wait_s=0.1)
    assert str(caught.value) == "FiftyOne's database has not answered for 0 s; start it again, and then repeat the call to go on"


def test_other_errors_are_not_waited_for() -> None:
    def action() -> None:
        raise DatasetError("no such field")

    with pytest.raises(DatasetError, match="no such field"):
        patiently(action)
