"""Opens picture files that may be damaged or hostile: any failure of a file becomes an :class:`ImageError` with its path.

Three rules keep a file from costing more than itself:

- It must be a regular file, because opening a pipe waits for its other end.
- Its content, whatever its name, must be in one of :data:`FORMATS`; Pillow would run Ghostscript on an EPS file.
- It must not have more pixels than :func:`max_pixels` allows, which is checked before any pixel is decoded.

A file that kills the process, through a fault in a decoder or for lack of memory, is not tried again in a process of its own. To
know which file it was, every image would have to be decoded in another process and copied from there, and when memory runs out,
the kernel may still kill a process that did nothing wrong. ``python -X faulthandler`` names such a fault; the file is among the
first samples that have no mask.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from PIL import Image

from fiftyone_resclip.errors import ConfigError, ImageError

#: Pillow's decoders that run no other program and open no other file. Those that recognise files by little come last.
FORMATS = (
    "JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "DIB", "JPEG2000", "AVIF", "PPM", "QOI", "ICO", "ICNS", "CUR", "DDS", "PSD",
    "SGI", "SUN", "BLP", "FTEX", "FLI", "MSP", "PIXAR", "XBM", "XPM", "DCX", "PCX", "PCD", "SPIDER", "TGA",
)  # fmt: skip

#: The environment variable for the limit on pixels.
MAX_PIXELS_VARIABLE = "FIFTYONE_RESCLIP_MAX_PIXELS"
_MAX_PIXELS = 178_956_970  # where Pillow itself refuses

#: Opening never waits; on Windows, line ends stay what they are.
_FLAGS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def max_pixels() -> int:
    """Returns the most pixels an image or mask file may have: ``FIFTYONE_RESCLIP_MAX_PIXELS``, by default 178,956,970.

    A file that reaches the default needs about 1 GiB while it is decoded. Some of Pillow's decoders, such as those of WebP and
    TIFF, also obey ``PIL.Image.MAX_IMAGE_PIXELS``, so a limit above our default raises that, too.

    Raises:
        ConfigError: if the variable is not a whole number above 0
    """
    value = os.environ.get(MAX_PIXELS_VARIABLE) or str(_MAX_PIXELS)
    if not value.isdecimal() or int(value) < 1:
        raise ConfigError(f"{MAX_PIXELS_VARIABLE} must be a whole number above 0, but is {value!r}")
    return int(value)


@contextmanager
def opened(path: str | Path, kind: str = "") -> Iterator[Image.Image]:
    """Opens a picture file for a ``with`` block; decoding begins when the block asks for pixels.

    Args:
        path: the file
        kind (""): what the file is, for messages, such as ``"mask "``

    Yields:
        the image, not yet decoded

    Raises:
        ImageError: if the file is missing, not a regular file, of no known format or too large, or if the block raises an
            exception; only those that end a program, such as :class:`KeyboardInterrupt`, stay what they are
    """
    try:
        limit = max_pixels()
        if limit > _MAX_PIXELS and Image.MAX_IMAGE_PIXELS is not None:
            Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, limit)
        with _regular_file(path) as file:
            image = _identified(file)
            _check_pixels(image, limit)
            yield image
    except ImageError as error:
        raise ImageError(f"{kind}{str(path)!r} can't be used: {error}") from error
    except ConfigError:
        raise
    except Exception as error:  # decoders raise what they like: TypeError, struct.error, MemoryError, ...
        raise ImageError(f"{kind}{str(path)!r} must be a readable image, but: {error or type(error).__name__}") from error


def _regular_file(path: str | Path) -> IO[bytes]:
    """Opens a regular file; nothing else is opened, or waited for."""
    _check_regular(Path(path).stat().st_mode)
    file = os.fdopen(os.open(path, os.O_RDONLY | _FLAGS), "rb")
    try:
        _check_regular(os.fstat(file.fileno()).st_mode)  # another file may have taken its place
    except ImageError:
        file.close()
        raise
    return file


def _check_regular(mode: int) -> None:
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
        raise ImageError(f"it must be a regular file, but is {kinds.get(stat.S_IFMT(mode), 'a device')}")


def _identified(file: IO[bytes]) -> Image.Image:
    """Does the work of :func:`PIL.Image.open` without its check of the size, which would warn of half of what we allow."""
    Image.init()
    start = file.read(16)
    for factory, accepts in (Image.OPEN[name] for name in FORMATS if name in Image.OPEN):
        try:
            verdict = accepts is None or accepts(start)
            if verdict and not isinstance(verdict, str):  # a text says why this Pillow can't decode the format
                file.seek(0)
                return factory(file, "")
        except (SyntaxError, IndexError, TypeError, struct.error):  # Pillow's ways to say that the file is of another format
            continue
    raise ValueError("its content is none of the picture formats that are read" if start else "it is empty")


def _check_pixels(image: Image.Image, limit: int) -> None:
    if image.width * image.height > limit:
        raise ImageError(
            f"it has {image.width}x{image.height} pixels, but at most {limit} in all are allowed; "
            f"set {MAX_PIXELS_VARIABLE} to allow more"
        )
