from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiftyone_resclip.errors import DatasetError, VocabularyError
from fiftyone_resclip.fields.names import checked, checked_field, slug

ESCAPES = (
    "../../../esc",
    "/abs/x",
    "..",
    ".",
    "",
    " ",
    "a/b",
    "..\\..\\x",
    "\0",
    "é" * 200,
    "con\n",
    "x" * 300,
    "\udcff",
    ".hidden",
)


@pytest.mark.parametrize("name", ["voc21", "ground_truth", "naclip_rcs_1f2e3d4c", "v1.2-final"])
def test_a_plain_name_stays(name: str) -> None:
    assert slug(name) == name


@pytest.mark.parametrize("name", ESCAPES)
def test_any_name_becomes_one_short_part_of_a_path(name: str, tmp_path: Path) -> None:
    (tmp_path / slug(name)).mkdir()
    assert [path.name for path in tmp_path.iterdir()] == [slug(name)]
    assert len(slug(name)) < 100 and not slug(name).startswith(".")
    assert slug(slug(name)) != slug(name), "a name that looks like a slug must not share its folder"


@given(st.lists(st.text(alphabet="aA./-_ ", max_size=4), unique=True))
def test_different_names_never_share_a_slug(names: list[str]) -> None:
    assert len({slug(name).casefold() for name in names}) == len(names)


@pytest.mark.parametrize("name", [{"$ne": None}, ["a"], None, 3, b"a", "", " "])
def test_a_name_must_be_text(name: Any) -> None:
    assert checked("gt", "field") == "gt"
    with pytest.raises(DatasetError, match="the name of a field must be text, but got|a field needs a name, but"):
        checked(name, "field")
    with pytest.raises(VocabularyError):
        checked(name, "saved vocabulary", VocabularyError)


@pytest.mark.parametrize(
    "name", ["a.b", "x.", ".x", "_x", "$x", "a$b", "frames.x", "a\0b", "a\nb", "", " ", "\ud800", None, 3, {"$ne": 1}]
)
def test_names_that_a_field_can_not_have_are_refused(name: Any) -> None:
    with pytest.raises(DatasetError, match="name"):
        checked_field(name)


@pytest.mark.parametrize("name", ["pred", "a b", "é", "my-mask", "1", "frames"])
def test_other_names_of_fields_stay_as_they_are(name: str) -> None:
    assert checked_field(name) == name
