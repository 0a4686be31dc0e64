"""The parts that image files are made of, found without decoding, and new ones put between them.

PNG: chunks (ISO/IEC 15948, section 5). JPEG: segments (ITU T.81, annex B). WebP: chunks of a RIFF
file (RFC 9649). AVIF: boxes (ISO/IEC 14496-12, section 4).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..errors import ImageError
from .headers import MAX_CHUNKS, PNG_SIGNATURE

PNG, JPEG, WEBP, AVIF = "image/png", "image/jpeg", "image/webp", "image/avif"

_JPEG_START = b"\xff\xd8"
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_SCAN, _END = 0xDA, 0xD9

MAX_SEGMENT = 65_533
"""Bytes that a JPEG's segment can hold behind its length."""


class Part(NamedTuple):
    """A chunk, segment or box: its type, where it starts and ends in the file, and its content."""

    kind: bytes
    start: int
    end: int
    content: bytes


def media_type_of(data: bytes) -> str:
    """PNG, JPEG, WEBP or AVIF, by how the file begins; "" for any other."""
    if data.startswith(PNG_SIGNATURE):
        return PNG
    if data.startswith(b"\xff\xd8\xff"):
        return JPEG
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return WEBP
    if data[4:8] == b"ftyp" and data[8:12] in (b"avif", b"avis"):
        return AVIF
    return ""


def png_chunks(data: bytes) -> Iterator[Part]:
    """All chunks up to IEND; ImageError: the file ends before it, or is damaged."""
    at, count = len(PNG_SIGNATURE), 0
    while at + 12 <= len(data) and count < MAX_CHUNKS:
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            break
        content = data[at + 8 : end - 4]
        if (
            kind != b"IDAT"
            and zlib.crc32(kind + content) != struct.unpack_from(">I", data, end - 4)[0]
        ):
            raise damaged("PNG", f"the checksum of the chunk at byte {at} is wrong")
        yield Part(kind, at, end, content)
        if kind == b"IEND":
            return
        at, count = end, count + 1
    raise damaged("PNG", "it ends before its last chunk")


def jpeg_segments(data: bytes) -> Iterator[Part]:
    """The segments before the first scan, their type the marker's second byte; ImageError."""
    at = len(_JPEG_START)
    while at + 4 <= len(data):
        marker = data[at + 1]
        if data[at] != 0xFF or marker == _END:
            break
        if marker == 0xFF or marker in _STANDALONE:
            at += 1 if marker == 0xFF else 2
            continue
        end = at + 2 + int(struct.unpack_from(">H", data, at + 2)[0])
        if end > len(data) or end < at + 4:
            break
        if marker == _SCAN:
            return
        yield Part(bytes((marker,)), at, end, data[at + 4 : end])
        at = end
    raise damaged("JPEG", "it ends before its image begins")


def webp_chunks(data: bytes) -> Iterator[Part]:
    """The chunks of a WebP; ImageError: it ends early."""
    at, last, count = 12, 8 + int(struct.unpack_from("<I", data.ljust(8, b"\0"), 4)[0]), 0
    if last > len(data):
        raise damaged("WebP", "it ends early")
    while at + 8 <= last and count < MAX_CHUNKS:
        kind, length = struct.unpack_from("<4sI", data, at)
        end = at + 8 + length + length % 2
        if at + 8 + length > last:
            raise damaged("WebP", "it ends early")
        yield Part(kind, at, min(end, last), data[at + 8 : at + 8 + length])
        at, count = end, count + 1


def avif_boxes(data: bytes) -> Iterator[Part]:
    """The boxes at the top of an AVIF; ImageError: it ends early."""
    at, count = 0, 0
    while at + 8 <= len(data) and count < MAX_CHUNKS:
        length, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if length == 1 and at + 16 <= len(data):
            (length,), head = struct.unpack_from(">Q", data, at + 8), 16
        end = len(data) if length == 0 else at + length
        if end > len(data) or end < at + head:
            raise damaged("AVIF", "it ends early")
        yield Part(kind, at, end, data[at + head : end])
        at, count = end, count + 1


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG: length, type, content, checksum."""
    checksum = zlib.crc32(content, zlib.crc32(kind))
    return b"".join((struct.pack(">I", len(content)), kind, content, struct.pack(">I", checksum)))


def webp_chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a WebP, filled up to an even length."""
    return kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def png_text(keyword: str, text: str) -> bytes:
    """A text chunk: tEXt for what Latin-1 can write, as core's Save Image makes it, else iTXt."""
    try:
        return png_chunk(b"tEXt", keyword.encode("latin-1") + b"\0" + text.encode("latin-1"))
    except UnicodeEncodeError:
        return png_chunk(
            b"iTXt", keyword.encode() + b"\0\0\0\0\0" + text.encode("utf-8", "replace")
        )


def add_png_texts(data: bytes, texts: Mapping[str, str]) -> bytes:
    """A PNG with these text chunks before its pixels."""
    return before_pixels(data, b"".join(png_text(*each) for each in texts.items()))


def before_pixels(data: bytes, chunks: bytes) -> bytes:
    """A PNG with these chunks before its first IDAT."""
    at = next((part.start for part in png_chunks(data) if part.kind == b"IDAT"), None)
    if at is None:
        raise damaged("PNG", "it has no pixels")
    return b"".join((data[:at], chunks, data[at:]))


def damaged(media: str, where: str) -> ImageError:
    """The error of a file that can't be followed."""
    return ImageError(f"The {media} file is damaged: {where}.", "Take a whole copy of it.")
