"""Makes the evaluation method ``"resclip"`` known to every FiftyOne process, through FiftyOne's own evaluation settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fiftyone.core.config import locate_evaluation_config

from fiftyone_resclip.errors import ResCLIPError
from fiftyone_resclip.evaluation.method import BACKEND
from fiftyone_resclip.evaluation.settings import METHOD

_BACKENDS = "segmentation_backends"


def register_method() -> Path:
    """Adds our method to the file; everything else in it stays.

    Returns:
        the file: ``FIFTYONE_EVALUATION_CONFIG_PATH``, by default ``~/.fiftyone/evaluation_config.json``

    Raises:
        ResCLIPError: if the file can't be read or written, or holds something other than FiftyOne's settings
    """
    path = Path(locate_evaluation_config())
    settings = _read(path)
    _write(path, {**settings, _BACKENDS: {**settings.get(_BACKENDS, {}), METHOD: BACKEND}})
    return path


def is_registered() -> bool:
    """Returns whether our method is in the file.

    Raises:
        ResCLIPError: if the file can't be read, or holds something other than FiftyOne's settings
    """
    return bool(_read(Path(locate_evaluation_config())).get(_BACKENDS, {}).get(METHOD) == BACKEND)


def unregister_method() -> Path | None:
    """Takes our method out of the file again, unless somebody changed the entry; a file that then says nothing is deleted.

    Returns:
        the file; ``None`` if our method is not in it

    Raises:
        ResCLIPError: as for :func:`register_method`
    """
    path = Path(locate_evaluation_config())
    settings = _read(path)
    backends = settings.get(_BACKENDS, {})
    if backends.get(METHOD) != BACKEND:
        return None
    others = {name: backend for name, backend in backends.items() if name != METHOD}
    rest = {name: value for name, value in settings.items() if name != _BACKENDS} | ({_BACKENDS: others} if others else {})
    if rest:
        _write(path, rest)
    else:
        path.unlink()
    return path


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResCLIPError(f"FiftyOne's evaluation settings must be a JSON file, but {path} is not ({error}); mend it") from error
    if not (isinstance(settings, dict) and isinstance(settings.get(_BACKENDS, {}), dict)):
        raise ResCLIPError(f"FiftyOne's evaluation settings must map names to settings, but {path} does not; mend it")
    return settings


def _write(path: Path, settings: dict[str, Any]) -> None:
    """Replaces the file in one step; if it is a link, as files of settings often are, the file that it leads to."""
    target = path.resolve()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.partial")
        partial.write_text(json.dumps(settings, indent=4) + "\n", encoding="utf-8")
        partial.replace(target)
    except OSError as error:
        raise ResCLIPError(f"FiftyOne's evaluation settings {path} can't be written: {error.strerror}; mend that") from error
