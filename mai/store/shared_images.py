"""The images that all machines of a studio share: each as two objects of an object store.

    ab/abcdef…-0123….png       the image; its name ends with the beginning of its SHA-256
    ab/abcdef….json            its sidecar, as beside a local image; it says which image is meant
    unreadable/…               the same of what was paid for and can't be read as an image
    mai-image.json             says which store this is

Every object is written with if-none-match, the image before its sidecar, so a sidecar that can be
read has its image. As an image's name is that of its bytes, two machines that bring different
images for one key can't mix them up: the first sidecar counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..disk import in_thread, make_folder, read_file, write_durable
from ..errors import StoreError
from ..formats import parse_json
from .objects import ObjectStore, do_each
from .sidecar import DamagedImage, parse_sidecar, parse_unreadable_sidecar
from .unreadable import describe_unreadable, in_place

logger = logging.getLogger(__name__)

MARKER = "mai-image.json"
UNREADABLE = "unreadable"

_HASH_DIGITS = 16
"""Of an image's SHA-256 in its name; the sidecar holds all 64."""


@dataclass(frozen=True, slots=True)
class StoredImage:
    """What arrived for a key, as it is stored: its bytes and its sidecar's.

    `facts` are the sidecar's; `readable` False for what is no image.
    """

    key: str
    data: bytes
    sidecar: bytes
    facts: Mapping[str, Any]
    ending: str
    readable: bool = True

    @property
    def sidecar_name(self) -> str:
        """The sidecar's object."""
        return _sidecar_name(self.key, self.readable)

    @property
    def data_name(self) -> str:
        """The object of the bytes."""
        return _data_name(self.key, self.facts, self.ending, self.readable)


