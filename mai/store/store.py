"""Every image ever paid for, by the hash of its request: the bytes that arrived, and a sidecar.

    store/ab/abcdef….png   the image, byte for byte (0600; folders 0700)
    store/ab/abcdef….json  its sidecar: hash, usage, cost, request id, sizes (see sidecar.py)
    store/incoming/        files that are being written; renamed from here when they are on disk
    store/damaged/         what didn't fit its sidecar: kept for the user, never served, not counted
    store/index.sqlite     sizes and times for eviction and the gallery (see index.py)

A look-up touches two files and no index, so it costs the same at any size of the store; a hit
moves the sidecar's modification time, which is when the image was last used. The index learns of
that only when eviction comes to the image, which then goes behind those used less recently.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import shutil
import tempfile
import time
from pathlib import Path

from ..disk import (
    make_folder,
    read_file,
    remove,
    remove_stale,
    replace,
    sync_folder,
    write_temporary,
)
from ..errors import StoreError
from ..types import Result
from .index import StoreIndex
from .sidecar import DamagedImage, build_sidecar, parse_sidecar, restore

logger = logging.getLogger(__name__)

ROOM_BYTES = 64 * 1024 * 1024
"""Free space without which no image is bought: the largest answer that is accepted."""

EVICT_TO = 0.9
"""The part of its limit to which eviction brings the store, so that it isn't due at every image."""

_EVICT_AT_ONCE = 200
"""Images in one transaction of eviction: other processes wait for it, some 10 ms."""

_ENDINGS = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp"}
_OTHER_ENDING = ".bin"
"""What an image's file name ends with, by MIME type, and for every other type."""

_ALL_ENDINGS = (*_ENDINGS.values(), _OTHER_ENDING)

_KEY = re.compile(r"[0-9a-f]{64}")

_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


