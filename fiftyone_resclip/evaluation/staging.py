"""Fields that are filled out of sight and then appear, or replace others, by one change of the dataset's document.

FiftyOne refuses to load samples with values that no field declares. Values that are not shown yet therefore belong to a hidden
field, whose name starts with an underscore. The values of a new field are already where they will stay, so that showing them only
renames the field. Values that replace others are copied by one command, which the database finishes even if we are killed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any, NamedTuple

import fiftyone as fo
import fiftyone.core.odm as foo
from bson import ObjectId
from pymongo import UpdateOne

from fiftyone_resclip.fields.exclusive import exclusive
from fiftyone_resclip.fields.private import change_document, database, refresh, stored

_HIDDEN = "_resclip_"
_RUN = "resclip_run"  # key in a hidden field's info: the run whose values wait there to be copied
_WRITTEN_AT_ONCE = 1000

Document = dict[str, Any]


class Level(NamedTuple):
    """Where fields are: on samples or on frames.

    Attributes:
        schema: key of the list of fields in a dataset's document
        collection: key of the name of the database's collection
        prefix: what the names of such fields start with in FiftyOne
    """

    schema: str
    collection: str
    prefix: str


SAMPLES = Level("sample_fields", "sample_collection_name", "")
FRAMES = Level("frame_fields", "frame_collection_name", "frames.")

#: Field class by name, for each level.
Fields = Mapping[Level, Mapping[str, type[fo.Field]]]
#: Where the values of a field are in the document of a sample, by name, for each level.
Places = Mapping[Level, Mapping[str, str]]
#: For each level, pairs of a database query and values by name.
Values = Mapping[Level, Iterable[tuple[Document, Mapping[str, Any]]]]


@contextmanager
def changing(dataset: fo.Dataset, afterwards: Callable[[], object] | None = None) -> Iterator[tuple[Document, Document]]:
    """Changes a dataset's document in one step.

    Args:
        dataset: a FiftyOne dataset
        afterwards (None): is called immediately after the change

    Yields:
        the stored document, and a MongoDB update to fill in, which begins with an empty ``$set``

    Raises:
        DatasetError: as :func:`~fiftyone_resclip.fields.exclusive.exclusive`
    """
    with exclusive(dataset):
        update: Document = {"$set": {}}
        yield stored(dataset), update
        update["$set"]["last_modified_at"] = datetime.now(timezone.utc)
        change_document(dataset, update)
        if afterwards is not None:
            afterwards()
    refresh(dataset)


def declared(document: Document, fields: Fields) -> dict[Level, set[str]]:
    """Returns the names of those fields that a dataset's document shows."""
    return {level: set(classes) & {field["name"] for field in document[level.schema]} for level, classes in fields.items()}


def stage(dataset: fo.Dataset, fields: Fields, run: ObjectId) -> Places:
    """Declares hidden fields.

    Args:
        dataset: a FiftyOne dataset
        fields: the names under which the fields will be shown
        run: the run they belong to

    Returns:
        where to write the values: under the field's name, or elsewhere if a shown field has that name
    """
    with changing(dataset) as (document, update):
        shown = declared(document, fields)
        places = {
            level: {name: _hidden(name) if name in shown[level] else name for name in classes}
            for level, classes in fields.items()
        }
        for level, classes in fields.items():
            hidden = (_described(_hidden(name), field_cls, places[level][name], run) for name, field_cls in classes.items())
            update["$set"][level.schema] = [*document[level.schema], *hidden]
    return places


def write(dataset: fo.Dataset, places: Places, values: Values) -> None:
    """Writes values of staged fields.

    Args:
        dataset: a FiftyOne dataset
        places: from :func:`stage`
        values: a value for each staged field, ``None`` included
    """
    now = datetime.now(timezone.utc)
    for level, of_level in places.items():
        collection, updates = _collection(dataset, level), []
        for query, figures in values[level]:
            new = {of_level[name]: value for name, value in figures.items()}
            updates.append(UpdateOne(query, {"$set": {**new, "last_modified_at": now}}))
            if len(updates) == _WRITTEN_AT_ONCE:
                collection.bulk_write(updates, ordered=False)
                updates.clear()
        if updates:
            collection.bulk_write(updates, ordered=False)


