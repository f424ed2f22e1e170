"""Stores the steps of a review in FiftyOne's database, so that any process can finish or undo them, even after a kill.

A step is written before it changes anything. It is a small document; the samples that it concerns are in its parts, because there
may be millions and a document holds 16 MB.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from bson import ObjectId
from pymongo import ASCENDING, ReturnDocument
from pymongo.errors import DuplicateKeyError

from fiftyone_resclip.fields.leases import held
from fiftyone_resclip.fields.private import database, dataset_id

#: A step's ``_id``, ``kind`` and ``state``, the number of its ``parts``, and what its kind needs. It is "planned" until its parts
#: are written, then "begun", then "done", and "undoing" until it is gone.
Step = dict[str, Any]
Part = dict[str, Any]

Item = TypeVar("Item")


def batches(items: list[Item], size: int) -> Iterator[list[Item]]:
    """Yields the items in lists of at most ``size``."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def latest_field(dataset: Any) -> str | None:
    """Returns the field of a dataset that got the latest verdict; ``None`` if none has any."""
    steps = database()["fiftyone_resclip.review_steps"]
    latest = steps.find_one({"dataset": dataset_id(dataset), "kind": "verdicts"}, sort=[("_id", -1)])
    return latest["field"] if latest else None


class History:
    """The steps of the review of one field.

    Args:
        dataset: a FiftyOne dataset
        label_field: the masks under review
    """

    def __init__(self, dataset: Any, label_field: str) -> None:
        self.field = label_field
        self._review = {"dataset": dataset_id(dataset), "field": label_field}
        names = ("reviews", "review_steps", "review_parts")
        self._reviews, self._steps, self._parts = (database()[f"fiftyone_resclip.{name}"] for name in names)

    @property
    def revision(self) -> int:
        """A number that grows with every step and every undo."""
        review = self._reviews.find_one({"_id": self._review})
        return review["revision"] if review else 0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Lets one writer at a time begin or undo steps, across threads, processes and machines.

        Raises:
            DatasetError: if another writer does not finish within two minutes
        """
        self._prepare()
        name = f"review/{self._review['dataset']}/{self.field}"
        with held(name, f"the review of {self.field!r}") as check:
            self._check = check
            yield

    def stay(self) -> None:
        """Checks that this process still has the turn; called between the parts of a long step.

        Raises:
            DatasetError: if this process paused for so long that another one took the turn and finished or removed its step
        """
        self._check()

    def begin(self, kind: str, parts: Iterable[Mapping[str, Any]], **facts: Any) -> Step | None:
        """Writes down everything that a step is about to do.

        Args:
            kind: what the step does
            parts: the samples of the step in parts of less than 1 MB, computed once the step can be found by other processes
            facts: what its kind needs to know

        Returns:
            the step; ``None`` if it would do nothing
        """
        step = {**self._review, "_id": ObjectId(), "kind": kind, "state": "planned", "number": self._grown(), **facts}
        self._steps.insert_one(step)
        try:
            written = 0
            for part in parts:
                self._parts.insert_one({**self._review, "step": step["_id"], "number": written, **part})
                written += 1
                self.stay()
        except BaseException:
            self.forget(step)
            raise
        if not written and not facts.get("new"):
            self.forget(step)
            return None
        self.stay()
        self._move(step, "planned", "begun", parts=written)
        return {**step, "state": "begun", "parts": written}

    def finish(self, step: Step) -> None:
        """Marks a begun step as done."""
        self._move(step, "begun", "done")

    def claim(self) -> Step | None:
        """Starts to undo the newest step, which no other process can undo then; ``None`` if there is no step."""
        newest = self._steps.find_one_and_update(
            {**self._review, "state": {"$in": ["begun", "done"]}}, {"$set": {"state": "undoing"}}, sort=[("number", -1)]
        )
        if newest:
            self._grown()
        return newest  # type: ignore[no-any-return]

    def forget(self, step: Step) -> None:
        """Removes a step and its parts."""
        self._parts.delete_many({"step": step["_id"]})
        self._steps.delete_one({"_id": step["_id"]})

    def interrupted(self) -> list[Step]:
        """Lists the steps that are not done, oldest first."""
        unfinished = {"$in": ["planned", "begun", "undoing"]}
        return list(self._steps.find({**self._review, "state": unfinished}, sort=[("number", ASCENDING)]))

    def writers(self, to_field: str) -> list[Step]:
        """Lists the steps, of the reviews of all fields, that are making labels in a field."""
        of_dataset = {"dataset": self._review["dataset"], "state": {"$in": ["planned", "begun"]}}
        return list(self._steps.find({**of_dataset, "to_field": to_field}))

    def goes_on(self, step: Step) -> bool:
        """Whether nobody has undone a step."""
        return self._steps.find_one({"_id": step["_id"], "state": {"$in": ["begun", "done"]}}) is not None

    def parts(self, step: Step) -> Iterator[Part]:
        """Yields the parts of a step, one query each, because a cursor does not live as long as a long step."""
        for number in range(step.get("parts", 0)):
            part = self._parts.find_one({"step": step["_id"], "number": number})
            if part:
                yield part

    def note(self, part: Part, made: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Notes in a part what is about to be made; returns all that is noted there, nothing if the step was undone.

        Args:
            part: of :meth:`parts`
            made: facts by sample id; of lists, which several processes may note, all elements are kept
        """
        facts = {f"made.{key}.{name}": value for key, entry in made.items() for name, value in entry.items()}
        change = {
            "$set": {name: value for name, value in facts.items() if not isinstance(value, list)},
            "$addToSet": {name: {"$each": value} for name, value in facts.items() if isinstance(value, list)},
        }
        change = {operator: values for operator, values in change.items() if values}
        noted = self._parts.find_one_and_update({"_id": part["_id"]}, change, return_document=ReturnDocument.AFTER)
        return dict(noted["made"]) if noted else {}

    def _prepare(self) -> None:
        """Creates the review; the first time, also the indices, and removes the reviews of deleted datasets."""
        new = {"$setOnInsert": {"dataset": self._review["dataset"], "revision": 0}}
        with suppress(DuplicateKeyError):
            if self._reviews.update_one({"_id": self._review}, new, upsert=True).upserted_id is None:
                return
        self._steps.create_index([(name, ASCENDING) for name in ("dataset", "field", "state", "number")])
        self._parts.create_index([("step", ASCENDING), ("number", ASCENDING)])
        gone = set(self._reviews.distinct("dataset")) - set(database().datasets.distinct("_id"))
        for collection in (self._parts, self._steps, self._reviews):
            collection.delete_many({"dataset": {"$in": list(gone)}})

    def _grown(self) -> int:
        """Increases the revision and returns what it was."""
        return int(self._reviews.find_one_and_update({"_id": self._review}, {"$inc": {"revision": 1}})["revision"])

    def _move(self, step: Step, before: str, after: str, **facts: Any) -> bool:
        moved = self._steps.update_one({"_id": step["_id"], "state": before}, {"$set": {"state": after, **facts}})
        return bool(moved.matched_count)
