"""What a photograph says besides its pixels, taken out before it is sent.

Cameras write the place, the time and their serial number into a file, programs their comments and
thumbnails. The nodes send pixels alone; here the file's own structure is followed, so that no pixel
is decoded and encoded again. Only a photograph that is stored sideways needs Pillow.

Sources: PNG is ISO/IEC 15948, JPEG ITU T.81 annex B, EXIF's orientation CIPA DC-008 (tag 274).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path

from ..mai.errors import ImageError

UPRIGHT = 1
"""The orientation of a file whose first row is the top of the image."""

_ORIENTATION_TAG, _SHORT = 274, 3
_TURNS = range(2, 9)
_MOST_TAGS = 1000

_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_CHUNKS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
"""What a PNG's pixels need."""

_JPEG_START = b"\xff\xd8"
_JPEG_END, _JPEG_SCAN, _JFIF, _EXIF, _ADOBE, _COMMENT = 0xD9, 0xDA, 0xE0, 0xE1, 0xEE, 0xFE
_LENGTHLESS = frozenset({0x01, *range(0xD0, 0xD9)})
_PLAIN_JFIF = 16
"""Bytes of a JFIF segment without a thumbnail."""


def without_metadata(data: bytes) -> tuple[bytes, int]:
    """A PNG or JPEG reduced to its pixels, and its orientation (1 to 8) as EXIF gives it.

    A file of another format, or one that is damaged, comes back as far as it can be followed: who
    reads it next finds that out.
    """
    if data.startswith(_PNG_START):
        return _reduced(data[:8], _png_chunks(data))
    if data.startswith(_JPEG_START):
        return _reduced(data[:2], _jpeg_segments(data))
    return data, UPRIGHT


def turn_upright(data: bytes, orientation: int, path: Path) -> bytes:
    """The image turned as its orientation says, as PNG. ImageError: there is no Pillow."""
    try:
        from PIL import Image
    except ImportError:
        raise ImageError(
            f"{path} is stored sideways, and turning it upright needs Pillow.",
            "Install it (`pip install pillow`), save the file upright, or send it as it is with "
            "--keep-metadata, which also sends camera and place.",
        ) from None
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
            colours = image.convert("RGB") if image.mode in ("CMYK", "YCbCr") else image
            stream = io.BytesIO()
            colours.transpose(turns[orientation]).save(stream, "PNG")
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageError(
            f"{path} can't be decoded ({type(error).__name__}).", "Save it as PNG or JPEG first."
        ) from None
    return stream.getvalue()


def _reduced(start: bytes, parts: Iterator[tuple[bytes, bool, bytes]]) -> tuple[bytes, int]:
    """The parts that are kept, and the first orientation that any of them says."""
    kept, orientation = [start], UPRIGHT
    for part, is_kept, exif in parts:
        if is_kept:
            kept.append(part)
        if exif and orientation == UPRIGHT:
            orientation = _orientation(exif)
    return b"".join(kept), orientation


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bool, bytes]]:
    """Each chunk, whether its pixels need it, and its EXIF; nothing after the last one."""
    at = len(_PNG_START)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        exif = data[at + 8 : end - 4] if kind == b"eXIf" else b""
        yield data[at:end], kind in _PNG_CHUNKS, exif
        if kind == b"IEND":
            return
        at = end


def _jpeg_segments(data: bytes) -> Iterator[tuple[bytes, bool, bytes]]:
    """Each segment, whether its pixels need it, and its EXIF; nothing after the end of the image,
    where phones append films and other images."""
    at = 2
    while at + 2 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # filling
            at += 1
            continue
        if marker == _JPEG_END:
            yield data[at : at + 2], True, b""
            return
        if marker in _LENGTHLESS:
            yield data[at : at + 2], True, b""
            at += 2
            continue
        if at + 4 > len(data):
            return
        end = at + 2 + int(struct.unpack_from(">H", data, at + 2)[0])
        segment, body = data[at:end], data[at + 4 : end]
        if marker == _JPEG_SCAN:
            end = _end_of_scan(data, end)
            segment = data[at:end]
        exif = body[6:] if marker == _EXIF and body.startswith(b"Exif\0") else b""
        yield segment, _is_needed(marker, body), exif
        at = end


def _is_needed(marker: int, body: bytes) -> bool:
    """Whether a segment is needed to decode the pixels: no comment, and of those for applications
    only the plain JFIF header and Adobe's, which says how colours are stored."""
    if marker == _JFIF:
        return body.startswith(b"JFIF\0") and len(body) + 2 == _PLAIN_JFIF
    if marker == _ADOBE:
        return body.startswith(b"Adobe") and len(body) == 12
    return marker != _COMMENT and not 0xE0 <= marker <= 0xEF


def _end_of_scan(data: bytes, at: int) -> int:
    """Where a scan's data ends: at the first marker that is no restart and no escaped byte."""
    while True:
        at = data.find(b"\xff", at)
        if at < 0 or at + 1 >= len(data):
            return len(data)
        if data[at + 1] != 0 and not 0xD0 <= data[at + 1] <= 0xD7:
            return at
        at += 2


def _orientation(exif: bytes) -> int:
    """The orientation in EXIF's TIFF header and its first directory; upright where it says none."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    try:
        if order is None:
            return UPRIGHT
        (directory,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, directory)
        for entry in range(min(count, _MOST_TAGS)):
            tag, kind, _, value = struct.unpack_from(
                f"{order}HHIH", exif, directory + 2 + 12 * entry
            )
            if (tag, kind) == (_ORIENTATION_TAG, _SHORT):
                return value if value in _TURNS else UPRIGHT
    except struct.error:
        pass
    return UPRIGHT
