"""Installs the plugin and the zoo source into FiftyOne's folders, without network, and removes them again."""

from __future__ import annotations

import shutil
from pathlib import Path

from fiftyone_resclip.errors import ResCLIPError

_PACKAGE = Path(__file__).parents[1]
_PLUGIN_FOLDER = "fiftyone-resclip"
_ZOO_FOLDER = "resclip"


def install(plugins_dir: Path, zoo_dir: Path) -> list[Path]:
    """Copies the plugin shim and the zoo shim into FiftyOne's folders; replaces those of an earlier version.

    Args:
        plugins_dir: FiftyOne's plugins folder
        zoo_dir: FiftyOne's folder of zoo models

    Returns:
        the two folders
    """
    plugin, zoo = plugins_dir / _PLUGIN_FOLDER, zoo_dir / _ZOO_FOLDER
    uninstall(plugins_dir, zoo_dir)
    (plugin / "fiftyone_resclip" / "app").mkdir(parents=True)
    shutil.copy(_plugin_manifest(), plugin / "fiftyone.yml")
    shutil.copy(_PACKAGE / "app" / "entry.py", plugin / "fiftyone_resclip" / "app" / "entry.py")
    shutil.copytree(_PACKAGE / "zoo", zoo, ignore=shutil.ignore_patterns("__pycache__"))
    return [plugin, zoo]


def uninstall(plugins_dir: Path, zoo_dir: Path) -> list[Path]:
    """Removes the two folders that :func:`install` makes, or symbolic links in their place; removes nothing else.

    Args:
        plugins_dir: FiftyOne's plugins folder
        zoo_dir: FiftyOne's folder of zoo models

    Returns:
        the folders that were removed
    """
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
