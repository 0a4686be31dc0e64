"""The program of the process that decodes large PNGs; see png_process.py, which starts it.

It runs as a script of its own, with the Python that runs ComfyUI, and imports nothing of the pack.
A request on stdin is four numbers (bytes, height, width, channels) and a file; the answer on stdout
is DECODED and the pixels, or FAILED. It ends when stdin does.
"""

from __future__ import annotations

import contextlib
import logging
import os
import struct
import sys
from typing import IO

logger = logging.getLogger(__name__)

READY, DECODED, FAILED = b"r", b"d", b"f"
REQUEST = struct.Struct("<4Q")


def main() -> None:
    """Answer requests until there are no more."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # What a library prints must not get among the pixels.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        serve(sys.stdin.buffer, answers)


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Say READY, then decode what comes, one file after the other."""
    import numpy as np
    from kornia_rs.io import decode_image_png_u8

    answers.write(READY)
    answers.flush()
    while len(head := requests.read(REQUEST.size)) == REQUEST.size:
        length, height, width, channels = REQUEST.unpack(head)
        data = requests.read(length)
        try:
            pixels = decode_image_png_u8(data, (height, width), "rgb" if channels == 3 else "rgba")
            good = pixels.shape == (height, width, channels) and pixels.dtype == np.uint8
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # a panic of Rust's is no Exception
            logger.debug("kornia_rs doesn't decode an image", exc_info=True)
            good = False
        answers.write(DECODED if good else FAILED)
        if good:
            answers.write(np.ascontiguousarray(pixels).data.cast("B"))
        answers.flush()
        del data  # the next file may be as large


if __name__ == "__main__":
    main()
