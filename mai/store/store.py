"""Every image ever paid for, by the hash of its request: the bytes that arrived, and a sidecar.

    store/ab/abcdef….png   the image, byte for byte (0600; folders 0700)
    store/ab/abcdef….json  its sidecar: hash, usage, cost, request id, sizes (see sidecar.py)
    store/incoming/        files that are being written; renamed from here when they are on disk
    store/damaged/         what didn't fit its sidecar: kept for the user, never served, not counted
    store/index.sqlite     sizes and times for eviction and the gallery (see shelf.py)

A look-up touches two files and no index, so it costs the same at any size of the store; a hit
moves the sidecar's modification time, which is when the image was last used. The index learns of
that only when eviction comes to the image: it then goes back in the line instead.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path

from ..disk import make_folder, read, remove, remove_stale, replace, sync_folder, write_temporary
from ..errors import StoreError
from ..types import Result
from . import sidecar
from .eviction import evict
from .index import StoreIndex
from .layout import Layout

log = logging.getLogger(__name__)

ROOM_BYTES = 64 * 1024 * 1024
"""Free space without which no image is bought: the largest answer that is accepted."""


class Store:
    """Images in `folder`, at most about `limit_bytes` of them; several processes may share it.

    Nothing is made or opened before the first use. Safe for threads. A key that isn't 64 lower-case
    hex digits is a ValueError everywhere.
    """

    def __init__(self, folder: Path, limit_bytes: int = 10_000_000_000) -> None:
        if limit_bytes <= 0:
            raise ValueError(f"limit_bytes must be over 0, not {limit_bytes}")
        self.folder = folder
        self._layout = Layout(folder)
        self.limit_bytes = limit_bytes
        self._shelf = StoreIndex(folder)
        self._cleaning = threading.Lock()
        self._cleaned = False
        self._warned: set[str] = set()

    def get(self, key: str) -> Result | None:
        """The image of this request, its bytes verified; None when there is none.

        Damaged files are set aside. Raises StoreError when the files can't be read: not None, as
        the image would then be bought twice.
        """
        side = self._layout.sidecar(key)
        try:
            found = self._read(key)
        except sidecar.DamagedImage:
            found = self._set_aside_if_damaged(key)
        except OSError as error:
            raise self._layout.cant_read(error) from error
        if found is not None:
            with contextlib.suppress(OSError):
                os.utime(side)
        return found

    def put(
        self,
        key: str,
        result: Result,
        *,
        prompt: str,
        keep_prompt: bool = True,
        service: str,
        profile: str,
    ) -> None:
        """Keeps an image: when this returns, a power cut can't take it. Then evicts if needed.

        An image that is there under the same key is replaced.

        Raises StoreError, having kept nothing, when the disk is full or the folder can't be
        written; `result` is untouched and can still be given to the user.
        """
        now = time.time_ns()
        facts = sidecar.encode(
            key,
            result,
            prompt=prompt,
            keep_prompt=keep_prompt,
            service=service,
            profile=profile,
            now_ns=now,
        )
        side = self._layout.sidecar(key)
        image = self._layout.image(key, result.media_type)
        try:
            self._write(key, image, result.image, side, facts, now)
        except OSError as error:
            raise self._layout.cant_write(error) from error
        evict(self._layout, self._shelf, self.limit_bytes, keep=key)

    def check_room(self) -> None:
        """Raises StoreError where an image could not be kept: to be asked before one is bought."""
        incoming = self._layout.incoming
        try:
            make_folder(incoming)
            disk = shutil.disk_usage(incoming)
            if disk.total and disk.free < ROOM_BYTES:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            with tempfile.TemporaryFile(dir=incoming):
                pass
        except OSError as error:
            raise self._layout.no_room(error) from error

    def recent(self, count: int) -> list[dict[str, object]]:
        """The sidecars of the newest images, newest first, without paths; raises StoreError."""
        found: list[dict[str, object]] = []
        if count <= 0 or not self.folder.is_dir():
            return found
        skip = 0
        while len(found) < count and (keys := self._shelf.newest(count, skip)):
            skip += len(keys)
            for key in keys:
                with contextlib.suppress(OSError, sidecar.DamagedImage):
                    found.append(sidecar.decode(read(self._layout.sidecar(key)), key))
        return found[:count]

    def dispose(self) -> None:
        """Closes the index; the next use opens it again."""
        self._shelf.dispose()

    def _read(self, key: str) -> Result | None:
        """The verified image; None when neither file is there; raises DamagedImage, OSError."""
        side = self._layout.sidecar(key)
        try:
            facts = sidecar.decode(read(side), key)
        except FileNotFoundError:
            if any(path.exists() for path in self._layout.images(key)):
                raise sidecar.DamagedImage("its sidecar is missing") from None
            return None
        image = self._layout.image(key, str(facts.get("media_type")))
        try:
            return sidecar.result(facts, read(image))
        except FileNotFoundError:
            raise sidecar.DamagedImage("the image beside its sidecar is missing") from None

    def _set_aside_if_damaged(self, key: str) -> Result | None:
        """Looks again under the lock: what looked damaged may have been half replaced."""
        try:
            with self._shelf.lock():
                try:
                    return self._read(key)
                except sidecar.DamagedImage as error:
                    self._set_aside(key, str(error))
                self._shelf.drop(key)
        except (OSError, StoreError) as error:
            if key not in self._warned:
                log.warning("Image %s is damaged and can't be set aside: %s", key[:12], error)
                self._warned.add(key)
        return None

    def _set_aside(self, key: str, reason: str) -> None:
        damaged = self._layout.damaged
        make_folder(damaged)
        stamp = time.time_ns()
        for path in self._layout.files(key):
            with contextlib.suppress(FileNotFoundError):
                replace(path, damaged / f"{key}.{stamp}{path.suffix}")
        log.warning(
            "Image %s of the store is damaged (%s): it was set aside in %s and will be fetched "
            "again when it is asked for.",
            key[:12],
            reason,
            damaged,
        )

    def _write(
        self, key: str, image: Path, data: bytes, side: Path, facts: bytes, now: int
    ) -> None:
        """Both files to disk, then both names at once under the lock, then the folder."""
        incoming = self._layout.incoming
        make_folder(incoming)
        make_folder(side.parent)
        self._clean(incoming)
        temporary: list[Path] = []
        try:
            temporary.append(write_temporary(incoming, data))
            temporary.append(write_temporary(incoming, facts))
            os.utime(temporary[1], ns=(now, now))
            with contextlib.ExitStack() as stack:
                self._enter(stack, key, len(data) + len(facts), now)
                self._keep_orphans(key)
                replace(temporary[0], image)
                replace(temporary[1], side)
                for other in self._layout.images(key):
                    if other != image:
                        remove(other)
        except BaseException:
            for path in temporary:
                with contextlib.suppress(OSError):
                    remove(path)
            raise
        sync_folder(side.parent)

    def _enter(self, stack: contextlib.ExitStack, key: str, size: int, now: int) -> None:
        """Tells the index, before the files are there: a crash may leave a row without an image
        (eviction passes it), never an image without a row. A store whose index is out of order
        still keeps images.
        """
        try:
            self._shelf.add(key, size, now)
            stack.enter_context(self._shelf.lock())
        except StoreError as error:
            log.warning("An image is kept without the index of the store: %s", error)

    def _keep_orphans(self, key: str) -> None:
        """An image without a fitting sidecar is set aside before another takes its name."""
        try:
            self._read(key)
        except sidecar.DamagedImage as error:
            self._set_aside(key, str(error))

    def _clean(self, incoming: Path) -> None:
        with self._cleaning:
            if not self._cleaned:
                remove_stale(incoming)
                self._cleaned = True
