"""Makes the plugin, the zoo models and the evaluation method known to FiftyOne, without network, and takes them out again."""

from __future__ import annotations

import shutil
from pathlib import Path

from fiftyone_resclip.doors.evaluation_config import register_method, unregister_method
from fiftyone_resclip.errors import ResCLIPError

_PACKAGE = Path(__file__).parents[1]
#: What ``fiftyone.yml`` names, in the package: the Python shim, and the components for the browser; and what the shim falls back
#: on when the package is gone.
_PLUGIN_FILES = ("app/entry.py", "app/missing.py", "app/web/index.umd.js")
_PLUGIN_FOLDER = "fiftyone-resclip"
_ZOO_FOLDER = "resclip"


def install(plugins_dir: Path, zoo_dir: Path) -> list[Path]:
    """Copies the plugin shim and the zoo shim into FiftyOne's folders, and adds our method to its evaluation settings.

    What an earlier version put there is replaced.

    Args:
        plugins_dir: FiftyOne's plugins folder
        zoo_dir: FiftyOne's folder of zoo models

    Returns:
        the two folders, and the file of FiftyOne's evaluation settings

    Raises:
        ResCLIPError: if that file can't be used; then nothing is copied
    """
    settings = register_method()
    return [*copy_shims(plugins_dir, zoo_dir), settings]


def copy_shims(plugins_dir: Path, zoo_dir: Path) -> tuple[Path, Path]:
    """Copies the plugin shim and the zoo shim into two folders, and nothing else; replaces those of an earlier version.

    Returns:
        the folders of the two shims
    """
    plugin, zoo = plugins_dir / _PLUGIN_FOLDER, zoo_dir / _ZOO_FOLDER
    _remove(plugins_dir, zoo_dir)
    for file in _PLUGIN_FILES:
        copy = plugin / "fiftyone_resclip" / file
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(_PACKAGE / file, copy)
    shutil.copy(_plugin_manifest(), plugin / "fiftyone.yml")
    shutil.copytree(_PACKAGE / "zoo", zoo, ignore=shutil.ignore_patterns("__pycache__"))
    return plugin, zoo


def uninstall(plugins_dir: Path, zoo_dir: Path) -> list[Path]:
    """Undoes :func:`install`: removes its two folders, or symbolic links in their place, and its evaluation settings.

    Args:
        plugins_dir: FiftyOne's plugins folder
        zoo_dir: FiftyOne's folder of zoo models

    Returns:
        the folders that were removed, and the file of evaluation settings if our method was in it

    Raises:
        ResCLIPError: if that file can't be used; then nothing is removed
    """
    settings = unregister_method()
    return _remove(plugins_dir, zoo_dir) + ([] if settings is None else [settings])


def _remove(plugins_dir: Path, zoo_dir: Path) -> list[Path]:
    found = [folder for folder in (plugins_dir / _PLUGIN_FOLDER, zoo_dir / _ZOO_FOLDER) if folder.is_symlink() or folder.exists()]
    for folder in found:
        if folder.is_symlink():
            folder.unlink()
        else:
            shutil.rmtree(folder)
    return found


def _plugin_manifest() -> Path:
    """Finds the plugin's ``fiftyone.yml``: inside an installed package, or at the root of a checkout."""
    for path in (_PACKAGE / "app" / "fiftyone.yml", _PACKAGE.parent / "fiftyone.yml"):
        if path.is_file():
            return path
    raise ResCLIPError("fiftyone.yml must be in the package or next to it, but is missing; install fiftyone-resclip again")
