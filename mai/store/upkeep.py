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
from .objects import StoredObject, do_each
from .shared import SharedStore
from .shared_images import UNREADABLE, SharedImages

UNTOUCHED = timedelta(hours=1)
"""Nothing younger is pruned: somebody may wait for it, or be writing its sidecar."""


_NEVER = datetime.max.replace(tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was deleted, or would be, and what is left; `bytes` are of all objects."""

    images: int
    bytes: int
    images_left: int
    bytes_left: int


@dataclass(frozen=True, slots=True)
class Pushed:
    """What this machine has: brought now, there already, and damaged here, by number of images."""

    brought: int
    there: int
    damaged: int


@dataclass(slots=True)
class _Entry:
    """The objects of one image in a listing, the sidecar first."""

    names: list[str] = field(default_factory=list)
    bytes: int = 0
    changed: datetime = _NEVER

    def add(self, one: StoredObject) -> None:
        if one.name.endswith(".json"):
            self.names.insert(0, one.name)
        else:
            self.names.append(one.name)
        self.bytes += one.bytes
        self.changed = min(self.changed, one.changed)


async def prune(
    images: SharedImages,
    *,
    older_than: timedelta | None = None,
    limit_bytes: int | None = None,
    dry_run: bool = False,
    now: datetime | None = None,
) -> Pruned:
    """Delete images that were brought longer ago, then the oldest until the rest is within a limit.

    What can't be read as an image stays, as it keeps its request from being bought again. Raises
    StoreError.
    """
    await images.identify()
    now = now or datetime.now(timezone.utc)
    entries = await _entries(images)
    left = sum(entry.bytes for entry in entries)
    count = len(entries)
    doomed: list[_Entry] = []
    for entry in entries:
        too_old = older_than is not None and entry.changed < now - older_than
        too_much = limit_bytes is not None and left > limit_bytes
        if (too_old or too_much) and entry.changed < now - UNTOUCHED:
            doomed.append(entry)
            left -= entry.bytes
    freed = sum(entry.bytes for entry in doomed)

    async def delete(entry: _Entry) -> None:
        for name in entry.names:
            await images.objects.delete(name)

    if not dry_run:
        await do_each(doomed, delete)
    return Pruned(len(doomed), freed, count - len(doomed), left)


async def push(
    store: SharedStore, *, dry_run: bool = False, report: Callable[[str], None] = lambda key: None
) -> Pushed:
    """Bring all images of this machine's store that the object store lacks; repairs damaged ones.

    `report` hears of each key that is brought. Raises StoreError.
    """
    await store.images.identify(begin=not dry_run)
    there = await _sizes(store.images)
    counts = {"brought": 0, "there": 0, "damaged": 0}

    async def bring(key: str) -> None:
        image = await in_thread(partial(store.stored, key))
        if image is None:
            counts["damaged"] += 1
        elif _is_there(there, image.data_name, image.data) and image.sidecar_name in there:
            counts["there"] += 1
        else:
            if not dry_run:
                await store.images.put(image)
            counts["brought"] += 1
            report(key)

    await do_each(await in_thread(store.keys), bring)
    return Pushed(**counts)


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
