"""A hostile file costs that file only: it is named once, and everything else is labelled."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

import fiftyone_resclip
from fiftyone_resclip.errors import ConfigError, ImageError
from fiftyone_resclip.fields import masks, schema
from fiftyone_resclip.fields.images import read_image
from fiftyone_resclip.fields.raster import opened
from fiftyone_resclip.model import load_model
from tests.conftest import CLASSES
from tests.faults.hostile import EPS, HOSTILE, SAVED, UNUSUAL, bits_png, damaged_exif, encoded, picture

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes and sockets are files of Unix"),
    pytest.mark.filterwarnings("default"),  # decoders warn of damage; as errors, warnings would hide what they raise
]


@pytest.fixture
def ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Puts a program named gs first on the path; returns the file that it leaves when it is run."""
    program, mark = tmp_path / "bin" / "gs", tmp_path / "gs was run"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch '{mark}'\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return mark


def test_a_folder_of_a_hundred_files_with_hostile_ones_among_them(tmp_path: Path, ghostscript: Path) -> None:
    model = load_model("resclip-tiny", CLASSES, device="cpu", window=None, sfr=None, short_side_px=24)
    folder = tmp_path / "images"
    folder.mkdir()
    good, bad = [], []
    for number, write in enumerate([*HOSTILE.values(), *UNUSUAL.values()]):
        path = folder / f"{number:03}.jpg"
        write(path)
        (bad if number < len(HOSTILE) else good).append(str(path))
    assert len(bad) >= 40
    for number in range(100 - len(good) - len(bad)):
        picture(size=(60 + number, 70)).save(folder / f"plain {number}.png")
        good.append(str(folder / f"plain {number}.png"))
    dataset = fo.Dataset()
    try:
        rng = np.random.default_rng(0)
        dataset.add_samples([fo.Sample(path) for path in rng.permutation([*good, *bad]).tolist()], progress=False)
        report = fiftyone_resclip.label(dataset, model, "pred", progress=False)
        assert {path for path, label in zip(*dataset.values(["filepath", "pred"]), strict=True) if label} == set(good)
    finally:
        dataset.delete()
    assert set(report.failures) == set(bad)
    assert (report.labelled, report.done) == (len(good), 100)
    assert all(reason.count(path) >= 1 for path, reason in report.failures.items())
    assert not ghostscript.exists()


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_image_or_mask_is_an_image_error_with_its_path(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "image.jpg"
    HOSTILE[kind](path)
    if kind not in ("one pixel thin",):
        with pytest.raises(ImageError, match=r"image\.jpg' (must be a readable image, but: \S|can't be used: \S)"):
            read_image(path)
    if kind not in ("one pixel thin", "floating point"):
        with pytest.raises(ImageError, match=r"mask '.*image\.jpg' (must be a readable image, but: \S|can't be used: \S)"):
            masks.read_mask(fo.Segmentation(mask_path=str(path)))


@pytest.mark.parametrize("kind", UNUSUAL)
def test_an_unusual_image_is_read(tmp_path: Path, kind: str) -> None:
    UNUSUAL[kind](tmp_path / "image.jpg")
    assert read_image(tmp_path / "image.jpg").mode == "RGB"


def test_an_image_with_damaged_exif_data_is_used_as_it_lies(tmp_path: Path) -> None:
    (tmp_path / "image.jpg").write_bytes(damaged_exif())
    plain = tmp_path / "plain.jpg"
    picture().save(plain)
    np.testing.assert_array_equal(read_image(tmp_path / "image.jpg"), read_image(plain))


@pytest.mark.parametrize("content", [EPS, *(encoded(name) for name in ("EPS", "PDF") if name in {*SAVED, "PDF"})])
def test_no_program_is_run_for_any_file(tmp_path: Path, ghostscript: Path, content: bytes) -> None:
    (tmp_path / "photo.jpg").write_bytes(content)
    for read in (read_image, lambda path: masks.read_mask(fo.Segmentation(mask_path=str(path)))):
        with pytest.raises(ImageError, match="none of the picture formats"):
            read(tmp_path / "photo.jpg")
    assert not ghostscript.exists()


@pytest.mark.parametrize(
    ("kind", "named"), [("pipe", "a pipe"), ("socket", "a socket"), ("folder", "a folder"), ("device", "a device")]
)
def test_only_regular_files_are_opened(tmp_path: Path, kind: str, named: str) -> None:
    HOSTILE[kind](tmp_path / "image.png")
    with pytest.raises(ImageError, match=f"must be a regular file, but is {named}"):
        read_image(tmp_path / "image.png")


def test_the_limit_on_pixels_is_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(bits_png(300, 200))
    label = fo.Segmentation(mask_path=str(path))
    monkeypatch.setenv("FIFTYONE_RESCLIP_MAX_PIXELS", "60000")
    assert read_image(path).size == (300, 200)
    assert masks.read_mask(label).shape == (200, 300)
    monkeypatch.setenv("FIFTYONE_RESCLIP_MAX_PIXELS", "59999")
    for read in (lambda: read_image(path), lambda: masks.read_mask(label)):
        with pytest.raises(ImageError, match="has 300x200 pixels, but at most 59999 .* set FIFTYONE_RESCLIP_MAX_PIXELS"):
            read()
    monkeypatch.setenv("FIFTYONE_RESCLIP_MAX_PIXELS", "many")
    with pytest.raises(ConfigError, match="FIFTYONE_RESCLIP_MAX_PIXELS must be a whole number above 0, but is 'many'"):
        read_image(path)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_program_stays_what_it_is(tmp_path: Path, stop: type[BaseException]) -> None:
    picture().save(tmp_path / "image.png")
    with pytest.raises(stop), opened(tmp_path / "image.png"):
        raise stop


@pytest.mark.parametrize("values", [[[np.nan]], [[np.inf]], [[0.5]], [], [[1j]], [["a"]], [1, 2]])
def test_a_mask_in_memory_that_is_none_is_an_image_error(values: list[object]) -> None:
    with pytest.raises(ImageError, match="mask 'in the database' must be"):
        masks.read_mask(fo.Segmentation(mask=np.array(values)))


def test_damaged_masks_cost_their_image_in_an_evaluation(make_dataset: Callable[..., fo.Dataset], tmp_path: Path) -> None:
    dataset = make_dataset(2)
    masks_dir = tmp_path / "masks"
    masks_dir.mkdir()
    schema.declare_field(dataset, "pred", dict(enumerate(CLASSES, start=1)))
    healthy = dataset.first().ground_truth.mask_path
    expected = []
    for number, (kind, write) in enumerate(HOSTILE.items()):
        if kind in ("one pixel thin", "floating point"):  # valid as masks
            continue
        path = masks_dir / f"{number}.png"
        write(path)
        Image.open(dataset.first().filepath).save(tmp_path / f"photo {number}.png")
        truth = fo.Segmentation(mask_path=healthy if number % 2 else str(path))
        predicted = fo.Segmentation(mask_path=str(path) if number % 2 else healthy)
        dataset.add_sample(fo.Sample(str(tmp_path / f"photo {number}.png"), ground_truth=truth, pred=predicted))
        expected.append(str(tmp_path / f"photo {number}.png"))
    for sample in dataset[:2]:
        sample["pred"] = fo.Segmentation(mask_path=sample.ground_truth.mask_path)
        sample.save()
    results = fiftyone_resclip.evaluate(dataset, "pred", "ground_truth")
    assert {*results.without_truth, *results.without_prediction} == set(expected)


FUZZ = """
import sys, warnings
from pathlib import Path
import fiftyone as fo
from benchmarks.memory import peak_mib
from fiftyone_resclip.errors import ImageError
from fiftyone_resclip.fields.images import read_image
from fiftyone_resclip.fields.masks import read_mask
from tests.faults.hostile import mutants

warnings.simplefilter("ignore")
path, before, outcomes = Path(sys.argv[1]) / "mutant.jpg", peak_mib(), [0, 0]
for name, data in mutants(int(sys.argv[2]), int(sys.argv[3])):
    path.write_bytes(data)
    for read in (read_image, lambda file: read_mask(fo.Segmentation(mask_path=str(file)))):
        try:
            read(path)
            outcomes[0] += 1
        except ImageError as error:
            assert str(path) in str(error), error
            outcomes[1] += 1
        except BaseException:
            print(name, data.hex())
            raise
print(*outcomes, peak_mib() - before)
"""


@pytest.mark.slow
def test_of_2000_mutated_files_none_raises_anything_else(tmp_path: Path) -> None:
    environment = {**os.environ, "FIFTYONE_RESCLIP_MAX_PIXELS": str(2**24)}  # most mutants that decode at all are then small
    run = subprocess.run(
        [sys.executable, "-c", FUZZ, str(tmp_path), "2000", "0"], capture_output=True, text=True, check=False, env=environment
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    read, refused, peak = run.stdout.split()[-3:]
    assert int(read) > 500
    assert int(refused) > 500
    assert float(peak) < 600
