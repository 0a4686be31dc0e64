"""Every image ever paid for, by the hash of its request: the bytes that arrived, and a sidecar.

    store/ab/abcdef….png   the image, byte for byte (0600; folders 0700)
    store/ab/abcdef….json  its sidecar: hash, usage, cost, request id, sizes (see sidecar.py)
    store/incoming/        files that are being written; renamed from here when they are on disk
    store/damaged/         what didn't fit its sidecar: kept for the user, never served, not counted
    store/unreadable/      what was paid for and is no image that can be read (see unreadable.py)
    store/index.sqlite     sizes and the order of use for eviction and the gallery (see index.py)

A look-up reads two files and no index, so it costs the same at any size of the store. A hit enters
its use into the index, if that isn't busy. It also moves the sidecar's modification time: by that
the images are ordered should the index be lost.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from ..disk import (
    make_folder,
    read_file,
    remove,
    remove_stale,
    replace,
    sync_folder,
    temporary_files,
)
from ..errors import InputError, StoreError, UnreadableError
from ..types import Result
from .index import StoreIndex
from .search import Details, Found, Search
from .sidecar import (
    DamagedImage,
    Order,
    build_sidecar,
    build_unreadable_sidecar,
    dump_sidecar,
    parse_sidecar,
    restore,
)
from .unreadable import Unreadable

logger = logging.getLogger(__name__)

ROOM_BYTES = 64 * 1024 * 1024
"""Free space without which no image is bought: the largest answer that is accepted."""

ROOM_PER_CALL = 16 * 1024 * 1024
"""Free space for each further call in flight: the largest image of a model, a PNG of 2048 x 2048
pixels of noise, has 12.6 MB (3 bytes a pixel), and its sidecar a few KB."""

SENSIBLE_LIMIT = 160_000_000
"""Bytes of 64 images, the largest batch of a node, of 2.5 MB each: a detailed PNG of 1024 x 1024
pixels, whose colours alone are 3.1 MB."""

EVICT_TO = 0.9
"""The part of its limit to which eviction brings the store, so that it isn't due at every image."""

_EVICT_AT_ONCE = 200
"""Images in one transaction of eviction: other processes wait for it, some 10 ms."""

_DESCRIBE_SECONDS = 1.0
"""For so long a search describes the images of a new index before it answers."""

_DESCRIBE_AT_ONCE = 200
"""Images in one transaction of describing, some 10 ms."""

_SIDECARS_AT_ONCE = 200
"""Sidecars that a look for bytes reads at a time."""

ENDINGS = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp"}
_OTHER_ENDING = ".bin"
"""What an image's file name ends with, by MIME type, and for every other type."""

_ALLENDINGS = (*ENDINGS.values(), _OTHER_ENDING)

_KEY = re.compile(r"[0-9a-f]{64}")
_LOST = "An image that isn't kept is paid again when it is asked for again: save it."

_PREFIX = re.compile(r"[0-9a-f]{8,64}")

_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


