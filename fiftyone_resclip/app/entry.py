"""The file that FiftyOne runs when it loads the plugin. It only re-exports ``register``, so that no class is defined twice."""

try:
    from fiftyone_resclip.app import register
except ImportError as error:
    raise ImportError("the ResCLIP plugin needs its package: pip install fiftyone-resclip") from error

__all__ = ["register"]
