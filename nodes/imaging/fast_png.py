"""The usual type of PNG, 8-bit RGB, decoded by kornia_rs in place of Pillow.

It takes 5 ms in place of 14 for 1024 x 1024 (benchmarks/README.md), the largest share of what an
image costs a node once its bytes are here.

ComfyUI installs kornia_rs with kornia. Its functions have changed their names and shapes between
versions, so it is used only if it passes a trial first; Pillow decodes whatever it doesn't.
"""

from __future__ import annotations

import functools
import io
import logging
import struct
import threading
import time
import zlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image

from ...mai.image_formats import ImageHeader

logger = logging.getLogger(__name__)

Bytes = npt.NDArray[np.uint8]
Decoder = Callable[[bytes, tuple[int, int], str], Bytes]

MAX_PIXELS = 5 << 19
"""2.6 megapixels. kornia_rs holds the interpreter's lock, some 5 ms a megapixel, and no event loop
should stand still for 20 ms; Pillow, which lets it go, decodes what is larger."""

_one_at_a_time = threading.Lock()
"""One image at a time: with two threads in it the interpreter's lock goes from one to the other,
and an event loop that wants it waits for several images."""


def decode_plain_rgb(data: bytes, header: ImageHeader) -> Bytes | None:
    """The pixels [H,W,3] of a PNG, from its header and `header.pixel_data`; None: ask Pillow."""
    size = (header.height, header.width)
    if not header.plain_rgb or header.width * header.height > MAX_PIXELS:
        return None
    decoder = usable_decoder()
    if decoder is None:
        return None
    try:
        with _one_at_a_time:
            time.sleep(0)  # whoever waits for the interpreter goes first
            pixels = decoder(data, size, "rgb")
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # a panic of Rust's is no Exception; Pillow then names the fault
        logger.debug("kornia_rs doesn't decode an image", exc_info=True)
        return None
    return pixels if pixels.shape == (*size, 3) and pixels.dtype == np.uint8 else None


@functools.cache
def usable_decoder() -> Decoder | None:
    """kornia_rs's decoder, if it is there and does what is expected of it."""
    try:
        from kornia_rs.io import decode_image_png_u8
    except (ImportError, OSError):
        return None
    decoder: Decoder = decode_image_png_u8
    try:
        usable = passes_trial(decoder)
    except Exception:  # another version may raise anything
        logger.debug("kornia_rs doesn't do as expected: Pillow is used", exc_info=True)
        return None
    return decoder if usable else None


def passes_trial(decoder: Decoder) -> bool:
    """Whether it gives back a small image exactly, and refuses one with a row too few."""
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) * 15
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    data = buffer.getvalue()
    if not np.array_equal(decoder(data, (2, 3), "rgb"), pixels):
        return False
    header = b"IHDR" + struct.pack(">II", 3, 3) + data[24:29]
    taller = data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]
    try:
        decoder(taller, (3, 3), "rgb")
    except Exception as error:  # it raises nothing narrower
        logger.debug("kornia_rs refuses a row too few, as it should (%s)", error, exc_info=True)
        return True
    return False
