"""Files of images: the PNG that a service sends, and every file that isn't as it should be."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image, PngImagePlugin

from .answers import GARBAGE, PAGE

PNG_LEVEL = 1
"""Four times as fast as Pillow's default of 6 and a tenth larger."""

PNG_STRATEGY = zlib.Z_RLE
"""For areas of one colour: a little faster than the default and a fifth smaller."""

HUGE_BYTES = 65 * 2**20
"""Over the 64 MiB that a client should take."""

BOMB_SIDE = 30_000
"""Pixels a side of the image that a few bytes claim to be."""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

HEADER_END = 33
"""Where a PNG's first chunk, IHDR, ends."""

CREDENTIALS = struct.pack(">I4sI4s16s", 49, b"jumb", 41, b"jumd", b"c2pa") + b"\x03c2pa\0emulated"
"""The outer boxes of a manifest store (ISO 19566-5), with nothing that could be verified."""


def png_file(image: Image.Image) -> bytes:
    """The PNG, with a text chunk that says where it comes from."""
    note = PngImagePlugin.PngInfo()
    note.add_text("Software", "MAI Image emulator")
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=PNG_LEVEL, compress_type=PNG_STRATEGY, pnginfo=note)
    return buffer.getvalue()


def with_credentials(png: bytes) -> bytes:
    """A PNG with content credentials right after its header: a caBX chunk that holds an empty
    placeholder in place of a signed manifest (C2PA 2.1, section A.3.3)."""
    if not png.startswith(PNG_SIGNATURE):
        return png
    return png[:HEADER_END] + _chunk(b"caBX", CREDENTIALS) + png[HEADER_END:]


def image_file(image: Image.Image, form: str | None = None) -> bytes:
    """The image's file: "jpeg", "webp", a form of directives.ANSWERS, otherwise a PNG."""
    if form in ("jpeg", "webp"):
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, form.upper(), quality=90)
        return buffer.getvalue()
    if form in _NO_IMAGES:
        return _NO_IMAGES[form]
    if form == "huge":
        return bytes(HUGE_BYTES)
    if form == "bomb":
        return _bomb()
    if form in _MODES:
        image = image.convert(_MODES[form])
    elif form == "16-bit":
        grey = image.convert("L").convert("I").point(lambda value: value * 257)
        image = grey.convert("I;16")
    data = png_file(image)
    if form == "wrong-crc":
        # The last chunk, IEND, has 12 bytes; before it stands the checksum of the pixels.
        data = data[:-13] + bytes([data[-13] ^ 1]) + data[-12:]
    return data[: len(data) // 2] if form == "truncated-picture" else data


_NO_IMAGES = {
    "html": PAGE,
    "garbage": GARBAGE,
    "empty-body": b"",
    "not-a-picture": b"This is no image. " * 50,
}

_MODES = {"alpha": "RGBA", "grey": "L", "palette": "P"}


def _bomb() -> bytes:
    """A PNG whose header claims 900 megapixels, and whose data are one row."""
    header = struct.pack(">IIBBBBB", BOMB_SIDE, BOMB_SIDE, 8, 2, 0, 0, 0)
    row = zlib.compress(bytes(BOMB_SIDE * 3 + 1))
    chunks = ((b"IHDR", header), (b"IDAT", row), (b"IEND", b""))
    return PNG_SIGNATURE + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG: length, name, data, checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
