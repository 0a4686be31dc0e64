"""What a command does with all images of an object store: `prune` old ones, `push` this machine's.

Both read the object store's listing, not its images, and can be repeated or stopped at any point.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import partial

from ..disk import in_thread
from ..errors import StoreError
from .objects import ObjectStore, StoredObject, do_each
from .shared import SharedStore
from .shared_images import UNREADABLE, SharedImages

UNTOUCHED = timedelta(hours=1)
"""Nothing younger is pruned: somebody may wait for it, or be writing its sidecar."""


_LONG_AGO = datetime.min.replace(tzinfo=timezone.utc)

Report = Callable[[int, int], None]
"""Hears how many images are done, of how many."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was deleted, or would be, and what is left; `bytes` are of all objects."""

    images: int
    bytes: int
    images_left: int
    bytes_left: int


@dataclass(frozen=True, slots=True)
class Pushed:
    """What this machine has: images brought now and there already, and the keys of those that are
    damaged here."""

    brought: int
    there: int
    damaged: tuple[str, ...]


@dataclass(slots=True)
class _Entry:
    """The objects of one image in a listing, the sidecar first; `changed` is that of the newest."""

    objects: list[StoredObject] = field(default_factory=list)
    bytes: int = 0
    changed: datetime = _LONG_AGO

    def add(self, one: StoredObject) -> None:
        if one.name.endswith(".json"):
            self.objects.insert(0, one)
        else:
            self.objects.append(one)
        self.bytes += one.bytes
        self.changed = max(self.changed, one.changed)

    async def is_as_listed(self, store: ObjectStore) -> bool:
        """Whether nobody has brought the image anew since. One object's time may be in seconds
        where the listing's is finer."""
        listed = self.objects[0]
        found = await store.find(listed.name)
        if found is None:
            return True
        return found.tag == listed.tag and found.changed < listed.changed + timedelta(seconds=1)


async def prune(
    images: SharedImages,
    *,
    older_than: timedelta | None = None,
    limit_bytes: int | None = None,
    dry_run: bool = False,
    now: datetime | None = None,
    report: Report = lambda done, total: None,
) -> Pruned:
    """Delete images that were brought longer ago, then the oldest until the rest is within a limit.

    What can't be read as an image stays, as it keeps its request from being bought again; so does
    what somebody brings anew while this runs. Raises StoreError.
    """
    await images.identify()
    now = now or datetime.now(timezone.utc)
    entries = await _entries(images)
    left = everything = sum(entry.bytes for entry in entries)
    count = len(entries)
    doomed: list[_Entry] = []
    for entry in entries:
        too_old = older_than is not None and entry.changed < now - older_than
        too_much = limit_bytes is not None and left > limit_bytes
        if (too_old or too_much) and entry.changed < now - UNTOUCHED:
            doomed.append(entry)
            left -= entry.bytes
    deleted: list[_Entry] = doomed if dry_run else []

    async def delete(entry: _Entry) -> None:
        if await entry.is_as_listed(images.objects):
            for one in entry.objects:
                await images.objects.delete(one.name)
            deleted.append(entry)
        report(len(deleted), len(doomed))

    if not dry_run:
        await do_each(doomed, delete)
    freed = sum(entry.bytes for entry in deleted)
    return Pruned(len(deleted), freed, count - len(deleted), everything - freed)


async def push(
    store: SharedStore, *, dry_run: bool = False, report: Report = lambda done, total: None
) -> Pushed:
    """Bring all images of this machine's store that the object store lacks; repairs damaged ones.

    Raises StoreError.
    """
    await store.images.identify(begin=not dry_run)
    there = await _sizes(store.images)
    counts = {"brought": 0, "there": 0}
    damaged: list[str] = []
    keys = await in_thread(store.keys)

    async def bring(key: str) -> None:
        image = await in_thread(partial(store.stored, key))
        if image is None:
            damaged.append(key)
        elif _is_there(there, image.data_name, image.data) and image.sidecar_name in there:
            counts["there"] += 1
        else:
            if not dry_run:
                await store.images.put(image)
            counts["brought"] += 1
        report(sum(counts.values()) + len(damaged), len(keys))

    await do_each(keys, bring)
    return Pushed(**counts, damaged=tuple(sorted(damaged)))


async def check_images(images: SharedImages) -> str:
    """Write, read, list and delete an object; gives what was found in a sentence.

    Raises StoreError, also for a store that writes over what is there although it was asked not to.
    """
    objects, name, data = images.objects, f"doctor/{secrets.token_hex(8)}", b"written by doctor"
    begin = time.monotonic()
    await images.identify()
    written = await objects.create(name, data)
    read = await objects.read(name)
    seconds = time.monotonic() - begin
    again = await objects.create(name, b"written over")
    await objects.delete(name)
    if not written or read != data or again:
        raise StoreError(
            f"{objects} doesn't keep its word: an object that was written once "
            f"{'could be written over' if again else 'is not what was written'}.",
            "Use Azure Blob Storage, S3, Google Cloud Storage or a folder that keeps to "
            "if-none-match.",
        )
    return f"{objects.address} was written and read in {seconds:.1f} s"


async def _entries(images: SharedImages) -> list[_Entry]:
    """The images of a listing, the oldest first."""
    found: dict[str, _Entry] = {}
    async for page in images.objects.list():
        for one in page:
            folder, _, name = one.name.rpartition("/")
            if folder and folder != UNREADABLE:
                found.setdefault(name[:64], _Entry()).add(one)
    return sorted(found.values(), key=lambda entry: entry.changed)


async def _sizes(images: SharedImages) -> dict[str, int]:
    return {one.name: one.bytes async for page in images.objects.list() for one in page}


def _is_there(sizes: dict[str, int], name: str, data: bytes) -> bool:
    return sizes.get(name) == len(data)
