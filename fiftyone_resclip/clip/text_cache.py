"""Text features cached on disk, phrase by phrase: each phrase is encoded only once for each text tower.

The folder is ``FIFTYONE_RESCLIP_CACHE``, by default ``~/.cache/fiftyone-resclip``; an empty value switches the cache off. It may
be deleted at any time. If the cache can't be read or written, phrases are encoded again.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
import open_clip
import torch
from torch import Tensor

from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.clip.weights import fingerprint

logger = logging.getLogger(__name__)

_keys: WeakKeyDictionary[Backbone, str] = WeakKeyDictionary()


def text_features(backbone: Backbone, phrases: Sequence[str]) -> Tensor:
    """Returns the same as :meth:`Backbone.encode_text`, but encodes only phrases that are not in the cache.

    Args:
        backbone: the CLIP
        phrases: ``Q`` phrases

    Returns:
        text features, ``(Q, D)`` float32, L2-normalised
    """
    folder = _folder()
    if folder is None:
        return backbone.encode_text(phrases)
    folder /= _tower_key(backbone)
    known = {phrase: _read(_file(folder, phrase), backbone.feature_width) for phrase in dict.fromkeys(phrases)}
    missing = [phrase for phrase, feature in known.items() if feature is None]
    if missing:
        for phrase, feature in zip(missing, backbone.encode_text(missing).cpu(), strict=True):
            known[phrase] = feature
            _write(_file(folder, phrase), feature)
    return torch.stack([feature for phrase in phrases if (feature := known[phrase]) is not None]).to(backbone.device)


def _folder() -> Path | None:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    configured = os.environ.get("FIFTYONE_RESCLIP_CACHE", str(home / "fiftyone-resclip"))
    return Path(configured).expanduser() / "text" if configured else None


def _tower_key(backbone: Backbone) -> str:
    """Returns a key for all that a feature depends on except its phrase: weights, architecture, tokenizer and templates.

    Towers with equal weights may differ in their activation, as ``ViT-B-16`` and ``ViT-B-16-quickgelu`` do.
    """
    if backbone not in _keys:
        _keys[backbone] = _digest(backbone)
    return _keys[backbone]


def _digest(backbone: Backbone) -> str:
    templates = [template("") for template in open_clip.OPENAI_IMAGENET_TEMPLATES]
    tower = backbone.model.transformer
    heads = [module.num_heads for module in tower.modules() if hasattr(module, "num_heads")]
    shape = (repr(tower), heads, backbone.model.attn_mask is None, backbone.model.text_pool_type)
    parts = (fingerprint(backbone.model, without="visual."), shape, type(backbone.tokenizer).__name__, templates)
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).hexdigest()


def _file(folder: Path, phrase: str) -> Path:
    return folder / f"{hashlib.blake2b(phrase.encode(), digest_size=16).hexdigest()}.npy"


def _read(path: Path, width: int) -> Tensor | None:
    try:
        feature = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    right = feature.shape == (width,) and feature.dtype == np.float32 and bool(np.isfinite(feature).all())
    return torch.from_numpy(feature) if right else None


def _write(path: Path, feature: Tensor) -> None:
    """Writes to a temporary file and renames it, so that another process never reads half a file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".partial", delete=False) as partial:
            np.save(partial, feature.numpy())
        Path(partial.name).replace(path)
    except OSError as error:
        logger.debug("Text features could not be cached: %s", error)