class SharedImages:
    """The images in `objects`. `endings` are those of an image's name, by MIME type.

    `memory` is a local file that remembers which store was found at an address: an empty one in
    its place (a share that isn't mounted) is refused, as everything would be bought again.
    """

    def __init__(self, objects: ObjectStore, endings: Mapping[str, str], memory: Path) -> None:
        self.objects = objects
        self._endings = endings
        self._memory = memory
        self.may_begin: Callable[[], bool] = lambda: True
        """Whether an empty store may be begun, for all that the other machines know. Blocks."""

    async def get(self, key: str) -> StoredImage | None:
        """The image of a key, its bytes verified; None where there is none, or a damaged one.

        Raises UnreadableError where what came for the key is no image, StoreError where it can't
        be known.
        """
        sidecar = await self.objects.read(_sidecar_name(key))
        if sidecar is None:
            await self._require_none(key)
            return None
        try:
            return await self._get_meant(key, sidecar)
        except DamagedImage as damage:
            logger.warning(
                "Image %s of %s is damaged (%s). It isn't used: it is bought again when it is "
                "asked for, or repaired by a machine that has it, by `mai-image store push` there.",
                key[:12],
                self.objects,
                damage,
            )
            return None

    async def has_arrived(self, key: str) -> bool:
        """Whether there is a sidecar for the key: of an image, or of what can't be read."""
        readable, unreadable = await asyncio.gather(
            self.objects.read(_sidecar_name(key)),
            self.objects.read(_sidecar_name(key, readable=False)),
        )
        return readable is not None or unreadable is not None

    async def arrived(self, keys: Iterable[str]) -> set[str]:
        """Those of the keys for which there is a sidecar."""
        found: set[str] = set()

        async def look(key: str) -> None:
            if await self.has_arrived(key):
                found.add(key)

        await do_each(keys, look)
        return found

    async def is_whole(self, key: str) -> bool:
        """Whether an image is there, as far as that is seen without reading it."""
        sidecar = await self.objects.read(_sidecar_name(key))
        try:
            facts = parse_sidecar(sidecar or b"", key)
            found = await self.objects.find(self._data_name_of(key, facts, readable=True))
        except DamagedImage:
            return False
        return found is not None and found.bytes == facts["bytes"]

    async def put(self, image: StoredImage) -> None:
        """Bring an image, unless a whole one is there; a damaged one is replaced."""
        await self.identify()
        if not await self.objects.create(image.data_name, image.data):
            there = await self.objects.read(image.data_name, large=True)
            if there != image.data:
                logger.warning("Image %s of %s is repaired.", image.key[:12], self.objects)
                await self.objects.replace(image.data_name, image.data)
        if await self.objects.create(image.sidecar_name, image.sidecar):
            return
        meant = await self._get_other(image)
        if meant is None:
            logger.warning("The sidecar of image %s is written anew.", image.key[:12])
            await self.objects.replace(image.sidecar_name, image.sidecar)
        elif meant != image.data_name:
            await self.objects.delete(image.data_name)

    async def delete(self, key: str) -> None:
        """Delete what came for a key, the sidecars first."""
        for readable in (True, False):
            name = _sidecar_name(key, readable)
            sidecar = await self.objects.read(name)
            if sidecar is None:
                continue
            await self.objects.delete(name)
            facts = _facts_or_none(sidecar)
            if facts is not None:
                with contextlib.suppress(DamagedImage):  # prune finds bytes that no sidecar means
                    await self.objects.delete(self._data_name_of(key, facts, readable))

    async def identify(self, *, begin: bool = False) -> None:
        """Make sure that this is the store that was here before; StoreError where it isn't.

        One without a marker is begun if nobody has seen another, or with `begin`; then this machine
        takes whatever is there as the one.
        """
        known = None if begin else await in_thread(self._remembered)
        marker = await self.objects.read(MARKER)
        if marker is None and known is None and (begin or await in_thread(self.may_begin)):
            mark = json.dumps({"version": 1, "id": secrets.token_hex(16)})
            await self.objects.create(MARKER, mark.encode())
            marker = await self.objects.read(MARKER)
        found = _identity(marker)
        if known is None and found:
            await in_thread(partial(self._remember, found))
        elif found != known or not found:
            raise StoreError(
                f"{self.objects} isn't the one that was there before: its {MARKER} is "
                f"{'another one' if marker else 'missing'}.",
                "Check that the folder is mounted, or that the container is the right one. If it "
                "was replaced on purpose, `mai-image store push` takes it as it is.",
            )

    async def _require_none(self, key: str) -> None:
        """There is no sidecar: make sure that this means that nothing was bought."""
        unreadable, _ = await asyncio.gather(
            self.objects.read(_sidecar_name(key, readable=False)), self.identify()
        )
        if unreadable is None:
            return
        try:
            reason, request_id = parse_unreadable_sidecar(unreadable, key)
        except DamagedImage:
            reason, request_id = "its sidecar, which says why, is damaged", None
        where = in_place(f"{self.objects.address}/{UNREADABLE}/{key}-…")
        raise describe_unreadable(key, where, reason, request_id)

    async def _get_meant(self, key: str, sidecar: bytes) -> StoredImage:
        """The image that a sidecar means; raises DamagedImage."""
        facts = parse_sidecar(sidecar, key)
        name = self._data_name_of(key, facts, readable=True)
        data = await self.objects.read(name, large=True)
        if data is None:
            raise DamagedImage("its bytes are missing")
        digest = await in_thread(lambda: hashlib.sha256(data).hexdigest())
        if digest != facts["sha256"] or len(data) != facts["bytes"]:
            raise DamagedImage(f"its {len(data)} bytes are not those that arrived")
        return StoredImage(key, data, sidecar, facts, self._ending(facts))

    async def _get_other(self, image: StoredImage) -> str | None:
        """The bytes' name that the sidecar which is there already means; None: it is damaged."""
        sidecar = await self.objects.read(image.sidecar_name)
        if sidecar == image.sidecar:
            return image.data_name
        try:
            if sidecar is None:
                return None
            if not image.readable:
                parse_unreadable_sidecar(sidecar, image.key)
                facts = _facts_or_none(sidecar) or {}
                return self._data_name_of(image.key, facts, readable=False)
            return (await self._get_meant(image.key, sidecar)).data_name
        except DamagedImage:
            return None

    def _data_name_of(self, key: str, facts: Mapping[str, Any], readable: bool) -> str:
        return _data_name(key, facts, self._ending(facts), readable)

    def _ending(self, facts: Mapping[str, Any]) -> str:
        return self._endings.get(str(facts.get("media_type")), ".bin")

    def _remembered(self) -> str | None:
        """The identity of the store that was found at this address."""
        try:
            found = parse_json(read_file(self._memory))
        except (OSError, ValueError):
            return None
        known = found.get(str(self.objects.address)) if isinstance(found, dict) else None
        return known if isinstance(known, str) else None

    def _remember(self, identity: str) -> None:
        make_folder(self._memory.parent)
        facts = {str(self.objects.address): identity}
        write_durable(self._memory, json.dumps(facts).encode())


def _sidecar_name(key: str, readable: bool = True) -> str:
    return f"{key[:2] if readable else UNREADABLE}/{key}.json"


def _data_name(key: str, facts: Mapping[str, Any], ending: str, readable: bool) -> str:
    """Raises DamagedImage where the sidecar has no hash to make a name of."""
    digest = str(facts.get("sha256", ""))[:_HASH_DIGITS]
    if len(digest) != _HASH_DIGITS or set(digest) - set("0123456789abcdef"):
        raise DamagedImage("its sidecar has no hash")
    return f"{key[:2] if readable else UNREADABLE}/{key}-{digest}{ending}"


def _facts_or_none(sidecar: bytes) -> Mapping[str, Any] | None:
    try:
        facts = parse_json(sidecar)
    except ValueError:
        return None
    return facts if isinstance(facts, dict) else None


def _identity(marker: bytes | None) -> str:
    facts = None if marker is None else _facts_or_none(marker)
    found = facts.get("id") if facts else None
    return found if isinstance(found, str) else ""
