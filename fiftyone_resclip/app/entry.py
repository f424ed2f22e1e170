"""The file that FiftyOne runs when it loads the plugin. It only re-exports ``register``, so that no class is defined twice.

An installed package wins. Without one, the package beside this file is used, which a downloaded plugin has; where there is none
either, because the package was removed after ``fiftyone-resclip install``, one operator says so.
"""

import sys
from pathlib import Path

try:
    import fiftyone_resclip  # noqa: F401
except ImportError:
    sys.path.append(str(Path(__file__).resolve().parents[2]))

try:
    from fiftyone_resclip.app import register
except ImportError:
    from fiftyone_resclip.app.missing import register_explanation as register

__all__ = ["register"]
