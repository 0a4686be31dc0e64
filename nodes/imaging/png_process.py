"""Large PNGs decoded by kornia_rs in a process of its own.

kornia_rs holds the interpreter's lock, 25 ms for 2048 x 2048 RGB and 39 for RGBA: an event loop
must not stand still for so long. In another process it doesn't, and the way there and back costs
less than what it saves (benchmarks/README.md). The pixels come in strips that stay in a core's
cache until they are floats, so they are never in memory as a whole.
"""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...mai.formats import ImageHeader
from .fast_png import usable_decoder
from .png_child import DECODED, READY, REQUEST

logger = logging.getLogger(__name__)

Bytes = npt.NDArray[np.uint8]

STRIP_BYTES = 1 << 18
"""Of pixels that are read at a time: with the floats made of them about 1.3 MB."""

PIPE_BYTES = 1 << 20
"""What an unprivileged process may ask for on Linux, where 64 KB are usual: an idle core takes as
long to wake for each of 200 small pieces as kornia_rs for the whole image."""

IDLE_SECONDS = 300.0
"""After the last image the process ends and gives its memory back, some 50 MB. It is started when
an image is asked for, and the service takes up to 100 s for one."""

HUNG_SECONDS = 20.0
"""A process that takes so long for an image is ended; 64 megapixels take it about one."""

CHILD = Path(__file__).with_name("png_child.py")


class Unavailable(Exception):
    """The process can't decode this image, or is gone; the caller takes another decoder."""


class PngProcess:
    """One process, started ahead of the first large image, which doesn't wait for it.

    Safe for threads: one image at a time.
    """

    def __init__(self, idle: float = IDLE_SECONDS, hung: float = HUNG_SECONDS) -> None:
        self._idle_seconds, self._hung_seconds = idle, hung
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._starting: threading.Thread | None = None
        self._idle: threading.Timer | None = None

    def is_ready(self) -> bool:
        """Whether it can take an image now; starts it where there is none, without a wait. Never
        where kornia_rs isn't usable."""
        if self._process is None and self._starting is None:
            with self._lock:
                if self._process is None and self._starting is None:
                    self._starting = threading.Thread(target=self._start, name="png", daemon=True)
                    self._starting.start()
        return self._process is not None

    def wait_until_ready(self, seconds: float = 30.0) -> bool:
        """As `is_ready`, but waits for a start that is under way."""
        starting = None if self.is_ready() else self._starting
        if starting is not None:
            starting.join(seconds)
        return self._process is not None

    def strips(self, data: bytes, header: ImageHeader) -> Iterator[tuple[int, Bytes]]:
        """The first row and the pixels [rows,W,C] of strips, from the top; each is valid until the
        next one. The first one has no rows: it comes as soon as the file is sent, so that the
        caller can do something while it is decoded. Unavailable, perhaps halfway: the process is
        gone, or the file is damaged."""
        with self._lock:
            process = self._process
            if process is None:
                raise Unavailable
            self._stay()
            watch = threading.Timer(self._hung_seconds, process.kill)
            watch.daemon = True
            watch.start()
            complete = False
            try:
                yield from _exchange(process, data, header)
                complete = True
            except (OSError, ValueError) as error:
                raise Unavailable from error
            finally:
                watch.cancel()
                if complete:
                    self._leave_after_idle()
                else:
                    # What is left in the pipe would be taken for the next image.
                    self._end()

    def stop(self) -> None:
        """End the process; the next large image starts one again."""
        with self._lock:
            self._end()

    def _start(self) -> None:
        if usable_decoder() is None:
            return
        try:
            process = subprocess.Popen(
                [sys.executable, str(CHILD)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pipesize=PIPE_BYTES,
            )
            assert process.stdout is not None
            if process.stdout.read(1) == READY:
                self._process = process
                self._leave_after_idle()
                self._starting = None
                return
            process.kill()
            process.wait()
        except OSError:
            logger.debug("the process for large PNGs doesn't start", exc_info=True)
        # `_starting` stays: what failed once is not tried again for every image.

    def _stay(self) -> None:
        if self._idle is not None:
            self._idle.cancel()

    def _leave_after_idle(self) -> None:
        self._stay()
        self._idle = threading.Timer(self._idle_seconds, self.stop)
        self._idle.daemon = True
        self._idle.start()

    def _end(self) -> None:
        self._stay()
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()


def _exchange(
    process: subprocess.Popen[bytes], data: bytes, header: ImageHeader
) -> Iterator[tuple[int, Bytes]]:
    """Send a file, and read its pixels in strips; OSError where the process ended or refused."""
    requests, answers = process.stdin, process.stdout
    assert requests is not None
    assert answers is not None
    channels = header.plain_channels
    requests.write(REQUEST.pack(len(data), header.height, header.width, channels))
    requests.write(data)
    requests.flush()
    yield 0, np.empty((0, header.width, channels), np.uint8)
    if answers.read(1) != DECODED:
        raise OSError("the process doesn't decode this file")
    step = max(1, STRIP_BYTES // (header.width * channels))
    buffer = np.empty((min(step, header.height), header.width, channels), np.uint8)
    for top in range(0, header.height, step):
        strip = buffer[: header.height - top]
        if answers.readinto(strip.data.cast("B")) != strip.nbytes:  # type: ignore[attr-defined]
            raise OSError("the process ended")
        yield top, strip


png_process = PngProcess()
"""Of this process: for every node."""
