"""The bundled tiny CLIP: weights, card, the scenes it was trained on, its training and its measurement.

It exists so that everything runs offline. It knows pieces of cloth and nothing of photographs; see ``CARD.md``.
"""

from __future__ import annotations

from fiftyone_resclip.config import ResCLIPConfig, Window

#: Windows of the size it was trained at; all else as the method's defaults.
CONFIG = ResCLIPConfig(window=Window(96, 48), short_side_px=144)
