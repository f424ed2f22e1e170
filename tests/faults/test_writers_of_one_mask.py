"""Masks are written whole or not at all, whoever else writes or reads them, and without leftovers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest

from fiftyone_resclip.fields import masks

MASK = np.random.default_rng(0).integers(0, 20, (300, 400), dtype=np.uint8)

WRITE = """
import sys
from pathlib import Path
import numpy as np
from fiftyone_resclip.fields.masks import write_mask

path, value = Path(sys.argv[1]), int(sys.argv[2])
mask = np.random.default_rng(value).integers(0, 3, (1500, 2000), dtype=np.uint8) + np.uint8(value)
print("ready", flush=True)
sys.stdin.readline()
for _ in range(15):
    write_mask(mask, path)
"""

FULL = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from fiftyone_resclip.fields.masks import write_mask

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # a disk that is full after 20 kB
try:
    write_mask(np.random.default_rng(0).integers(0, 255, (500, 500), dtype=np.uint8), Path(sys.argv[1]))
except OSError:
    print("refused")
"""


def read(path: Path) -> np.ndarray:
    return masks.read_mask(fo.Segmentation(mask_path=str(path)))


def test_writers_and_readers_of_one_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    masks.write_mask(MASK, path)
    command = [sys.executable, "-c", WRITE, str(path)]
    writers = [
        subprocess.Popen([*command, str(value)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for value in (10, 20, 30)
    ]
    for writer in writers:
        assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
    seen = set()
    while any(writer.poll() is None for writer in writers):
        mask = read(path)
        assert mask.max() - mask.min() in (2, 19)  # of one writer
        seen.add(int(mask.min()))
    errors = [writer.communicate()[1] for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0, 0], errors
    assert seen - {0}
    assert os.listdir(tmp_path) == ["mask.png"]  # noqa: PTH208


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="limits on files are Unix'")
@pytest.mark.parametrize("exists", [False, True])
def test_a_full_disk_leaves_what_was_there(tmp_path: Path, exists: bool) -> None:
    path = tmp_path / "mask.png"
    if exists:
        masks.write_mask(MASK, path)
    run = subprocess.run([sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, check=True)
    assert run.stdout == "refused\n", run.stderr
    assert [each.name for each in tmp_path.iterdir()] == (["mask.png"] if exists else [])
    if exists:
        np.testing.assert_array_equal(read(path), MASK)


def test_a_link_is_replaced_and_its_target_left_alone(tmp_path: Path) -> None:
    target, path = tmp_path / "precious.txt", tmp_path / "mask.png"
    target.write_text("precious")
    path.symlink_to(target)
    masks.write_mask(MASK, path)
    assert target.read_text() == "precious"
    assert not path.is_symlink()
    np.testing.assert_array_equal(read(path), MASK)


def test_a_link_under_the_old_temporary_name_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "precious.txt"
    target.write_text("precious")
    (tmp_path / "mask.partial").symlink_to(target)
    masks.write_mask(MASK, tmp_path / "mask.png")
    assert target.read_text() == "precious"


def test_a_mask_that_cannot_take_its_place_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "mask.png").mkdir()
    with pytest.raises(OSError, match=r"mask\.png"):
        masks.write_mask(MASK, tmp_path / "mask.png")
    assert [path.name for path in tmp_path.iterdir()] == ["mask.png"]


def test_everyone_may_read_a_mask_whom_the_mode_of_new_files_allows(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    masks.write_mask(MASK, tmp_path / "mask.png")
    assert (tmp_path / "mask.png").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_what_killed_writers_left_is_removed_and_what_others_write_is_not(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = masks._HOST
    left = tmp_path / f".a.{host}.{dead.pid}.0123.partial"
    kept = [
        tmp_path / name
        for name in (f".b.{host}.{os.getpid()}.0123.partial", f".c.other_host.{dead.pid}.0123.partial", ".partial", "x.partial")
    ]
    for path in (left, *kept):
        path.touch()
    masks.write_mask(MASK, tmp_path / "mask.png")
    assert not left.exists()
    assert all(path.exists() for path in kept)
