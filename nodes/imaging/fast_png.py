"""The usual types of PNG, 8-bit RGB and RGBA, decoded by kornia_rs in place of Pillow.

It takes 5 ms in place of 14 for 1024 x 1024 RGB (benchmarks/README.md), the largest share of what
an image costs a node once its bytes are here.

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

from ...mai.formats import ImageHeader

logger = logging.getLogger(__name__)

Bytes = npt.NDArray[np.uint8]
Decoder = Callable[[bytes, tuple[int, int], str], Bytes]

MAX_PIXELS = {3: 5 << 19, 4: 5 << 18}
"""By channels: 2.6 and 1.3 megapixels. kornia_rs holds the interpreter's lock, some 5 ms a
megapixel of RGB and 10 of RGBA, and no event loop should stand still for 20 ms; what is larger
goes to a process of its own (png_process.py), or to Pillow, which lets the lock go."""

MODES = {3: "rgb", 4: "rgba"}
"""What kornia_rs calls so many channels."""

_one_at_a_time = threading.Lock()
"""One image at a time: with two threads in it the interpreter's lock goes from one to the other,
and an event loop that wants it waits for several images."""


def is_small(header: ImageHeader) -> bool:
    """Whether kornia_rs decodes it here without holding the interpreter's lock for too long."""
    return header.width * header.height <= MAX_PIXELS.get(header.plain_channels, 0)


def decode_plain(data: bytes, header: ImageHeader) -> Bytes | None:
    """The pixels [H,W,3 or 4] of a PNG, from its header and `header.pixel_data`; None: ask
    another decoder."""
    if not is_small(header):
        return None
    decoder = usable_decoder()
    if decoder is None:
        return None
    size, channels = (header.height, header.width), header.plain_channels
    try:
        with _one_at_a_time:
            time.sleep(0)  # whoever waits for the interpreter goes first
            pixels = decoder(data, size, MODES[channels])
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # a panic of Rust's is no Exception; Pillow then names the fault
        logger.debug("kornia_rs doesn't decode an image", exc_info=True)
        return None
    return pixels if pixels.shape == (*size, channels) and pixels.dtype == np.uint8 else None


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
    """Whether it gives back small images exactly, and refuses those with a row too few."""
    return all(_passes_trial(decoder, channels) for channels in MODES)


def _passes_trial(decoder: Decoder, channels: int) -> bool:
    mode = MODES[channels]
    pixels = np.arange(2 * 3 * channels, dtype=np.uint8).reshape(2, 3, channels) * 10
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    data = buffer.getvalue()
    if not np.array_equal(decoder(data, (2, 3), mode), pixels):
        return False
    header = b"IHDR" + struct.pack(">II", 3, 3) + data[24:29]
    taller = data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]
    try:
        decoder(taller, (3, 3), mode)
    except Exception as error:  # it raises nothing narrower
        logger.debug("kornia_rs refuses a row too few, as it should (%s)", error, exc_info=True)
        return True
    return False
