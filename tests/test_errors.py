from __future__ import annotations

import pytest

from fiftyone_resclip import errors


def test_every_error_is_in_the_tree_and_in_its_drawing() -> None:
    own = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, Exception)]
    assert len(own) >= 9
    for error in own:
        assert issubclass(error, errors.ResCLIPError)
        assert error.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize(("name", "near"), [("voc12", "voc21"), ("cityscape", "cityscapes"), ("zzz", None)])
def test_an_unknown_name_comes_with_the_nearest_known_one(name: str, near: str | None) -> None:
    message = errors.unknown("preset", name, ["voc21", "cityscapes"])
    assert message.startswith(f"preset {name!r} is unknown")
    assert ("did you mean" in message) == (near is not None)
    assert near is None or f"did you mean {near!r}?" in message
    assert "Known: cityscapes, voc21" in message


def test_of_many_known_names_only_near_ones_are_listed() -> None:
    known = ["voc21", "voc20", *(f"other {number}" for number in range(100))]
    assert errors.unknown("preset", "voc12", known).endswith("did you mean 'voc21'? Known: voc21, voc20 and 100 more")
