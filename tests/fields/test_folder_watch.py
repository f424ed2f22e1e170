from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fiftyone_resclip.errors import StorageError
from fiftyone_resclip.fields.folder_watch import FolderWatch, missing_files


@pytest.mark.parametrize("existed", [False, True])
@pytest.mark.parametrize("replaced", ["deleted", "made anew", "moved"])
def test_a_folder_that_is_taken_away_is_noticed(tmp_path: Path, existed: bool, replaced: str) -> None:
    folder = tmp_path / "masks" / "field"
    if existed:
        folder.mkdir(parents=True)
    with FolderWatch(folder) as watch:
        watch.prepare()
        watch.check()
        if replaced == "moved":
            folder.rename(tmp_path / "elsewhere")
        else:
            shutil.rmtree(tmp_path / "masks")
        if replaced != "deleted":
            folder.mkdir(parents=True)
        for act in (watch.check, watch.prepare):
            with pytest.raises(StorageError, match="must stay while masks are written to it, but it is missing or was replaced"):
                act()
    assert folder.exists() == (replaced != "deleted")


def test_missing_files_are_found_whatever_the_paths_look_like(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("a/1.png", "2.png"):
        (tmp_path / name).touch()
    (tmp_path / "link.png").symlink_to(tmp_path / "nowhere")
    there = [f"{tmp_path}/a/1.png", f"{tmp_path}//2.png", f"{tmp_path}/a/../2.png"]
    gone = {f"{tmp_path}/a/3.png", f"{tmp_path}/b/1.png", f"{tmp_path}/link.png", f"{tmp_path}/a", "nowhere.png"}
    assert missing_files([*there, *gone]) == gone
    assert missing_files([]) == set()
