"""nodes/imaging/png_process.py: large PNGs in a process of their own, and what when it fails."""

from __future__ import annotations

import io
import os
import struct
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pytest
from mai_image.mai.errors import AnswerError
from mai_image.mai.formats import inspect
from mai_image.nodes.imaging import codec, fast_png, png_process
from mai_image.nodes.imaging.png_process import PngProcess, Unavailable
from PIL import Image

Bytes = npt.NDArray[np.uint8]


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[PngProcess]:
    """A process that is ready, for every PNG however small, and decodes for the nodes."""
    pytest.importorskip("kornia_rs")
    if fast_png.usable_decoder() is None:
        pytest.skip("this kornia_rs doesn't do what is needed")
    running = PngProcess()
    assert running.wait_until_ready()
    monkeypatch.setattr(fast_png, "MAX_PIXELS", {})
    monkeypatch.setattr(codec, "png_process", running)
    yield running
    running.stop()


def noise(height: int, width: int, channels: int) -> Bytes:
    return np.random.default_rng(1).integers(0, 256, (height, width, channels), dtype=np.uint8)


def png(pixels: Bytes) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def strips_of(process: PngProcess, data: bytes) -> list[tuple[int, Bytes]]:
    header = inspect(data)
    pixels = header.pixel_data(data)
    return [(top, strip.copy()) for top, strip in process.strips(pixels, header)]


def as_saved(data: bytes) -> Bytes:
    done = codec.decode_batch([data])
    colours = np.clip(255.0 * done.batch[0].numpy(), 0, 255).astype(np.uint8)
    alpha = np.clip(255.0 * (1 - done.mask[0]).numpy(), 0, 255).astype(np.uint8)
    return np.concatenate((colours, alpha[..., np.newaxis]), axis=2)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("size", [(1, 1), (3, 70_000), (700, 211)])
def test_the_strips_are_the_image(
    process: PngProcess, size: tuple[int, int], channels: int
) -> None:
    pixels = noise(*size, channels)
    strips = strips_of(process, png(pixels))
    assert (strips[0][0], len(strips[0][1])) == (0, 0)
    assert np.array_equal(np.concatenate([strip for _, strip in strips]), pixels)
    assert np.array_equal(as_saved(png(pixels))[..., :channels], pixels)


def test_a_damaged_file_is_unavailable_and_pillow_names_the_fault(process: PngProcess) -> None:
    header = struct.pack(">II5B", 10, 10, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\x09" * 31 * 10)  # there is no filter 9
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", rows), chunk(b"IEND", b""))
    damaged = b"\x89PNG\r\n\x1a\n" + b"".join(parts)
    with pytest.raises(Unavailable):
        strips_of(process, damaged)
    assert process.wait_until_ready()
    with pytest.raises(AnswerError, match="can't be decoded"):
        codec.decode_batch([damaged])


def test_a_process_that_dies_halfway_costs_no_image(process: PngProcess) -> None:
    pixels = noise(900, 900, 4)
    header = inspect(png(pixels))
    process._process.kill()  # type: ignore[union-attr]
    with pytest.raises(Unavailable):
        list(process.strips(png(pixels), header))
    assert np.array_equal(as_saved(png(pixels)), pixels)
    assert process.wait_until_ready()
    assert np.array_equal(as_saved(png(pixels)), pixels)


def test_an_image_that_is_given_up_halfway_doesn_t_get_into_the_next_one(
    process: PngProcess,
) -> None:
    first, second = noise(900, 900, 3), noise(600, 500, 4)
    data = png(first)
    strips = process.strips(data, inspect(data))
    next(strips), next(strips)
    strips.close()
    assert process.wait_until_ready()
    strips_of_second = strips_of(process, png(second))
    assert np.array_equal(np.concatenate([strip for _, strip in strips_of_second]), second)


def test_threads_get_each_their_own_image(process: PngProcess) -> None:
    images = [noise(300 + 10 * i, 200, 3 + i % 2) for i in range(8)]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda image: strips_of(process, png(image)), images))
    for strips, image in zip(found, images, strict=True):
        assert np.array_equal(np.concatenate([strip for _, strip in strips]), image)


def test_the_process_ends_after_a_while_and_starts_again() -> None:
    pytest.importorskip("kornia_rs")
    process = PngProcess(idle=0.2)
    assert process.wait_until_ready()
    number = process._process.pid  # type: ignore[union-attr]
    began = time.monotonic()
    while process._process is not None and time.monotonic() - began < 20:
        time.sleep(0.05)
    process.stop()  # waits until it is gone
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)
    assert process.wait_until_ready()
    process.stop()


def test_the_first_large_image_doesn_t_wait_for_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fast_png, "MAX_PIXELS", {})
    monkeypatch.setattr(png_process.PngProcess, "_start", lambda self: None)
    monkeypatch.setattr(codec, "png_process", PngProcess())
    pixels = noise(64, 64, 4)
    assert np.array_equal(as_saved(png(pixels)), pixels)
