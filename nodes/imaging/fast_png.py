"""The usual kind of PNG, 8-bit RGB, by kornia_rs: a third of the time that Pillow takes.

ComfyUI installs it with kornia. Its functions have changed their names and shapes between versions,
so it is used only if it passes a trial first; for all that it doesn't do there is Pillow.
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

from ...mai.image_formats import ImageHeader, kinds

logger = logging.getLogger(__name__)

Bytes = npt.NDArray[np.uint8]
Decoder = Callable[[bytes, tuple[int, int], str], Bytes]

MAX_PIXELS = 5 << 19
"""2.6 megapixels. kornia_rs holds the interpreter's lock, some 5 ms a megapixel, and no event loop
should stand still for 20 ms; Pillow, which lets it go, decodes what is larger."""

_turn = threading.Lock()
"""One image at a time: with two threads in it the interpreter's lock goes from one to the other,
and an event loop that wants it waits for several images."""

_HEADER = slice(24, 29)
_RGB = bytes((8, 2, 0, 0, 0))
"""Bit depth 8, colour type RGB, deflate, the usual filters, not interlaced."""

_PLAIN = {b"IHDR", b"IDAT", b"IEND"}


def decode(data: bytes, image: ImageHeader) -> Bytes | None:
    """The pixels [H,W,3] of an inspected PNG; None: Pillow should have a look at it."""
    size = (image.height, image.width)
    if image.media_type != "image/png" or image.width * image.height > MAX_PIXELS:
        return None
    if data[_HEADER] != _RGB or kinds(data) != _PLAIN:
        return None
    decoder = _decoder()
    if decoder is None:
        return None
    try:
        with _turn:
            time.sleep(0)  # whoever waits for the interpreter goes first
            pixels = decoder(data, size, "rgb")
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # a panic of Rust's is no Exception; Pillow then names the fault
        logger.debug("kornia_rs doesn't decode an image", exc_info=True)
        return None
    return pixels if pixels.shape == (*size, 3) and pixels.dtype == np.uint8 else None


@functools.cache
def _decoder() -> Decoder | None:
    """kornia_rs's decoder, if it is there and does what is expected of it."""
    try:
        from kornia_rs.io import decode_image_png_u8
    except (ImportError, OSError):
        return None
    decoder: Decoder = decode_image_png_u8
    try:
        usable = _passes_trial(decoder)
    except Exception:  # another version may raise anything
        logger.debug("kornia_rs doesn't do as expected: Pillow is used", exc_info=True)
        return None
    return decoder if usable else None


def _passes_trial(decoder: Decoder) -> bool:
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
