"""The mark in a file: where XMP stands in each format, how it is read, and how it is put there.

Sources: XMP Specification Part 3 (Adobe, 2020), sections 1.1.3 JPEG and 1.1.5 PNG; RFC 9649 (WebP).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from itertools import takewhile

from ..errors import ImageError
from .parts import (
    AVIF,
    JPEG,
    MAX_SEGMENT,
    PNG,
    WEBP,
    Part,
    avif_boxes,
    before_pixels,
    damaged,
    jpeg_segments,
    media_type_of,
    png_chunk,
    png_chunks,
    webp_chunk,
    webp_chunks,
)
from .xmp import MAX_PACKET, Mark, add_to_packet, build_packet, read_packet

KEYWORD = b"XML:com.adobe.xmp\0"
"""With what the iTXt chunk of a PNG's XMP begins."""

_ADOBE = b"http://ns.adobe.com/xap/1.0/\0"
"""With what the APP1 segment of a JPEG's XMP begins."""

_XMP_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
"""With what the uuid box begins in which some programs put an AVIF's XMP."""

_APP0, _APP1, _APP1_MARKER = b"\xe0", b"\xe1", b"\xff\xe1"

_HAS_XMP, _HAS_ALPHA = 0x04, 0x10
"""Bits of the first byte of a WebP's VP8X chunk."""


def read_mark(data: bytes) -> Mark | None:
    """The mark of a PNG, JPEG or WebP; None where it has none. ImageError: it can't be followed."""
    packet = find_packet(data)
    return None if packet is None else read_packet(packet).mark


def write_mark(data: bytes, mark: Mark) -> bytes:
    """A PNG, JPEG or WebP with the mark in its XMP; every other byte of it stays as it is.

    A file that says the same already comes back unchanged. ImageError: another format, a damaged
    file, or XMP that can't be added to. A manifest would be broken: ask `find_manifest` before.
    """
    media_type = media_type_of(data)
    if media_type == PNG:
        return _write_png(data, mark)
    if media_type == JPEG:
        return _write_jpeg(data, mark)
    if media_type == WEBP:
        return _write_webp(data, mark)
    raise ImageError(
        "A mark can be written into PNG, JPEG and WebP files; this is another.",
        "Save the image as one of these.",
    )


def find_packet(data: bytes) -> bytes | None:
    """The XMP of a PNG, JPEG or WebP, None where it has none; ImageError: a damaged file.

    Of an AVIF it is what stands in a box of its own, as c2pa-python writes it.
    """
    found = _xmp_part(data)
    if found is None:
        return None
    if found.kind == b"iTXt":
        return _text_of(found)
    return found.content.removeprefix(_ADOBE).removeprefix(_XMP_BOX)


def _xmp_part(data: bytes) -> Part | None:
    media_type = media_type_of(data)
    parts: Iterator[Part] = iter(())
    if media_type == PNG:
        parts = (each for each in png_chunks(data)
                 if each.kind == b"iTXt" and each.content.startswith(KEYWORD))  # fmt: skip
    elif media_type == JPEG:
        parts = (each for each in jpeg_segments(data)
                 if each.kind == _APP1 and each.content.startswith(_ADOBE))  # fmt: skip
    elif media_type == WEBP:
        parts = (each for each in webp_chunks(data) if each.kind == b"XMP ")
    elif media_type == AVIF:
        parts = (each for each in avif_boxes(data)
                 if each.kind == b"uuid" and each.content.startswith(_XMP_BOX))  # fmt: skip
    return next(parts, None)


def _text_of(chunk: Part) -> bytes:
    """The text of an iTXt chunk, unpacked where it is compressed."""
    head, body = chunk.content[len(KEYWORD) : len(KEYWORD) + 2], chunk.content[len(KEYWORD) + 2 :]
    try:
        _, _, text = body.split(b"\0", 2)
        return zlib.decompressobj().decompress(text, MAX_PACKET + 1) if head[:1] == b"\1" else text
    except (ValueError, zlib.error):
        raise damaged("PNG", "its XMP can't be unpacked") from None


def _write_png(data: bytes, mark: Mark) -> bytes:
    found = _xmp_part(data)
    if found is None:
        chunk = png_chunk(b"iTXt", KEYWORD + bytes(4) + build_packet(mark))
        return before_pixels(data, chunk)
    packet = _text_of(found)
    added = add_to_packet(packet, mark)
    if added == packet:
        return data
    chunk = png_chunk(b"iTXt", KEYWORD + bytes(4) + added)
    return data[: found.start] + chunk + data[found.end :]


def _write_jpeg(data: bytes, mark: Mark) -> bytes:
    found = _xmp_part(data)
    if found is None:
        # JFIF and Exif come first: some readers look for them there alone.
        heads = takewhile(
            lambda each: each.kind == _APP0 or each.content.startswith(b"Exif\0"),
            jpeg_segments(data),
        )
        start = end = max((part.end for part in heads), default=2)
        packet = build_packet(mark)
    else:
        start, end = found.start, found.end
        before = found.content.removeprefix(_ADOBE)
        packet = add_to_packet(before, mark)
        if packet == before:
            return data
    content = _ADOBE + packet
    if len(content) > MAX_SEGMENT:
        raise ImageError(
            "The file's XMP is full: a JPEG takes 65,502 bytes.", "Mark it without a prompt."
        )
    segment = _APP1_MARKER + struct.pack(">H", len(content) + 2) + content
    return data[:start] + segment + data[end:]


def _write_webp(data: bytes, mark: Mark) -> bytes:
    chunks = list(webp_chunks(data))
    found = next((each for each in chunks if each.kind == b"XMP "), None)
    packet = build_packet(mark) if found is None else add_to_packet(found.content, mark)
    if found is not None and packet == found.content:
        return data
    head = _extended_header(chunks)
    body = [data[each.start : each.end] for each in chunks if each.kind not in (b"VP8X", b"XMP ")]
    content = b"".join((b"WEBP", head, *body, webp_chunk(b"XMP ", packet)))
    behind = data[8 + int(struct.unpack_from("<I", data, 4)[0]) :]
    return b"".join((b"RIFF", struct.pack("<I", len(content)), content, behind))


def _extended_header(chunks: list[Part]) -> bytes:
    """The VP8X chunk of a WebP that has XMP: its own with that bit, or a new one."""
    if not chunks:
        raise damaged("WebP", "it has no image")
    first = chunks[0]
    if first.kind == b"VP8X" and len(first.content) >= 10:
        return webp_chunk(b"VP8X", bytes((first.content[0] | _HAS_XMP,)) + first.content[1:])
    if first.kind == b"VP8L" and len(first.content) >= 5:
        (bits,) = struct.unpack_from("<I", first.content, 1)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        flags = _HAS_XMP | (_HAS_ALPHA if bits >> 28 & 1 else 0)
    elif first.kind == b"VP8 " and len(first.content) >= 10:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", first.content, 6))
        flags = _HAS_XMP
    else:
        raise damaged("WebP", "it has no image")
    sides = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    return webp_chunk(b"VP8X", bytes((flags, 0, 0, 0)) + sides)
