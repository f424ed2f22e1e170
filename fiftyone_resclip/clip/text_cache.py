"""Text features cached on disk, phrase by phrase: each phrase is encoded only once for each text tower.

The folder is ``FIFTYONE_RESCLIP_CACHE``, by default ``~/.cache/fiftyone-resclip``; an empty value switches the cache off. It may
be deleted at any time. If the cache can't be read or written, phrases are encoded again. Each file ends with a checksum of its
phrase, its text tower and its numbers, so a damaged or exchanged file is never used: it is written again.
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

_CHECKSUM_BYTES = 16
_NORM_ERROR = 1e-3

_keys: WeakKeyDictionary[Backbone, str] = WeakKeyDictionary()


def text_features(backbone: Backbone, phrases: Sequence[str]) -> Tensor:
    """Returns the same as :meth:`Backbone.encode_text`, but encodes only phrases that are not in the cache.

    Args:
        backbone: the CLIP
        phrases: ``Q`` phrases

    Returns:
        text features, ``(Q, D)`` float32, L2-normalised
    """
    folder = cache_folder()
    if folder is None:
        return backbone.encode_text(phrases)
    entries = {phrase: _Entry(folder, _tower_key(backbone), phrase) for phrase in phrases}
    known = {phrase: entry.read(backbone.feature_width) for phrase, entry in entries.items()}
    missing = [phrase for phrase, feature in known.items() if feature is None]
    if missing:
        for phrase, feature in zip(missing, backbone.encode_text(missing).cpu(), strict=True):
            known[phrase] = feature
            entries[phrase].write(feature)
    return torch.stack([feature for phrase in phrases if (feature := known[phrase]) is not None]).to(backbone.device)


class _Entry:
    """The file with the feature of a phrase: ``D`` little-endian float32 numbers, then the checksum."""

    def __init__(self, folder: Path, tower_key: str, phrase: str) -> None:
        self._subject = f"{tower_key}\n{phrase}".encode()
        self._path = folder / tower_key / f"{hashlib.blake2b(phrase.encode(), digest_size=16).hexdigest()}.feature"

    def read(self, width: int) -> Tensor | None:
        """Returns the feature; ``None`` if the file is missing or not exactly what was written."""
        size = 4 * width
        try:
            if not self._path.is_file():  # to open a pipe could wait for ever
                return None
            with self._path.open("rb") as file:
                content = file.read(size + _CHECKSUM_BYTES + 1)
        except OSError:
            return None
        numbers = content[:size]
        feature = torch.from_numpy(np.frombuffer(numbers, "<f4").astype(np.float32)) if len(numbers) == size else None
        right = feature is not None and content[size:] == self._checksum(numbers) and _is_normalised(feature)
        return feature if right else None

    def write(self, feature: Tensor) -> None:
        """Writes to a temporary file and renames it, so that another process never reads half a file."""
        numbers = feature.numpy().astype("<f4").tobytes()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self._path.parent, suffix=".partial", delete=False) as partial:
                try:
                    partial.write(numbers + self._checksum(numbers))
                    partial.close()
                    Path(partial.name).replace(self._path)
                except OSError:
                    Path(partial.name).unlink()
                    raise
        except OSError as error:
            logger.debug("Text features could not be cached: %s", error)

    def _checksum(self, numbers: bytes) -> bytes:
        return hashlib.blake2b(numbers, key=hashlib.blake2b(self._subject).digest(), digest_size=_CHECKSUM_BYTES).digest()


def _is_normalised(feature: Tensor) -> bool:
    return abs(float(feature.norm()) - 1) < _NORM_ERROR  # False for NaN, too


def cache_folder() -> Path | None:
    """Returns the folder of the cache, which may not exist yet; ``None`` if the cache is switched off."""
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
