"""PNG from pixels in half of Save Image's time, for a file of the same size.

Save Image has Pillow try five filters on every row and pack the whole in one thread. Here each row
is its difference to the one above (the filter "up"), and strips are packed side by side, each in
the way that a sample of it shows to be best (benchmarks/README.md has the numbers).
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from ...mai.formats import PNG_SIGNATURE, png_chunk

Bytes = npt.NDArray[np.uint8]

STRIP_BYTES = 1 << 20
"""Of pixels that are packed at a time: large enough that what zlib can't look back for is under
0.5 % of the file."""

SAMPLE_BYTES = 1 << 16
"""Of each strip, on which the ways to pack it are compared. Half of that, ten rows of a large
image, misjudges drawings."""

WAYS = (
    (6, zlib.Z_RLE),  # film grain and noise: nothing is ever found again
    (1, zlib.Z_DEFAULT_STRATEGY),
    (4, zlib.Z_DEFAULT_STRATEGY),
)
"""zlib's level and strategy, the fastest first."""

GOOD_ENOUGH = 1.03
"""A faster way is taken for a sample that is at most this much larger than the smallest."""

THREADS = min(4, os.cpu_count() or 1)

_COLOUR_TYPES = {1: 0, 3: 2, 4: 6}
"""IHDR's number for grey, RGB and RGBA (ISO/IEC 15948, table 11.1)."""

_UP = 2
_HEADER = b"\x78\x5e"
"""Of a zlib stream with a window of 32 KB (RFC 1950)."""


def write_png(levels: Bytes) -> bytes:
    """The PNG of pixels [H,W,C], C being 1, 3 or 4 (with alpha)."""
    height, width, channels = levels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    pixels = (png_chunk(b"IDAT", part) for part in _packed(levels.reshape(height, -1)))
    return b"".join((PNG_SIGNATURE, png_chunk(b"IHDR", header), *pixels, png_chunk(b"IEND", b"")))


def _packed(rows: Bytes) -> Iterator[bytes]:
    """A zlib stream of the filtered rows [H,W*C], in pieces."""
    step = max(1, STRIP_BYTES // rows.shape[1])
    tops = range(0, len(rows), step)

    def pack(top: int) -> tuple[Bytes, bytes]:
        filtered = _filtered(rows, top, min(top + step, len(rows)))
        return filtered, _deflated(filtered, last=top == tops[-1])

    yield _HEADER
    checksum = 1
    with ThreadPoolExecutor(THREADS) as threads:
        for filtered, packed in threads.map(pack, tops):
            checksum = zlib.adler32(filtered.data, checksum)
            yield packed
    yield struct.pack(">I", checksum)


def _filtered(rows: Bytes, top: int, bottom: int) -> Bytes:
    """Rows as a PNG holds them, one after the other: the filter's number, then the differences."""
    filtered = np.empty((bottom - top, rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = _UP
    filtered[0, 1:] = rows[0] if top == 0 else rows[top] - rows[top - 1]
    np.subtract(rows[top + 1 : bottom], rows[top : bottom - 1], out=filtered[1:, 1:])
    return filtered.reshape(-1)


def _deflated(filtered: Bytes, last: bool) -> bytes:
    """A strip in blocks that others can follow; the last one ends the stream."""
    middle = max(0, (len(filtered) - SAMPLE_BYTES) // 2)
    sample = filtered[middle : middle + SAMPLE_BYTES]
    sizes = [len(_compressed(sample, way, zlib.Z_FINISH)) for way in WAYS]
    limit = GOOD_ENOUGH * min(sizes)
    way = next(way for way, size in zip(WAYS, sizes, strict=True) if size <= limit)
    return _compressed(filtered, way, zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)


def _compressed(data: Bytes, way: tuple[int, int], end: int) -> bytes:
    level, strategy = way
    packer = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, 9, strategy)
    return packer.compress(data.data) + packer.flush(end)