class Store:
    """Images in `folder`, at most about `limit_bytes` of them; several processes may share it.

    Nothing is made or opened before the first use. Safe for threads. A key that isn't 64 lower-case
    hex digits is a ValueError everywhere.
    """

    limit_setting = ("limit_gb", "[store]")
    """The setting of `limit_bytes` and its section, for warnings."""

    def __init__(self, folder: Path, limit_bytes: int = 10_000_000_000) -> None:
        if limit_bytes <= 0:
            raise ValueError(f"limit_bytes must be over 0, not {limit_bytes}")
        self.folder = folder
        self.limit_bytes = limit_bytes
        self._incoming = folder / "incoming"
        self._damaged = folder / "damaged"
        self._unreadable = Unreadable(folder / "unreadable", self._incoming, self._damaged)
        self._index = StoreIndex(folder)
        self._held: Counter[str] = Counter()
        self._held_lock = threading.Lock()
        self._started = False
        self._warned: set[str] = set()

    def get(self, key: str) -> Result | None:
        """The image of this request, its bytes verified; None when there is none.

        Damaged files are set aside. Raises StoreError when the files can't be read: not None, as
        the image would then be bought twice. Raises UnreadableError where there is no image, but
        something that was paid for and can't be read.
        """
        try:
            try:
                found = self._read(key)
            except DamagedImage:
                found = self._read_or_set_aside(key)
            unreadable = self._unreadable.find(key) if found is None else None
        except OSError as error:
            raise self._explain(error, "read") from error
        if unreadable is not None:
            raise unreadable
        if found is None:
            return None
        with contextlib.suppress(OSError):
            os.utime(self._sidecar(key))
        self._index.set_used(key)
        return found

    def has_arrived(self, key: str) -> bool:
        """Whether anything came for this request: an image, or what can't be read as one."""
        try:
            return self.get(key) is not None
        except UnreadableError:
            return True

    def arrived(self, keys: Iterable[str]) -> set[str]:
        """Those of the keys for which something came."""
        return {key for key in keys if self.has_arrived(key)}

    def put(self, key: str, result: Result, order: Order) -> None:
        """Keeps an image: when this returns, a power cut can't take it. Then evicts if needed.

        An image that is there under the same key is replaced.

        Raises StoreError, having kept nothing, when the disk is full or the folder can't be
        written; `result` is untouched and can still be given to the user.
        """
        now = time.time_ns()
        self._keep(key, result, build_sidecar(key, result, order, now), now)

    def keep_unreadable(
        self, key: str, model: str, error: UnreadableError, order: Order
    ) -> UnreadableError:
        """Keeps bytes that were paid for and are no image that can be read: what `error` received.

        Gives the error for whoever asked for it; `get` raises the same one from then on, in every
        process, until `forget`. Raises StoreError, having kept nothing, when the disk is full or
        the folder can't be written.
        """
        now = time.time_ns()
        self._sidecar(key)  # refuses a key that is none
        facts = build_unreadable_sidecar(key, model, error, order, now)
        try:
            self._unreadable.keep(key, error.received, dump_sidecar(facts), now)
            kept = self._unreadable.find(key)
        except OSError as problem:
            raise self._explain(problem, "written", then=_LOST) from problem
        if kept is None:
            raise StoreError(f"The store {self.folder} was cleared while it was written.", _LOST)
        return kept

    def find(self, prefix: str) -> list[str]:
        """The keys that begin so, of images and of what can't be read.

        `prefix` is 8 to 64 lower-case hex digits, else InputError. Raises StoreError.
        """
        if not _PREFIX.fullmatch(prefix):
            raise InputError(
                "A key of the store, or its beginning, is 8 to 64 lower-case hex digits.",
                "Give it as the error of the node, or the image's sidecar, names it.",
            )
        try:
            names = {path.stem for path in (self.folder / prefix[:2]).glob(f"{prefix}*.*")}
            found = names | self._unreadable.keys(prefix)
        except OSError as error:
            raise self._explain(error, "read") from error
        return sorted(key for key in found if _KEY.fullmatch(key))

    def keys(self) -> list[str]:
        """The keys of all images, and of all that can't be read. Raises StoreError."""
        try:
            names = {path.stem for path in self.folder.glob("[0-9a-f][0-9a-f]/*.*")}
            found = names | self._unreadable.keys("")
        except OSError as error:
            raise self._explain(error, "read") from error
        return sorted(key for key in found if _KEY.fullmatch(key))

    def forget(self, key: str) -> bool:
        """Removes everything that came for a request, so that it is bought again when asked for.

        Whether there was anything. The beginning of a key will do, see `find`; InputError where
        several keys begin so. Raises StoreError.
        """
        keys = self.find(key)
        if len(keys) > 1:
            raise InputError(f"{len(keys)} keys begin with {key}.", f"Give one: {', '.join(keys)}.")
        try:
            for found in keys:
                self._unreadable.forget(found)
                with self._index.lock():
                    self._remove(found)
        except OSError as error:
            raise self._explain(error, "written", then="Then try again.") from error
        return bool(keys)

    def hold(self, key: str) -> None:
        """Keeps eviction by this process from the image until `release`.

        For as long as somebody waits for it: else the images of a batch that is larger than the
        store's limit would be bought again. A key may be held several times.
        """
        with self._held_lock:
            self._held[key] += 1

    def release(self, key: str) -> None:
        """Undoes one `hold`."""
        with self._held_lock:
            if self._held[key] <= 1:
                del self._held[key]
            else:
                self._held[key] -= 1

    def check_room(self, calls: int = 1) -> None:
        """Raises StoreError where the images of so many calls could not be kept.

        To be asked before one is bought; `calls` are those in flight in all processes and this one.
        """
        self._start()
        needed = ROOM_BYTES + (calls - 1) * ROOM_PER_CALL
        try:
            make_folder(self._incoming)
            disk = shutil.disk_usage(self._incoming)
            with tempfile.TemporaryFile(dir=self._incoming):
                pass
        except OSError as error:
            problem = self._explain(error, "written", then="Then queue again.")
            raise StoreError(f"{problem.what} Nothing was sent.", problem.hint) from error
        if disk.total and disk.free < needed:
            several = f"the images of {calls} calls in flight" if calls > 1 else "one more image"
            raise StoreError(
                f"The disk of the store {self.folder} is too full for {several}: "
                f"{disk.free / 2**20:.0f} MiB are free, {needed / 2**20:.0f} MiB are needed. "
                "Nothing was sent.",
                "Free some space there, lower the store's limit, or wait until calls have ended. "
                "Then queue again.",
            )

    def warnings(self) -> list[str]:
        """What is worth knowing of the settings and no error: a limit smaller than a batch."""
        if self.limit_bytes >= SENSIBLE_LIMIT:
            return []
        return [
            f"{' of '.join(self.limit_setting)} is {self.limit_bytes / 1e9:g}: batches that don't "
            f"fit are bought again on each run. Set it to {SENSIBLE_LIMIT / 1e9:g} (64 images) or "
            "more."
        ]

    def recent(self, count: int) -> list[dict[str, Any]]:
        """The sidecars of the newest images, newest first, without paths; raises StoreError."""
        return self.search(Search(), count).sidecars

    def search(self, wanted: Search, count: int, before: int | None = None) -> Found:
        """A page of at most `count` images, from the number `before` (`Found.after`) on.

        Takes the same time and memory at any page of a store of any size. Raises StoreError.
        """
        found: list[dict[str, Any]] = []
        if count <= 0 or not self.folder.is_dir():
            return Found()
        undescribed = 0 if wanted.wants_all else self._describe()
        look = self._index.newest if wanted.wants_all else partial(self._index.find, wanted)
        while rows := look(count - len(found), before):
            before = rows[-1][0]
            for _, key in rows:
                with contextlib.suppress(OSError, DamagedImage):
                    found.append(parse_sidecar(read_file(self._sidecar(key)), key))
            if len(found) >= count:
                return Found(found, before if look(1, before) else None, undescribed)
        return Found(found, None, undescribed)

    def find_content(self, digests: Collection[str]) -> dict[str, Any] | None:
        """The sidecar of the image whose bytes have one of these SHA-256 digests, or None.

        Reads all sidecars, the newest first: some seconds for tens of thousands. Raises StoreError.
        """
        before: int | None = None
        while True:
            page = self.search(Search(), _SIDECARS_AT_ONCE, before)
            for sidecar in page.sidecars:
                if sidecar["sha256"] in digests:
                    return sidecar
            if page.after is None:
                return None
            before = page.after

    def models(self) -> list[str]:
        """The models of the images, by name, as far as a search has found them."""
        return self._index.models() if self.folder.is_dir() else []

    def _describe(self) -> int:
        """Reads sidecars of images that a new index hasn't described yet, for a moment.

        Gives how many are left.
        """
        end = time.monotonic() + _DESCRIBE_SECONDS
        while rows := self._index.undescribed(_DESCRIBE_AT_ONCE):
            found: dict[str, Details] = {}
            for _, key in rows:
                with contextlib.suppress(OSError, DamagedImage):
                    found[key] = Details.of(parse_sidecar(read_file(self._sidecar(key)), key))
            self._index.describe(found, down_to=rows[-1][0])
            if time.monotonic() > end:
                return self._index.count_undescribed()
        return 0

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
            for ending in _ALLENDINGS:
                if sidecar.with_suffix(ending).exists():
                    raise DamagedImage("its sidecar is missing") from None
            return None
        image = sidecar.with_suffix(ENDINGS.get(facts["media_type"], _OTHER_ENDING))
        try:
            return restore(facts, read_file(image))
        except FileNotFoundError:
            raise DamagedImage("the image beside its sidecar is missing") from None

    def _keep(self, key: str, result: Result, facts: dict[str, Any], now: int) -> None:
        """Puts an image with the facts of its sidecar; raises StoreError."""
        self._start()
        try:
            total = self._write(key, result, facts, now)
        except OSError as error:
            raise self._explain(error, "written", then=_LOST) from error
        if total > self.limit_bytes:
            self._evict(but=key)

    def _start(self) -> None:
        """Once, before anything is written: removes old temporary files, and warns."""
        if self._started:
            return
        self._started = True
        remove_stale(self._incoming)
        for warning in self.warnings():
            logger.warning("%s", warning)

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
        for ending in (".json", *_ALLENDINGS):
            with contextlib.suppress(FileNotFoundError):
                replace(sidecar.with_suffix(ending), self._damaged / f"{key}.{stamp}{ending}")
        logger.warning(
            "Image %s of the store is damaged (%s): it was set aside in %s and will be fetched "
            "again when it is asked for.",
            key[:12],
            damage,
            self._damaged,
        )

    def _write(self, key: str, result: Result, facts: dict[str, Any], now: int) -> int:
        """Both files to disk, then both names at once under the lock, then the folder.

        Gives the bytes of all images, 0 where its index is out of order.
        """
        data, folder = dump_sidecar(facts), self._sidecar(key).parent
        make_folder(self._incoming)
        make_folder(folder)
        with (
            temporary_files(self._incoming, result.image, data) as (image, sidecar),
            contextlib.ExitStack() as stack,
        ):
            # Finer than the system's own times, which are alike for images of one moment.
            os.utime(sidecar, ns=(now, now))
            total = 0
            try:
                # The row comes first: after a crash there may be a row without an image, which
                # eviction passes over, but never an image without a row.
                total = self._index.add(key, len(result.image) + len(data), Details.of(facts))
                stack.enter_context(self._index.lock())
            except StoreError as error:
                logger.warning("An image is kept without the index of the store: %s", error)
            self._name(key, image, result.media_type, sidecar)
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
        own_ending = ENDINGS.get(media_type, _OTHER_ENDING)
        replace(image, sidecar.with_suffix(own_ending))
        replace(facts, sidecar)
        for ending in _ALLENDINGS:
            if ending != own_ending:
                remove(sidecar.with_suffix(ending))

    def _evict(self, but: str) -> None:
        """Removes the least recently used images until the store is under its limit.

        The image `but` stays, and those that are held. Never raises: a store that can't be made
        smaller still keeps what was paid for.
        """
        staying = {but}
        try:
            while (over := self._index.total() - int(self.limit_bytes * EVICT_TO)) > 0:
                with self._index.lock():
                    if not self._evict_some(over, staying):
                        break
            if self._index.total() > self.limit_bytes:
                self._warn_of_held(len(staying | self._staying_keys()))
        except (OSError, StoreError) as error:
            logger.warning("The store is over its limit and can't be made smaller: %s", error)

    def _evict_some(self, over: int, staying: set[str]) -> bool:
        """Removes up to `over` bytes of the oldest images; False when there is nothing to remove.

        What can't be removed now is added to `staying`.
        """
        kept = staying | self._staying_keys()
        oldest = self._index.oldest(_EVICT_AT_ONCE + len(kept))
        removable = [(key, size) for key, size in oldest if key not in kept]
        for key, size in removable:
            if over <= 0:
                break
            try:
                self._remove(key)
            except PermissionError as error:
                logger.info("Image %s can't be removed now: %s", key[:12], error)
                staying.add(key)
                continue
            over -= size
        return bool(removable)

    def _remove(self, key: str) -> None:
        """Removes an image under the lock; the sidecar first: half a removal is never served."""
        sidecar = self._sidecar(key)
        for ending in (".json", *_ALLENDINGS):
            remove(sidecar.with_suffix(ending))
        self._index.delete(key)

    def _staying_keys(self) -> set[str]:
        """What eviction must leave."""
        with self._held_lock:
            return set(self._held)

    def _warn_of_held(self, count: int) -> None:
        if "limit" not in self._warned:
            self._warned.add("limit")
            logger.warning(
                "%s is smaller than one batch: the %d images in use now take more than %g GB, so "
                "the store stays over its limit. Raise it, or images of such a batch are bought "
                "again on each run.",
                self.limit_setting[0],
                count,
                self.limit_bytes / 1e9,
            )

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