def shown(document: Document, fields: Fields, places: Places, replaced: Fields, run: ObjectId | None = None) -> Document:
    """Computes the schema that shows staged fields and hides others.

    Args:
        document: a dataset's document
        fields: the fields to show
        places: where their values are
        replaced: the fields to hide, unless they are shown again
        run (None): the run the values belong to

    Returns:
        new values by key of the dataset's document
    """
    schemas = {}
    for level, classes in fields.items():
        schema = {field["name"]: field for field in document[level.schema]}
        for name in schema.keys() & replaced.get(level, {}).keys() - classes.keys():
            schema[_hidden(name)] = {**schema.pop(name), "name": _hidden(name), "info": None}
        for name, field_cls in classes.items():
            schema.pop(_hidden(name), None)
            schema.setdefault(name, _described(name, field_cls, name))
            if places[level][name] != name:
                schema[_hidden(name)] = _described(_hidden(name), field_cls, places[level][name], run)
        schemas[level.schema] = list(schema.values())
    return schemas


def copy(dataset: fo.Dataset, fields: Fields, run: ObjectId | None) -> bool:
    """Copies values that wait in hidden fields to the fields that show them.

    Args:
        dataset: a FiftyOne dataset
        fields: the names under which fields are shown
        run: the run that is shown; values of others are not copied

    Returns:
        whether there were any
    """
    waiting = _waiting(stored(dataset), fields, run)
    for level, names in waiting.items():
        if names:
            values = {name: {"$ifNull": [f"${_hidden(name)}", None]} for name in names}
            _collection(dataset, level).update_many({}, [{"$set": values}])
    return any(waiting.values())


def settle(dataset: fo.Dataset, fields: Fields, run: ObjectId | None) -> None:
    """Copies values that wait, and removes hidden fields with their values.

    It may be repeated, and may follow any of the other steps.

    Args:
        dataset: a FiftyOne dataset
        fields: the names under which fields are shown; other fields are left alone
        run: the run that is shown
    """
    if stored(dataset) is None:
        return
    if copy(dataset, fields, run):
        with changing(dataset) as (document, update):  # from now on they must not be copied again
            for level, names in _waiting(document, fields, run).items():
                hidden = {_hidden(name) for name in names}
                unmarked = [{**field, "info": None} if field["name"] in hidden else field for field in document[level.schema]]
                update["$set"][level.schema] = unmarked
    _remove_hidden(dataset, fields)


def is_waiting(document: Document, run: ObjectId) -> bool:
    """Returns whether values of a run wait to be copied, or are just being copied."""
    return any(_run_of(field) == str(run) for level in (SAMPLES, FRAMES) for field in document[level.schema])


def _waiting(document: Document, fields: Fields, run: ObjectId | None) -> dict[Level, list[str]]:
    """Returns the names of the fields whose values wait."""
    waiting = {}
    for level, classes in fields.items():
        marked = {
            field["name"] for field in document[level.schema] if _run_of(field) == str(run) and field["db_field"] == field["name"]
        }
        waiting[level] = [name for name in classes if _hidden(name) in marked]
    return waiting


def _run_of(field: Document) -> str | None:
    return (field.get("info") or {}).get(_RUN)


def _remove_hidden(dataset: fo.Dataset, fields: Fields) -> None:
    """Removes hidden fields; the values first, because FiftyOne can't load a sample with values that no field declares."""
    before = stored(dataset)
    hidden = {level.schema: {_hidden(name) for name in classes} for level, classes in fields.items()}
    for level in fields:
        places = {field["name"]: field.get("db_field") for field in before[level.schema]}
        unused = {places[name] for name in hidden[level.schema] & places.keys()}
        unused -= {place for name, place in places.items() if name not in hidden[level.schema]}
        if unused:
            change = {"$unset": dict.fromkeys(unused, ""), "$set": {"last_modified_at": datetime.now(timezone.utc)}}
            _collection(dataset, level).update_many({"$or": [{place: {"$exists": True}} for place in unused]}, change)
    if any(names & {field["name"] for field in before[schema]} for schema, names in hidden.items()):
        with changing(dataset) as (document, update):
            for schema, names in hidden.items():
                update["$set"][schema] = [field for field in document[schema] if field["name"] not in names]


def _hidden(name: str) -> str:
    return _HIDDEN + name


def _described(name: str, field_cls: type[fo.Field], place: str, run: ObjectId | None = None) -> Document:
    field = foo.create_field(name, field_cls, info={_RUN: str(run)} if run else None)
    field.db_field = place
    field._set_created_at(datetime.now(timezone.utc))
    described: Document = foo.SampleFieldDocument.from_field(field).to_mongo().to_dict()
    return described


def _collection(dataset: fo.Dataset, level: Level) -> Any:
    return database()[stored(dataset)[level.collection]]
