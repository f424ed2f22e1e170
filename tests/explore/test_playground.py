from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.drawing import plots
from fiftyone_resclip.errors import ConfigError, ImageError
from fiftyone_resclip.explore import reading_figures
from fiftyone_resclip.explore.playground import Playground, Reading
from fiftyone_resclip.fields.colours import palette
from fiftyone_resclip.presets import TINY
from fiftyone_resclip.segmenter import ResCLIP
from fiftyone_resclip.tiny.scenes import draw_scene
from fiftyone_resclip.vocabulary import Vocabulary

WORDS = Vocabulary.parse("cloth: red cloth, blue cloth\nground: snow, gravel, asphalt\nyellow cloth")


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
    expected = ResCLIP(tiny, words, TINY.varied(settings), reading.segmenter.text_features).segment([reading.image])[0]
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
    assert reading_figures.photo(playground.read(str(path), WORDS)).getpixel((5, 5)) == (255, 0, 0)
    Image.new("RGB", (60, 60), "blue").save(path)
    import os

    os.utime(path, (1, 1))
    assert reading_figures.photo(playground.read(str(path), WORDS)).getpixel((5, 5)) == (0, 0, 255)
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


def test_covers_show_classes_phrases_and_confidence(reading: Reading) -> None:
    y, x = 70, 90
    colour = palette(3)[reading.labels[y, x]]
    assert "#{:02x}{:02x}{:02x}".format(*reading_figures.cover(reading, "classes").getpixel((x, y))) == colour
    assert (
        "#{:02x}{:02x}{:02x}".format(*reading_figures.cover(reading, "phrases").getpixel((x, y)))
        == palette(6)[reading.phrases[y, x]]
    )
    assert reading_figures.cover(reading, "confidence").getpixel((x, y)) == round(255 * float(reading.confidence[y, x]))
    with pytest.raises(ConfigError, match="layer 'phrase' is unknown; did you mean 'phrases'"):
        reading_figures.cover(reading, "phrase")


def test_the_picture_tells_what_is_under_the_mouse(reading: Reading) -> None:
    texts = reading_figures.texts(reading)
    figure = plots.covered(reading_figures.photo(reading), reading_figures.cover(reading, "classes"), texts)
    grid = figure.data[0]
    row, column = 7, 11
    y, x = int(grid["y"][row]), int(grid["x"][column])
    expected = f"{WORDS.class_names[reading.labels[y, x]]}<br>phrase: {WORDS.flat_phrases[reading.phrases[y, x]]}"
    assert grid["text"][row][column].startswith(expected)
    source = figure.layout["images"][0]["source"].removeprefix("data:image/png;base64,")
    with Image.open(io.BytesIO(base64.b64decode(source))) as blend:
        assert blend.size == (reading.image_hw[1], reading.image_hw[0])
        wanted = 0.4 * np.array(reading_figures.photo(reading).getpixel((x, y))) + 0.6 * np.array(
            reading_figures.cover(reading, "classes").getpixel((x, y))
        )
        assert np.abs(np.array(blend.getpixel((x, y))) - wanted).max() <= 1
    assert figure.layout["yaxis"]["range"] == [reading.image_hw[0], 0]


def test_legend_and_attention_are_figures(reading: Reading) -> None:
    legend = reading_figures.legend(reading, 2)
    assert legend.data[0]["y"] == [row.name for row in reading.shares[:2]]
    assert legend.data[0]["x"][0] == round(100 * reading.shares[0].share, 2)
    attention = reading_figures.attention(reading, (70.0, 90.0))
    heats = [trace for trace in attention.data if trace["type"] == "heatmap"]
    assert [a["text"] for a in attention.layout["annotations"]] == [
        "RCS: earlier blocks", "SFR: first segmentation", "last block",
    ]  # fmt: skip
    rows = reading.attention_rows((70.0, 90.0))
    np.testing.assert_allclose(heats[2]["z"], rows.final.numpy(), atol=1e-4)
    assert rows.box.left < heats[0]["x"][0] < heats[0]["x"][-1] < rows.box.right