class Store:
    """Images in `folder`, at most about `limit_bytes` of them; several processes may share it.

    Nothing is made or opened before the first use. Safe for threads. A key that isn't 64 lower-case
    hex digits is a ValueError everywhere.
    """

    def __init__(self, folder: Path, limit_bytes: int = 10_000_000_000) -> None:
        if limit_bytes <= 0:
            raise ValueError(f"limit_bytes must be over 0, not {limit_bytes}")
        self.folder = folder
        self.limit_bytes = limit_bytes
        self._incoming = folder / "incoming"
        self._damaged = folder / "damaged"
        self._index = StoreIndex(folder)
        self._cleaned = False
        self._warned: set[str] = set()

    def get(self, key: str) -> Result | None:
        """The image of this request, its bytes verified; None when there is none.

        Damaged files are set aside. Raises StoreError when the files can't be read: not None, as
        the image would then be bought twice.
        """
        try:
            found = self._read(key)
        except DamagedImage:
            found = self._read_or_set_aside(key)
        except OSError as error:
            raise self._explain(error, "read") from error
        if found is not None:
            with contextlib.suppress(OSError):
                os.utime(self._sidecar(key))
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
        facts = build_sidecar(
            key,
            result,
            prompt=prompt,
            keep_prompt=keep_prompt,
            service=service,
            profile=profile,
            now_ns=now,
        )
        try:
            total = self._write(key, result, facts, now)
        except OSError as error:
            lost = "An image that isn't kept is paid again when it is asked for again: save it."
            raise self._explain(error, "written", then=lost) from error
        if total > self.limit_bytes:
            self._evict(but=key)

    def check_room(self, calls: int = 1) -> None:
        """Raises StoreError where an image could not be kept: to be asked before one is bought."""
        try:
            make_folder(self._incoming)
            disk = shutil.disk_usage(self._incoming)
            if disk.total and disk.free < ROOM_BYTES:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            with tempfile.TemporaryFile(dir=self._incoming):
                pass
        except OSError as error:
            problem = self._explain(error, "written", then="Then queue again.")
            raise StoreError(f"{problem.what} Nothing was sent.", problem.hint) from error

    def recent(self, count: int) -> list[dict[str, object]]:
        """The sidecars of the newest images, newest first, without paths; raises StoreError."""
        found: list[dict[str, object]] = []
        if count <= 0 or not self.folder.is_dir():
            return found
        skip = 0
        while len(found) < count and (keys := self._index.newest(count, skip)):
            skip += len(keys)
            for key in keys:
                with contextlib.suppress(OSError, DamagedImage):
                    found.append(parse_sidecar(read_file(self._sidecar(key)), key))
        return found[:count]

    def close_file(self) -> None:
        """Closes the index; the next use opens it again."""
        self._index.close_file()

    def _sidecar(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError("a key must be 64 lower-case hex digits")
        return self.folder / key[:2] / f"{key}.json"

    def _read(self, key: str) -> Result | None:
        """The verified image; None when neither file is there; raises DamagedImage, OSError."""
        sidecar = self._sidecar(key)
        try:
            facts = parse_sidecar(read_file(sidecar), key)
        except FileNotFoundError:
            for ending in _ALL_ENDINGS:
                if sidecar.with_suffix(ending).exists():
                    raise DamagedImage("its sidecar is missing") from None
            return None
        image = sidecar.with_suffix(_ENDINGS.get(facts["media_type"], _OTHER_ENDING))
        try:
            return restore(facts, read_file(image))
        except FileNotFoundError:
            raise DamagedImage("the image beside its sidecar is missing") from None

    def _read_or_set_aside(self, key: str) -> Result | None:
        """Looks again under the lock: what looked damaged may have been half replaced."""
        try:
            with self._index.lock():
                try:
                    return self._read(key)
                except DamagedImage as error:
                    self._set_aside(key, error)
                self._index.delete(key)
        except (OSError, StoreError) as error:
            if key not in self._warned:
                logger.warning("Image %s is damaged and can't be set aside: %s", key[:12], error)
                self._warned.add(key)
        return None

    def _set_aside(self, key: str, damage: DamagedImage) -> None:
        make_folder(self._damaged)
        stamp = time.time_ns()
        sidecar = self._sidecar(key)
        for ending in (".json", *_ALL_ENDINGS):
            with contextlib.suppress(FileNotFoundError):
                replace(sidecar.with_suffix(ending), self._damaged / f"{key}.{stamp}{ending}")
        logger.warning(
            "Image %s of the store is damaged (%s): it was set aside in %s and will be fetched "
            "again when it is asked for.",
            key[:12],
            damage,
            self._damaged,
        )

    def _write(self, key: str, result: Result, facts: bytes, now: int) -> int:
        """Both files to disk, then both names at once under the lock, then the folder.

        Gives the bytes of all images, 0 where its index is out of order.
        """
        folder = self._sidecar(key).parent
        make_folder(self._incoming)
        make_folder(folder)
        if not self._cleaned:
            self._cleaned = True
            remove_stale(self._incoming)
        temporary: list[Path] = []
        try:
            temporary.append(write_temporary(self._incoming, result.image))
            temporary.append(write_temporary(self._incoming, facts))
            os.utime(temporary[1], ns=(now, now))
            with contextlib.ExitStack() as stack:
                total = 0
                try:
                    # The row comes first: after a crash there may be a row without an image, which
                    # eviction passes over, but never an image without a row.
                    total = self._index.add(key, len(result.image) + len(facts), now)
                    stack.enter_context(self._index.lock())
                except StoreError as error:
                    logger.warning("An image is kept without the index of the store: %s", error)
                self._name(key, temporary[0], result.media_type, temporary[1])
        except BaseException:
            for path in temporary:
                with contextlib.suppress(OSError):
                    remove(path)
            raise
        sync_folder(folder)
        return total

    def _name(self, key: str, image: Path, media_type: str, facts: Path) -> None:
        """Gives two temporary files the names of `key`'s image and sidecar.

        An image without a fitting sidecar is set aside before another takes its name.
        """
        try:
            self._read(key)
        except DamagedImage as error:
            self._set_aside(key, error)
        sidecar = self._sidecar(key)
        own_ending = _ENDINGS.get(media_type, _OTHER_ENDING)
        replace(image, sidecar.with_suffix(own_ending))
        replace(facts, sidecar)
        for ending in _ALL_ENDINGS:
            if ending != own_ending:
                remove(sidecar.with_suffix(ending))

    def _evict(self, but: str) -> None:
        """Removes the least recently used images until the store is under its limit.

        The image `but` stays. Never raises: a store that can't be made smaller still keeps what
        was paid for.
        """
        passed_over = {but}
        try:
            while (over := self._index.total() - int(self.limit_bytes * EVICT_TO)) > 0:
                with self._index.lock():
                    if not self._evict_some(over, passed_over):
                        return
        except (OSError, StoreError) as error:
            logger.warning("The store is over its limit and can't be made smaller: %s", error)

    def _evict_some(self, over: int, passed_over: set[str]) -> bool:
        """Removes up to `over` bytes of the oldest images; False when there is nothing to remove.

        The sidecar goes first: what is left of a removal that is cut off is never served.
        """
        oldest = self._index.oldest(_EVICT_AT_ONCE)
        if self._enter_uses(oldest):
            return True  # they may have others before them now
        removable = [(key, size) for key, size, _ in oldest if key not in passed_over]
        for key, size in removable:
            if over <= 0:
                break
            sidecar = self._sidecar(key)
            try:
                for ending in (".json", *_ALL_ENDINGS):
                    remove(sidecar.with_suffix(ending))
            except PermissionError as error:
                logger.info("Image %s can't be removed now: %s", key[:12], error)
                passed_over.add(key)
                continue
            self._index.delete(key)
            over -= size
        return bool(removable)

    def _enter_uses(self, images: list[tuple[str, int, int]]) -> bool:
        """Enters into the index the uses of images that it doesn't know; whether there were any."""
        any_entered = False
        for key, _, used_at in images:
            with contextlib.suppress(FileNotFoundError):
                last_used = self._sidecar(key).stat().st_mtime_ns
                if last_used > used_at:
                    self._index.set_used(key, last_used)
                    any_entered = True
        return any_entered

    def _explain(self, error: OSError, done: str, *, then: str = "") -> StoreError:
        """What the disk's error means to the user; `done` is "read" or "written"."""
        reason = error.strerror or str(error)
        hint = "Check the folder and its disk."
        if error.errno in _FULL:
            reason = "the disk (or your quota on it) is full"
            hint = "Free some space there, or lower the store's limit."
        elif error.errno in _FORBIDDEN:
            reason = "it isn't permitted"
            hint = "Check that you own the folder and may write there."
        what = f"The store {self.folder} can't be {done}: {reason}."
        return StoreError(what, f"{hint} {then}".strip())
