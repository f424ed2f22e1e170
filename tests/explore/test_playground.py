from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.errors import ImageError
from fiftyone_resclip.explore import reading_view
from fiftyone_resclip.explore.playground import Playground, Reading
from fiftyone_resclip.fields.colours import palette
from fiftyone_resclip.fields.values import resize
from fiftyone_resclip.model import make_model
from fiftyone_resclip.presets import TINY
from fiftyone_resclip.segmenter import ResCLIP
from fiftyone_resclip.tiny.scenes import draw_scene
from fiftyone_resclip.vocabulary import Vocabulary
from tests.explore.test_layers import decoded

WORDS = Vocabulary.parse("cloth: red cloth, blue cloth\nground: snow, gravel, asphalt\nyellow cloth")
COLOURS = {"cloth": "#ff0000", "ground": "#00ff00", "yellow cloth": "#0000ff"}


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("photo") / "scene.png"
    Image.fromarray(draw_scene(np.random.default_rng(5), (144, 192), 4).image).save(path)
    return str(path)


@pytest.fixture(scope="module")
def reading(tiny: Backbone, photo: str) -> Reading:
    return Playground(tiny, TINY).read(photo, WORDS)


@pytest.mark.parametrize(
    "settings", [{}, {"sfr": None, "prob_threshold": 0.8}, {"window": None, "pamr": {"steps": 2}}, {"min_area": 0.3}]
)
def test_a_reading_gives_the_labels_of_the_segmenter(tiny: Backbone, photo: str, settings: dict[str, object]) -> None:
    words = Vocabulary.parse(WORDS, background="ground")
    reading = Playground(tiny, TINY).read(photo, words, settings)
    segmenter = ResCLIP(tiny, words, TINY.varied(settings), reading.segmenter.text_features)
    expected = segmenter.segment([reading.image], [(144, 192)])[0]
    assert np.array_equal(reading.labels, expected.labels.numpy())
    assert np.array_equal(reading.phrases, expected.phrases.numpy())
    assert np.array_equal(reading.confidence, expected.confidence.numpy())


def test_the_image_goes_through_the_trunk_once(tiny: Backbone, photo: str) -> None:
    playground = Playground(tiny, TINY)
    first = playground.read(photo, WORDS)
    runs = playground.trunks.runs
    assert playground.read(photo, WORDS) is first
    playground.read(photo, Vocabulary.parse("snow, gravel"), {"sfr": None})
    assert playground.trunks.runs == runs == 1


def test_a_file_that_changed_is_read_anew(tiny: Backbone, tmp_path: Path) -> None:
    playground, path = Playground(tiny, TINY), tmp_path / "a.png"
    Image.new("RGB", (60, 60), "red").save(path)
    assert playground.read(str(path), WORDS).image[:, 5, 5].tolist() == [255, 0, 0]
    Image.new("RGB", (60, 60), "blue").save(path)
    import os

    os.utime(path, (1, 1))
    assert playground.read(str(path), WORDS).image[:, 5, 5].tolist() == [0, 0, 255]
    path.unlink()
    with pytest.raises(ImageError, match=r"a.png' must be a readable image"):
        playground.read(str(path), WORDS)
    Image.new("RGB", (9000, 1)).save(path)
    with pytest.raises(ImageError, match="9000x1 px, too thin"):
        playground.read(str(path), WORDS)


def test_shares_count_pixels_by_class_and_phrase(reading: Reading) -> None:
    shares = {row.name: row for row in reading.shares}
    assert sum(row.share for row in shares.values()) == pytest.approx(1)
    assert [row.share for row in reading.shares] == sorted((row.share for row in reading.shares), reverse=True)
    for index, name in enumerate(WORDS.class_names):
        inside = reading.labels == index
        assert shares[name].share == inside.mean()
        assert sum(shares[name].phrases.values()) == pytest.approx(inside.mean())
        if inside.any():
            assert shares[name].confidence == pytest.approx(reading.confidence[inside].mean())
    snow = WORDS.flat_phrases.index("snow")
    assert shares["ground"].phrases["snow"] == (reading.phrases == snow).mean()


def test_the_mask_has_the_size_of_the_image_and_is_that_of_labelling(tiny: Backbone, tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.fromarray(draw_scene(np.random.default_rng(6), (400, 700), 4).image).save(path)
    settings = {"sfr": None, "min_area": 0.05, "prob_threshold": 0.2}
    reading = Playground(tiny, TINY).read(str(path), WORDS, settings)
    assert reading.image_hw == (400, 700) != tuple(reading.image.shape[1:])
    model = make_model(tiny, WORDS, TINY.varied(settings))
    label = model.predict(model.build_get_item()({"filepath": str(path)}))
    assert np.array_equal(reading.labels + 1, label.mask)


def test_layers_say_what_is_at_each_pixel(reading: Reading) -> None:
    view = reading_view.view_of(reading, COLOURS, 2)
    y, x = 70, 90
    found = {name: layer["entries"][decoded(layer)[y, x]] for name, layer in view["layers"].items() if name != "confidence"}
    label, phrase = reading.labels[y, x], reading.phrases[y, x]
    assert found["classes"] == {"name": WORDS.class_names[label], "colour": COLOURS[WORDS.class_names[label]]}
    assert found["phrases"] == {"name": WORDS.flat_phrases[phrase], "colour": palette(6)[phrase]}
    confidence = view["layers"]["confidence"]
    names = np.array([float(entry["name"]) for entry in confidence["entries"]])[decoded(confidence)]
    assert names.shape == tuple(reading.image.shape[1:])
    assert np.abs(names - resize(reading.confidence, names.shape)).max() <= 0.00501
    assert {entry["colour"] for entry in confidence["entries"]} <= set(view["ramp"])


def test_shares_are_listed_with_their_phrases(reading: Reading) -> None:
    view = reading_view.view_of(reading, COLOURS, 2)
    assert [row["name"] for row in view["shares"]] == [row.name for row in reading.shares[:2]] and view["more"] == 1
    for shown, row in zip(view["shares"], reading.shares, strict=False):
        assert (shown["share"], shown["confidence"]) == (row.share, row.confidence)
        assert len(shown["phrases"]) == sum(share > 0 for share in row.phrases.values()) or row.name == "yellow cloth"


def test_attention_is_drawn_for_each_part_of_the_method(tiny: Backbone, photo: str, reading: Reading) -> None:
    point = (70 / 144, 90 / 192)
    maps = reading_view.attention(reading, point)
    assert [drawn["title"] for drawn in maps] == ["RCS: earlier blocks", "SFR: first segmentation", "last block"]
    with Image.open(io.BytesIO(base64.b64decode(maps[2]["png"].split(",")[1]))) as picture:
        assert picture.size == (reading.image.shape[2], reading.image.shape[1])
    rows = reading.attention_rows(point)
    top, left = (int(share * side) for share, side in zip(point, reading.image.shape[1:], strict=True))
    assert rows.box.left <= left < rows.box.right and rows.box.top <= top < rows.box.bottom
    other = reading_view.attention(reading, (0.1, 0.1))
    assert other[0]["png"] != maps[0]["png"]
    fast = Playground(tiny, TINY).read(photo, WORDS, {"sfr": None})
    assert [drawn["title"] for drawn in reading_view.attention(fast, point)] == ["RCS: earlier blocks", "last block"]
