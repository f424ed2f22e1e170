"""Writes hostile picture files: damaged, mutated, oversized, not pictures at all, or not even files."""

from __future__ import annotations

import io
import os
import socket
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from fiftyone_resclip.fields.raster import FORMATS

Image.init()
#: Formats that can be written here, for healthy files to start from; ours, and those that must be refused.
SAVED = sorted(name for name in Image.SAVE if name not in ("PDF", "PALM", "BUFR", "GRIB", "HDF5", "WMF", "XVTHUMB"))
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 30\n%%EndComments\nshowpage\n%%EOF\n"


def picture(mode: str = "RGB", size: tuple[int, int] = (96, 80)) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(noise).convert(mode)


def encoded(name: str, image: Image.Image | None = None, **options: object) -> bytes:
    """Encodes a picture in the first mode that the format takes."""
    for mode in ("RGB", "L", "P", "RGBA", "1", "F"):
        file = io.BytesIO()
        try:
            (image or picture(mode)).save(file, name, **options)
        except (OSError, KeyError, ValueError):
            continue
        return file.getvalue()
    raise AssertionError(f"no mode for {name}")


def damaged_exif() -> bytes:
    """A JPEG whose EXIF data promises more than it holds."""
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 9) + struct.pack("<HHII", 0x0112, 5, 2**31, 2**32 - 9) + b"\xff" * 40
    return encoded("JPEG", picture(), exif=exif)


def bits_png(width: int, height: int) -> bytes:
    """A black PNG of one bit per pixel, which compresses a thousandfold."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer, row = zlib.compressobj(9), bytes(1 + -(-width // 8))
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Damages bytes in one of four ways, most often near the beginning, where a format keeps its promises."""
    changed = bytearray(data)
    where = int(min(rng.exponential(60), len(data) - 1)) if rng.random() < 0.7 else int(rng.integers(len(data)))
    match rng.integers(4):
        case 0:
            changed[where] ^= 1 << int(rng.integers(8))
        case 1:
            changed[where : where + 4] = rng.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"])
        case 2:
            return bytes(changed[:where])
        case _:
            for place in rng.integers(len(data), size=8):
                changed[place] = int(rng.integers(256))
    return bytes(changed)


def _bytes(make: Callable[[], bytes]) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(make()) and None


def _half(name: str) -> Callable[[Path], None]:
    return _bytes(lambda: (whole := encoded(name))[: len(whole) // 2])


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path.name)
    os.chdir(here)


def _link_to_pipe(path: Path) -> None:
    os.mkfifo(path.with_suffix(".pipe"))
    path.symlink_to(path.with_suffix(".pipe"))


#: What each kind of hostile file is, and how to write it to a path.
HOSTILE: Mapping[str, Callable[[Path], None]] = {
    "missing": lambda path: None,
    "empty": lambda path: path.touch(),
    "one byte": _bytes(lambda: b"\xff"),
    "text": _bytes(lambda: b"no picture"),
    "zeros": _bytes(lambda: bytes(5000)),
    "noise": _bytes(lambda: np.random.default_rng(1).bytes(5000)),
    "folder": lambda path: path.mkdir(),
    "pipe": lambda path: os.mkfifo(path),
    "socket": _socket,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "link to nothing": lambda path: path.symlink_to(path.with_suffix(".nowhere")),
    "link to itself": lambda path: path.symlink_to(path),
    "link to a pipe": _link_to_pipe,
    "EPS": _bytes(lambda: EPS),
    "EPS of Pillow": _bytes(lambda: encoded("EPS")),
    "PDF": _bytes(lambda: encoded("PDF")),
    "WMF": _bytes(lambda: b"\xd7\xcd\xc6\x9a\0\0" + bytes(100)),
    "GRIB": _bytes(lambda: b"GRIB\0\0\0\1" + bytes(100)),
    "HDF5": _bytes(lambda: b"\x89HDF\r\n\x1a\n" + bytes(100)),
    "SVG": _bytes(lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
    "400 megapixels": _bytes(lambda: bits_png(20_000, 20_000)),
    "promised gigapixels": _bytes(lambda: encoded("PNG").replace(struct.pack(">I", 96), struct.pack(">I", 2**31 - 1), 1)),
    "floating point": _bytes(lambda: encoded("TIFF", picture("F"))),
    "no pixels": _bytes(lambda: b"P6 0 0 255\n"),
    "one pixel thin": _bytes(lambda: encoded("PNG", picture(size=(9000, 1)))),
    "PPM of letters": _bytes(lambda: b"P3 9 9 255\nabc def"),
    "TIFF without a strip": _bytes(lambda: (whole := encoded("TIFF"))[:8] + bytes(40) + whole[48:]),
    "TIFF that refers to itself": _bytes(lambda: b"II*\0\x08\0\0\0\0\0\x08\0\0\0"),
    "DDS of an unknown kind": _bytes(lambda: (whole := encoded("DDS"))[:80] + b"\x04\0\0\0ABCD" + whole[88:]),
    "ICO without a picture": _bytes(lambda: b"\0\0\1\0\0\0"),
    "GIF without a frame": _bytes(lambda: b"GIF89a\x10\0\x10\0\0\0\0;"),
    "BLP of an unknown kind": _bytes(lambda: b"BLP2" + b"\x09" * 200),
    "QOI without pixels": _bytes(lambda: b"qoif" + struct.pack(">II", 3000, 3000) + b"\3\0"),
    "PSD without layers": _bytes(lambda: b"8BPS\0\1" + bytes(30)),
    **{f"half a {name}": _half(name) for name in ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "JPEG2000", "AVIF", "PPM", "TGA")
       if name in Image.SAVE},
}  # fmt: skip

#: Unusual files that are nevertheless readable, and how to write them.
UNUSUAL: Mapping[str, Callable[[Path], None]] = {
    "damaged EXIF": _bytes(damaged_exif),
    "16 bits": lambda path: Image.fromarray(np.arange(8000, dtype=np.uint16).reshape(80, 100) * 8).save(path, "PNG"),
    "one bit": _bytes(lambda: bits_png(120, 90)),
    **{f"{name} under another name": _bytes(lambda name=name: encoded(name))
       for name in SAVED if name in FORMATS and name not in ("SPIDER", "ICNS", "ICO")},
}  # fmt: skip


def mutants(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yields mutated files of every format that can be written, ours and others, in turn."""
    rng, whole = np.random.default_rng(seed), {name: encoded(name) for name in SAVED}
    for number in range(count):
        name = list(whole)[number % len(whole)]
        yield name, mutated(whole[name], rng)
