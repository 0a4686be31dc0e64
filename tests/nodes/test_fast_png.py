"""nodes/imaging/fast_png.py: with kornia_rs and without it an image has the same pixels."""

from __future__ import annotations

import contextlib
import io
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from unittest import mock

import numpy as np
import numpy.typing as npt
import pytest
import torch
from mai_image.mai.errors import AnswerError
from mai_image.mai.formats import inspect
from mai_image.nodes.imaging import codec, fast_png
from mai_image.nodes.imaging.codec import decode_image
from PIL import ExifTags, Image, ImageOps

Bytes = npt.NDArray[np.uint8]


@pytest.fixture
def usable() -> None:
    pytest.importorskip("kornia_rs")
    if fast_png.usable_decoder() is None:
        pytest.skip("this kornia_rs doesn't do what is needed")


def noise(height: int, width: int, seed: int = 0) -> Bytes:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def soft(height: int, width: int) -> Bytes:
    """Colours that run evenly: an encoder picks other filters for them than for noise."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x % 256, y % 256, (x + 2 * y) % 256], axis=2).astype(np.uint8)


def png(pixels: Bytes, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def exif(orientation: int) -> bytes:
    """The chunk of an image's EXIF with this orientation."""
    found = Image.Exif()
    found[ExifTags.Base.Orientation] = orientation
    return chunk(b"eXIf", found.tobytes()[6:])


def raw(rows: bytes, width: int, height: int, kind: bytes, extra: bytes = b"") -> bytes:
    """A PNG of these filtered rows; `kind` is depth, colour type, 0, 0, interlace."""
    header = chunk(b"IHDR", struct.pack(">II", width, height) + kind)
    body = extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + body


@contextlib.contextmanager
def without_kornia() -> Iterator[None]:
    """As where kornia_rs isn't installed."""
    with mock.patch.dict(sys.modules, {"kornia_rs.io": None}):
        fast_png.usable_decoder.cache_clear()
        assert fast_png.usable_decoder() is None
        yield
    fast_png.usable_decoder.cache_clear()


def decode_fast(data: bytes) -> Bytes | None:
    header = inspect(data)
    return fast_png.decode_plain(header.pixel_data(data), header)


@pytest.mark.usefixtures("usable")
@pytest.mark.parametrize("draw", [noise, soft])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (33, 65), (300, 211)])
@pytest.mark.parametrize("level", [0, 1, 9])
def test_both_decoders_give_the_same_pixels(
    draw: Callable[[int, int], Bytes], size: tuple[int, int], level: int
) -> None:
    pixels = draw(*size)
    data = png(pixels, compress_level=level)
    fast = decode_fast(data)
    assert fast is not None
    assert np.array_equal(fast, pixels)
    with_it = decode_image(data)
    with without_kornia():
        assert torch.equal(with_it, decode_image(data))


@pytest.mark.usefixtures("usable")
@pytest.mark.parametrize("kind", range(5))
def test_each_of_the_five_filters_is_undone_alike(kind: int) -> None:
    filtered = np.random.default_rng(kind).integers(0, 256, (40, 1 + 51 * 3), dtype=np.uint8)
    filtered[:, 0] = kind
    data = raw(filtered.tobytes(), 51, 40, b"\x08\x02\0\0\0")
    assert decode_fast(data) is not None
    fast = decode_image(data)
    with without_kornia():
        assert torch.equal(fast, decode_image(data))


@pytest.mark.usefixtures("usable")
@pytest.mark.parametrize(
    "extra",
    [chunk(b"gAMA", struct.pack(">I", 20_000)), chunk(b"sBIT", b"\5\6\5"),
     chunk(b"bKGD", bytes(6)), chunk(b"tEXt", b"Software\0x"), exif(1), exif(9),
     chunk(b"eXIf", b"junk"), exif(6) + exif(1), chunk(b"PLTE", bytes(9)), chunk(b"PLTE", b""),
     chunk(b"PLTE", bytes(9)) * 2],
    ids=["gamma", "significant bits", "background", "text", "upright", "no orientation",
         "damaged EXIF", "the last EXIF counts", "palette",
         "empty palette", "two palettes"],
)  # fmt: skip
def test_what_else_a_file_says_changes_no_pixel_and_no_decoder(extra: bytes) -> None:
    pixels = noise(4, 5)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    data = raw(rows, 5, 4, b"\x08\x02\0\0\0", extra)
    with mock.patch.object(codec, "_decode_by_pillow"):
        image = decode_image(data)
    assert np.array_equal(np.rint(image[0].numpy() * 255).astype(np.uint8), pixels)
    with without_kornia():
        assert torch.equal(image, decode_image(data))


@pytest.mark.usefixtures("usable")
@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("later", [False, True])
def test_an_image_is_turned_as_its_exif_says(orientation: int, later: bool) -> None:
    pixels = noise(4, 5)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    data = raw(rows, 5, 4, b"\x08\x02\0\0\0", b"" if later else exif(orientation))
    if later:
        data = data[:-12] + exif(orientation) + data[-12:]
    with Image.open(io.BytesIO(data)) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    assert not np.array_equal(upright, pixels)
    found = np.rint(decode_image(data)[0].numpy() * 255).astype(np.uint8)
    assert np.array_equal(found, upright)


@pytest.mark.usefixtures("usable")
def test_other_kinds_of_png_are_left_to_pillow() -> None:
    grey = io.BytesIO()
    Image.fromarray(noise(8, 8)).convert("L").save(grey, "PNG")
    for data in (
        grey.getvalue(),
        png(noise(8, 8), transparency=(1, 2, 3)),
        raw(bytes(1 + 6), 1, 1, b"\x10\x02\0\0\0"),
        raw(b"\0\1\2\3", 1, 1, b"\x08\x02\0\0\1"),
    ):
        assert decode_fast(data) is None


@pytest.mark.usefixtures("usable")
def test_an_image_that_would_hold_the_lock_too_long_is_left_to_pillow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = png(noise(4, 4))
    monkeypatch.setattr(fast_png, "MAX_PIXELS", {3: 15})
    assert decode_fast(data) is None


@pytest.mark.parametrize("usable", [True, False])
@pytest.mark.parametrize("rows", [bytes(31 * 10 - 1), b"\x09" * 31 * 10, b""])
def test_an_image_with_a_cut_row_or_an_unknown_filter_is_an_error_with_both(
    rows: bytes, usable: bool
) -> None:
    installed = contextlib.nullcontext() if usable else without_kornia()
    with installed, pytest.raises(AnswerError, match="can't be decoded"):
        decode_image(raw(rows, 10, 10, b"\x08\x02\0\0\0"))


def test_a_decoder_with_other_pixels_or_without_errors_does_not_pass_the_trial() -> None:
    def wrong(data: bytes, size: tuple[int, int], mode: str) -> Bytes:
        return np.zeros((*size, len(mode)), np.uint8)

    def lenient(data: bytes, size: tuple[int, int], mode: str) -> Bytes:
        shape = (*size, len(mode))
        return (np.arange(size[0] * size[1] * len(mode)) * 10).astype(np.uint8).reshape(shape)

    assert not fast_png.passes_trial(wrong)
    assert not fast_png.passes_trial(lenient)
