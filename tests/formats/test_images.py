"""An image's kind and size are read from its structure; what is no whole image is said."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mai_image.mai.errors import AnswerError
from mai_image.mai.formats import MAX_PIXELS, ImageHeader, inspect
from scripted_server import png

WHOLE = png(48, 32)


def jpeg(width: int, height: int) -> bytes:
    """The segments of a JPEG without any image data."""
    frame = struct.pack(">BHHB", 8, height, width, 3) + b"\x01\x11\0\x02\x11\x01\x03\x11\x01"
    segments = [(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0"), (0xC0, frame)]
    body = b"".join(b"\xff" + bytes([m]) + struct.pack(">H", len(d) + 2) + d for m, d in segments)
    return b"\xff\xd8" + body + b"\xff\xda\0\x02data\xff\xd9"


def test_png_gives_its_size():
    assert inspect(WHOLE) == ImageHeader("image/png", 48, 32)


def test_jpeg_gives_its_size():
    assert inspect(jpeg(640, 480)) == ImageHeader("image/jpeg", 640, 480)


@given(st.integers(0, len(WHOLE) - 1))
def test_png_cut_anywhere_is_refused(end: int):
    with pytest.raises(AnswerError):
        inspect(WHOLE[:end])


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_png_with_one_changed_byte_is_refused(at: int, by: int):
    changed = bytearray(WHOLE)
    changed[at] ^= by
    with pytest.raises(AnswerError):
        inspect(bytes(changed))


@given(st.binary(max_size=200))
def test_arbitrary_bytes_never_crash(data: bytes):
    for prefix in (b"", WHOLE[:8], b"\xff\xd8\xff"):
        with pytest.raises(AnswerError):
            inspect(prefix + data)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "nothing"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b'{"a": 1}', "JSON"),
        (b"GIF89a....", "GIF"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "WebP"),
        (b"BM" + bytes(60), "bytes of another format"),
    ],
)
def test_what_is_no_image_is_named(data: bytes, word: str):
    with pytest.raises(AnswerError, match=word):
        inspect(data)


def _claiming(width: int, height: int) -> bytes:
    import zlib

    kind_and_data = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    header = struct.pack(">I", 13) + kind_and_data + struct.pack(">I", zlib.crc32(kind_and_data))
    return WHOLE[:8] + header + WHOLE[33:]


def test_image_over_the_pixel_limit_is_refused_before_decoding():
    side = int(MAX_PIXELS**0.5)
    assert inspect(_claiming(side, side)).width == side
    with pytest.raises(AnswerError, match="pixels"):
        inspect(_claiming(side, side + 1))


def test_image_without_pixels_is_refused():
    with pytest.raises(AnswerError, match="0 x 5"):
        inspect(_claiming(0, 5))
