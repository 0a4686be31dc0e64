"""What an image file is, read from its own structure, without decoding a pixel."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from .errors import AnswerError

MAX_PIXELS = 64 * 1024 * 1024
"""64 megapixels: sixteen times the largest image of any model. More is not decoded."""

MAX_PARTS = 65_536
"""Parts of a PNG. Encoders cut 17 MB into 4,000 at most; millions of empty ones take minutes."""

MAX_SCANS = 100
"""Scans of a progressive JPEG. Encoders make about 10; each costs as much time as a whole image,
however few bytes it has."""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_FOR_PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"eXIf", b"IEND"})
_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_JPEG_FRAMES = frozenset(
    {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
)
_JPEG_SCAN = b"\xff\xda"
_JPEG_LENGTHLESS = frozenset({0x01, *range(0xD0, 0xD9)})


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """The kind and size of an image file: MIME type, width and height in pixels."""

    media_type: str
    width: int
    height: int


def inspect(data: bytes) -> ImageHeader:
    """The kind and size of a whole PNG or JPEG file.

    A PNG's chunks are walked and their checksums compared (ISO/IEC 15948, section 5), a JPEG's
    segments up to its frame header (ITU T.81, annex B). AnswerError: another format, a file that
    ends early or is damaged, an empty image, or one of more than MAX_PIXELS.
    """
    if data.startswith(PNG_SIGNATURE):
        image = ImageHeader("image/png", *_png_size(data))
    elif data.startswith(_JPEG_START):
        image = ImageHeader("image/jpeg", *_jpeg_size(data))
    else:
        raise AnswerError(
            f"The service sent {_guess(data)} instead of a PNG image.",
            "Queue again; if it comes back, check that the endpoint is the MAI service itself.",
        )
    pixels = image.width * image.height
    if pixels == 0 or pixels > MAX_PIXELS:
        raise AnswerError(
            f"The image that came back is {image.width} x {image.height} pixels, "
            f"which is outside what is decoded (1 to {MAX_PIXELS} pixels).",
            "Check that the endpoint is the MAI service itself: no MAI model makes such a size.",
        )
    return image


def plain(data: bytes) -> bytes:
    """A whole PNG reduced to the parts that its pixels need; a JPEG as it is.

    Texts and colour profiles are compressed: a decoder whose limits another node pack has raised
    would unpack gigabytes from a small file.
    """
    if not data.startswith(PNG_SIGNATURE):
        return data
    view = memoryview(data)
    kept = [view[: len(PNG_SIGNATURE)]]
    kept += [view[start:end] for kind, start, end in _parts(data) if kind in _FOR_PIXELS]
    return data if sum(map(len, kept)) == len(data) else b"".join(kept)


def kinds(data: bytes) -> set[bytes]:
    """The names of a PNG's parts."""
    return {kind for kind, _, _ in _parts(data)}


def _parts(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of each of a PNG's parts, nothing checked."""
    at = len(PNG_SIGNATURE)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        yield kind, at, at + 12 + length
        at += 12 + length


def _damaged(kind: str, where: str) -> AnswerError:
    return AnswerError(
        f"The {kind} image that came back is damaged: {where}.",
        "Queue again to ask for a new one; a proxy that cuts long answers is a usual cause.",
    )


def _png_size(data: bytes) -> tuple[int, int]:
    view, at, size = memoryview(data), len(PNG_SIGNATURE), (0, 0)
    first, parts = True, 0
    while at + 12 <= len(data) and parts < MAX_PARTS:
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            break
        (checksum,) = struct.unpack_from(">I", data, end - 4)
        if zlib.crc32(view[at + 4 : end - 4]) != checksum:
            raise _damaged("PNG", f"the checksum of a part at byte {at} is wrong")
        if first:
            if kind != b"IHDR" or length != 13:
                raise _damaged("PNG", "it has no header")
            size, first = struct.unpack_from(">II", data, at + 8), False
        if kind == b"IEND":
            return size[0], size[1]
        at, parts = end, parts + 1
    if parts == MAX_PARTS:
        raise _damaged("PNG", f"it has more than {MAX_PARTS} parts")
    raise _damaged("PNG", f"it ends after {len(data)} bytes, before its last part")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    if _JPEG_END not in data[-64:]:
        raise _damaged("JPEG", f"it ends after {len(data)} bytes, without an end mark")
    if data.count(_JPEG_SCAN) > MAX_SCANS:
        raise _damaged("JPEG", f"it has more than {MAX_SCANS} scans")
    at = 2
    while at + 9 <= len(data):
        if data[at] != 0xFF:
            raise _damaged("JPEG", f"no segment starts at byte {at}")
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _JPEG_LENGTHLESS:
            at += 2
        elif marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        else:
            at += 2 + int(struct.unpack_from(">H", data, at + 2)[0])
    raise _damaged("JPEG", "it has no frame header")


def _guess(data: bytes) -> str:
    """What a body that isn't a PNG or JPEG looks like, in words for an error text."""
    head = data[:64].lstrip().lower()
    if not data:
        return "nothing"
    if head.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page"
    if head.startswith((b"{", b"[")):
        return "JSON text"
    if head.startswith(b"gif8"):
        return "a GIF"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "a WebP image"
    return f"{len(data)} bytes of another format"
