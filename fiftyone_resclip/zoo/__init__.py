"""The folder that FiftyOne copies as a zoo source: a manifest and this shim. No class lives here, so all can be pickled."""

try:
    from fiftyone_resclip.doors.zoo_source import download_model, load_model, parse_parameters, resolve_input
except ImportError as error:
    raise ImportError("the ResCLIP models need their package: pip install fiftyone-resclip") from error

__all__ = ["download_model", "load_model", "parse_parameters", "resolve_input"]
