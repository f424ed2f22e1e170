"""What FiftyOne executes when it loads the plugin: a shim, so that every class has one home."""

try:
    from fiftyone_resclip.app import register
except ImportError as error:
    raise ImportError("the ResCLIP plugin needs its package: pip install fiftyone-resclip") from error

__all__ = ["register"]
