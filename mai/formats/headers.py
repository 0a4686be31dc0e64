"""What an image file is, read from its own structure, without decoding a pixel."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

from ..errors import AnswerError

MAX_PIXELS = 64 * 1024 * 1024
"""64 megapixels: sixteen times the largest image of any model. More is not decoded."""

MAX_CHUNKS = 65_536
"""Chunks of a PNG. Encoders cut 17 MB into 4,000 at most; millions of empty ones take minutes."""

MAX_SCANS = 100
"""Scans of a progressive JPEG. Encoders make about 10; each costs as much time as a whole image,
however few bytes it has."""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PLAIN_CHUNKS = frozenset({b"IHDR", b"IDAT", b"IEND"})
_RGB_CHUNKS = _PLAIN_CHUNKS | {b"tRNS", b"eXIf"}
"""What the pixels of RGB and RGBA need; a palette is only a hint beside them."""
_PIXEL_CHUNKS = _RGB_CHUNKS | {b"PLTE"}
_PLAIN_CHANNELS = {bytes((8, 2, 0, 0, 0)): 3, bytes((8, 6, 0, 0, 0)): 4}
"""The end of IHDR: bit depth 8, colour type RGB or RGBA, deflate, the usual filters, not
interlaced."""

_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_JPEG_FRAMES = frozenset(
    {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
)
_JPEG_SCAN = b"\xff\xda"
_JPEG_LENGTHLESS = frozenset({0x01, *range(0xD0, 0xD9)})


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What the structure of an image file says: its MIME type, width and height in pixels.

    `pixel_ranges` are the starts and ends of the bytes that a decoder needs. `plain_channels`
    is 3 for a PNG of 8-bit RGB and 4 for one of 8-bit RGBA, not interlaced and without colour key,
    and 0 for every other file. `exif` is what a PNG's eXIf chunk holds.
    """

    media_type: str
    width: int
    height: int
    plain_channels: int = field(default=0, compare=False)
    pixel_ranges: tuple[tuple[int, int], ...] = field(default=(), compare=False, repr=False)
    exif: bytes = field(default=b"", compare=False, repr=False)

    def pixel_data(self, data: bytes) -> bytes:
        """The file `data` that was inspected, reduced to what its pixels need.

        A PNG's texts and colour profiles are compressed: a decoder whose limits another node pack
        has raised would unpack gigabytes from a small file.
        """
        if self.pixel_ranges == ((0, len(data)),):
            return data
        view = memoryview(data)
        return b"".join(view[start:end] for start, end in self.pixel_ranges)


def inspect(data: bytes, max_pixels: int = MAX_PIXELS) -> ImageHeader:
    """What a complete PNG or JPEG file is, without decoding it.

    A PNG's chunks are walked once and their checksums compared (ISO/IEC 15948, section 5), a JPEG's
    segments up to its frame header (ITU T.81, annex B). AnswerError: another format, a file that
    ends early or is damaged, an empty image, or one of more than `max_pixels`.
    """
    if data.startswith(PNG_SIGNATURE):
        header = _inspect_png(data)
    elif data.startswith(_JPEG_START):
        header = _inspect_jpeg(data)
    else:
        raise AnswerError(
            f"The service sent {_guess(data)} instead of a PNG image.",
            "Queue again; if it comes back, check that the endpoint is the MAI service itself.",
        )
    pixels = header.width * header.height
    if pixels == 0 or pixels > max_pixels:
        raise AnswerError(
            f"The image that came back is {header.width} x {header.height} pixels, "
            f"which is outside what is decoded (1 to {max_pixels:,} pixels).",
            "Check that the endpoint is the MAI service itself: no MAI model makes such a size.",
        )
    return header


def _inspect_png(data: bytes) -> ImageHeader:
    view, at, count = memoryview(data), len(PNG_SIGNATURE), 0
    ranges, types, exif = [(0, at)], set(), b""
    channels = _PLAIN_CHANNELS.get(data[24:29], 0)
    needed = _RGB_CHUNKS if channels else _PIXEL_CHUNKS
    while at + 12 <= len(data) and count < MAX_CHUNKS:
        length, chunk_type = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            break
        (checksum,) = struct.unpack_from(">I", data, end - 4)
        if zlib.crc32(view[at + 4 : end - 4]) != checksum:
            raise _damaged("PNG", f"the checksum of the chunk at byte {at} is wrong")
        if count == 0 and (chunk_type, length) != (b"IHDR", 13):
            raise _damaged("PNG", "it has no header")
        if chunk_type in needed:
            types.add(chunk_type)
            if ranges[-1][1] == at:
                ranges[-1] = (ranges[-1][0], end)
            else:
                ranges.append((at, end))
        if chunk_type == b"eXIf":
            exif = data[at + 8 : end - 4]
        if chunk_type == b"IEND":
            width, height = struct.unpack_from(">II", data, 16)
            plain = channels if types - {b"eXIf"} == _PLAIN_CHUNKS else 0
            return ImageHeader("image/png", width, height, plain, tuple(ranges), exif)
        at, count = end, count + 1
    if count == MAX_CHUNKS:
        raise _damaged("PNG", f"it has more than {MAX_CHUNKS} chunks")
    raise _damaged("PNG", f"it ends after {len(data)} bytes, before its last chunk")


def _inspect_jpeg(data: bytes) -> ImageHeader:
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
            return ImageHeader("image/jpeg", width, height, pixel_ranges=((0, len(data)),))
        else:
            at += 2 + int(struct.unpack_from(">H", data, at + 2)[0])
    raise _damaged("JPEG", "it has no frame header")


def _damaged(media: str, where: str) -> AnswerError:
    return AnswerError(
        f"The {media} image that came back is damaged: {where}.",
        "Queue again to ask for a new one; a proxy that cuts long answers is a usual cause.",
    )


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
