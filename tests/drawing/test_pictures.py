from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageColor

from fiftyone_resclip.drawing import pictures

PAPER, RED, BLUE, GREEN = (255, 255, 255), (255, 0, 0), (0, 0, 255), (0, 128, 0)


def cells(*colours: str) -> list[Image.Image]:
    return [Image.new("RGB", (20, 10), colour) for colour in colours]


def is_blank(picture: Image.Image, box: tuple[int, int, int, int]) -> bool:
    """Returns whether a box (left, top, right, bottom) shows only paper."""
    return picture.crop(box).getcolors() == [((box[2] - box[0]) * (box[3] - box[1]), PAPER)]


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_paint_gives_each_value_its_colour(dtype: type[np.integer]) -> None:
    mask: NDArray[np.integer] = np.array([[1, 2, 1], [2, 2, 1]], dtype)
    image = pictures.paint(mask, ["#ff0000", "#123456"])
    red, other = [255, 0, 0], [0x12, 0x34, 0x56]
    assert (image.mode, image.size) == ("RGB", (3, 2))
    assert np.asarray(image).tolist() == [[red, other, red], [other, other, red]]


def test_paint_leaves_pixels_without_a_class_light_grey() -> None:
    painted = np.asarray(pictures.paint(np.array([[0, 1, 2, 255]], np.uint8), ["#ff0000"]))
    assert painted.tolist() == [[[216] * 3, [255, 0, 0], [216] * 3, [216] * 3]]


def test_paint_leaves_negative_values_light_grey() -> None:
    assert pictures.paint(np.array([[-1, -2]]), ["#ff0000", "#123456"]).getcolors() == [(2, (216, 216, 216))]


def test_paint_needs_no_classes() -> None:
    assert pictures.paint(np.array([[0, 1]], np.uint8), []).getcolors() == [(2, (216, 216, 216))]


def test_a_heat_map_covers_its_box_and_lets_the_picture_shine_through() -> None:
    photo = Image.new("RGB", (40, 20), (200, 0, 0))
    drawn = pictures.heat(photo, np.array([[0.0, 3.0]]), (20, 0, 40, 20), (0, 1), opacity=0.5)
    assert drawn.size == photo.size and drawn.getpixel((19, 10)) == (200, 0, 0)
    dark, bright = (ImageColor.getrgb(pictures.on_ramp(value)) for value in (0, 1))
    for x, colour in ((22, dark), (38, bright)):
        wanted = (np.array(colour) + np.array((200, 0, 0))) / 2
        assert np.abs(np.array(drawn.getpixel((x, 10))) - wanted).max() <= 1
    assert [drawn.getpixel((x, 10)) == (255, 255, 255) for x in (20, 29, 30, 35)] == [False, False, True, False]  # the frame
    assert pictures.heat(photo, np.zeros((2, 2)), (0, 0, 40, 20), (0, 0), opacity=1).getpixel((5, 5)) == dark


def test_the_ramp_goes_from_dark_to_bright() -> None:
    greys = [sum(np.array(ImageColor.getrgb(colour)) * (0.299, 0.587, 0.114)) for colour in pictures.RAMP]
    assert len(pictures.RAMP) == 101 and all(np.diff(greys) > 0)


def test_an_overview_has_room_for_titles_cells_and_legend() -> None:
    rows = [cells("red", "blue")] * 3
    # two cells of 192 px and three margins of 8; a line of 26 for titles, three cells of 96 with margins, 26 for the legend
    assert pictures.overview(rows, ["a", "b"], [("x", "#ff0000")]).size == (408, 26 + 3 * 104 + 26 + 8)
    assert pictures.overview(rows, ["a", "b"], []).size == (408, 26 + 3 * 104 + 8)


def test_cells_of_an_overview_lie_in_rows_and_columns() -> None:
    picture = pictures.overview([cells("red", "blue"), cells("green", "red")], ["a", "b"], [], cell_width=40)
    assert picture.size == (8 + 2 * 48, 26 + 2 * 28 + 8)
    for (left, top), colour in {(8, 26): RED, (56, 26): BLUE, (8, 54): GREEN, (56, 54): RED}.items():
        assert picture.crop((left, top, left + 40, top + 20)).getcolors() == [(40 * 20, colour)]
    assert is_blank(picture, (48, 26, 56, 82)) and is_blank(picture, (0, 46, 104, 54))


def test_cells_are_enlarged_without_new_colours() -> None:
    halves = Image.new("RGB", (2, 1), "red")
    halves.putpixel((1, 0), BLUE)
    picture = pictures.overview([[halves]], [""], [], cell_width=40)
    assert picture.crop((8, 26, 28, 46)).getcolors() == [(400, RED)]
    assert picture.crop((28, 26, 48, 46)).getcolors() == [(400, BLUE)]


def test_a_title_stands_above_its_column() -> None:
    picture = pictures.overview([cells("red", "blue")], ["", "title"], [], cell_width=60)
    assert is_blank(picture, (0, 0, 76, 26))
    assert not is_blank(picture, (76, 0, 136, 26))


def test_a_legend_stands_below_the_cells_in_lines() -> None:
    legend = [("", "#ff0000"), ("", "#0000ff"), ("", "#008000")]
    picture = pictures.overview([cells("red", "red")], ["", ""], legend)  # 400 px: two entries of 150 a line
    assert picture.height == 26 + 104 + 2 * 26 + 8
    for (left, top), colour in {(8, 134): RED, (158, 134): BLUE, (8, 160): GREEN}.items():
        assert picture.crop((left, top, left + 15, top + 15)).getcolors() == [(225, colour)]
    assert is_blank(picture, (158, 156, 408, 190))


def test_a_name_stands_beside_its_colour() -> None:
    picture = pictures.overview([cells("red", "red")], ["", ""], [("", "#ff0000"), ("grass", "#008000")])
    assert is_blank(picture, (23, 130, 158, 156))
    assert not is_blank(picture, (178, 130, 308, 156))


def test_a_narrow_overview_has_one_legend_entry_a_line() -> None:
    picture = pictures.overview([cells("red")], [""], [("", "#ff0000"), ("", "#0000ff")], cell_width=40)
    assert picture.getpixel((10, 26 + 28 + 10)) == RED
    assert picture.getpixel((10, 26 + 28 + 26 + 10)) == BLUE


def test_an_overlay_shows_the_image_where_there_is_no_class() -> None:
    image = Image.new("RGB", (2, 1), (100, 100, 100))
    painted = pictures.overlay(image, np.array([[0, 1]], np.uint8), ["#ff0000"], opacity=0.5)
    (plain,), (red,) = (np.asarray(painted)[:, column].tolist() for column in (0, 1))
    assert plain == [100, 100, 100]
    assert red == pytest.approx([177, 50, 50], abs=1)
