"""A store whose images all machines of a studio share: the local one, and an object store behind.

The local store is this machine's cache, with a limit of its own; a hit there is a hit as in every
store. `fetch` looks into the object store and brings what it finds. Every image that is bought is
noted in `uploads`, kept on the disk, and then brought to the object store by the client's
event loop, as soon as that answers: nobody waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ..disk import in_thread, within
from ..errors import ConfigurationError, MaiError, StoreError, UnreadableError
from ..types import Result
from .objects import ObjectStore, do_each
from .shared_images import SharedImages, StoredImage
from .sidecar import DamagedImage, Order, parse_sidecar, restore, unreadable_facts
from .store import ENDINGS, Store
from .uploads import Uploads

logger = logging.getLogger(__name__)

AT_ONCE = 4
"""Images that are brought to the object store at once."""

SOON_SECONDS = 2.0
"""Between tries where the ledger couldn't be told, or an image is just being written."""

LOOK_SECONDS = 30.0
"""Between looks at what waits: another process of this machine may have left something."""

OnUploaded = Callable[[str, Mapping[str, Any]], bool]
"""Hears, in a thread, of a key that the object store has now, with its sidecar's facts. False: it
is to be told again."""

LOOK_AGAIN_SECONDS = 3600.0
"""Between looks whether the object store still has an image that is given here again and again."""

LOOKED_FOR_AT_ONCE = 32
"""Images that are looked for before those are brought that were bought meanwhile."""

LONGEST_PAUSE = 10.0
"""Seconds between tries to reach an object store that doesn't answer."""


class SharedStore(Store):
    """A local store in `folder`, and `objects` behind it.

    With `buy_without_store` an object store that doesn't answer has nothing.
    """

    limit_setting = ("cache_gb", "[shared]")

    def __init__(
        self,
        folder: Path,
        limit_bytes: int,
        objects: ObjectStore,
        *,
        buy_without_store: bool = False,
    ) -> None:
        super().__init__(folder, limit_bytes)
        self.images = SharedImages(objects, ENDINGS, folder / "shared.json")
        self._buy_without_store = buy_without_store
        self.was_shared: Callable[[str], bool] = lambda key: True
        """Whether the image of a key was brought for all, and not given up since. Blocks."""
        self._on_uploaded: OnUploaded = lambda key, facts: True
        self._given: dict[str, None] = {}
        """Keys of images that were given here, to be looked for in the object store."""
        self._looked_for: dict[str, float] = {}
        """By key: when to look for it again, by `time.monotonic()`."""
        self._uploads = Uploads(folder / "uploads")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._noted = asyncio.Event()

    # Looking up

    def get(self, key: str) -> Result | None:
        """As in every store. If the object store has lost what is given, it is brought back."""
        found = super().get(key)
        if found is not None and self._looked_for.get(key, 0.0) < time.monotonic():
            self._given[key] = None
            self._wake()
        return found

    async def fetch(self, *keys: str) -> Result | None:
        """The image of one of the keys from the object store; from then on the local store has it.

        None where the object store has none. Raises StoreError where that can't be known, so that
        nothing is bought twice, and UnreadableError as `get` does.
        """
        try:
            found = await asyncio.gather(*(self.images.get(key) for key in dict.fromkeys(keys)))
        except StoreError as error:
            if not self._buy_without_store:
                raise StoreError(
                    f"It can't be known whether this was bought before: {error.what} Nothing was "
                    "sent.",
                    f"{error.hint} To buy all the same, set buy_without_store = true in [shared].",
                ) from None
            logger.warning("An image may be bought a second time: %s", error.what)
            return None
        image = next((image for image in found if image is not None), None)
        return None if image is None else await in_thread(partial(self._take_in, image))

    def has_arrived(self, key: str) -> bool:
        """As in every store, also for what another machine has: see `arrived`."""
        return bool(self.arrived([key]))

    def arrived(self, keys: Iterable[str]) -> set[str]:
        """Also those for which the object store has something. Not from the event loop.

        Raises StoreError where the object store doesn't say.
        """
        wanted = list(keys)
        here = {key for key in wanted if super(SharedStore, self).has_arrived(key)}
        missing = [key for key in wanted if key not in here]
        if not missing or self._loop is None:
            return here
        asked = asyncio.run_coroutine_threadsafe(self.images.arrived(missing), self._loop)
        return here | asked.result()

    def _take_in(self, image: StoredImage) -> Result:
        """Keeps an image of the object store here too. Blocks."""
        facts = dict(image.facts)
        result = restore(facts, image.data)
        try:
            self._keep(image.key, result, facts, time.time_ns())
        except StoreError as error:
            logger.warning("An image of the object store isn't kept here: %s", error)
        return result

    # Keeping

    def put(self, key: str, result: Result, order: Order) -> None:
        """As in every store; then the image is brought to the object store, which isn't waited
        for."""
        self._note(key)
        super().put(key, result, order)
        self._wake()

    def keep_unreadable(
        self, key: str, model: str, error: UnreadableError, order: Order
    ) -> UnreadableError:
        """As in every store; then the bytes are brought to the object store too."""
        self._note(key)
        kept = super().keep_unreadable(key, model, error, order)
        self._wake()
        return kept

    async def forget_shared(self, key: str) -> None:
        """Deletes what the object store has for a key; `forget` is for this machine."""
        await in_thread(partial(self._uploads.remove, key))
        await self.images.delete(key)

    def stored(self, key: str) -> StoredImage | None:
        """What this machine has of a key, verified, for the object store; None where that is
        nothing, or damaged. Blocks; raises OSError."""
        sidecar = self._sidecar(key)
        with contextlib.suppress(FileNotFoundError, DamagedImage):
            written = sidecar.read_bytes()
            facts = parse_sidecar(written, key)
            ending = ENDINGS.get(facts["media_type"], ".bin")
            data = sidecar.with_suffix(ending).read_bytes()
            restore(facts, data)
            return StoredImage(key, data, written, facts, ending)
        return self._unreadable_stored(key)

    def _unreadable_stored(self, key: str) -> StoredImage | None:
        with contextlib.suppress(DamagedImage):
            if (found := self._unreadable.read(key)) is not None:
                data, sidecar = found
                facts = unreadable_facts(sidecar, data, key)
                return StoredImage(key, data, sidecar, facts, ".bin", readable=False)
        return None

    def _note(self, key: str) -> None:
        """Before an image is written: it has to be brought to the object store."""
        try:
            self._uploads.add(key)
        except OSError as error:
            raise self._explain(error, "written") from error

    def _staying_keys(self) -> set[str]:
        """Also what the object store doesn't have yet."""
        return super()._staying_keys() | set(self._uploads.keys())

    # Bringing

    def waiting(self) -> int:
        """How many images the object store doesn't have yet."""
        return len(self._uploads.keys())

    def start(self, on_uploaded: OnUploaded) -> None:
        """Begin to bring what waits; in the event loop that goes on with it."""
        self._on_uploaded = on_uploaded
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._keep_bringing())

    async def end(self, seconds: float) -> None:
        """Give images that wait so many seconds; the others are brought when this starts again."""
        if self._task is None:
            return
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        try:
            if await within(seconds, self.bring()):
                logger.warning("%d images are noted as shared later", self.waiting())
        except (asyncio.TimeoutError, StoreError, ConfigurationError, OSError) as error:
            if count := self.waiting():
                logger.warning("%d images go to the object store later: %s", count, error)

    async def bring(self) -> int:
        """Bring all that waits; gives how many still do. StoreError: the object store fails.

        First what was bought, as other machines may wait for it; then what is lost there.
        """
        left = await self._bring_noted()
        if await self._find_lost():
            left = await self._bring_noted()
        return left

    async def _bring_noted(self) -> int:
        """Bring what is noted in `uploads`; gives how many still wait."""
        keys = await in_thread(self._uploads.keys)
        brought = 0
        for begin in range(0, len(keys), AT_ONCE):
            brought += sum(await asyncio.gather(*map(self._bring_one, keys[begin:][:AT_ONCE])))
        return len(keys) - brought

    async def _find_lost(self) -> bool:
        """Note of the images that were given here those that the object store has no more.

        Looks for some of them, and has the others looked for after what is bought meanwhile. False:
        none is lost. Where that can't be known, the next time that one is given is soon enough.
        """
        lost: list[str] = []

        async def look(key: str) -> None:
            with contextlib.suppress(MaiError):
                if not await self.images.is_whole(key) and await in_thread(
                    partial(self.was_shared, key)
                ):
                    logger.warning(
                        "Image %s was deleted or damaged in %s. This machine brings it back.",
                        key[:12],
                        self.images.objects,
                    )
                    await in_thread(partial(self._note, key))
                    lost.append(key)
                self._looked_for[key] = time.monotonic() + LOOK_AGAIN_SECONDS
            self._given.pop(key, None)

        given = list(self._given)[:LOOKED_FOR_AT_ONCE]
        try:
            if given:
                await self.images.identify()  # a folder that isn't mounted has lost nothing
        except MaiError:
            self._given.clear()
            return False
        await do_each(given, look)
        if self._given:
            self._noted.set()
        return bool(lost)

    async def _bring_one(self, key: str) -> bool:
        image = await in_thread(partial(self.stored, key))
        if image is None:
            await in_thread(partial(self._uploads.remove_if_stale, key))
            return False
        await self.images.put(image)
        if not await in_thread(partial(self._on_uploaded, key, image.facts)):
            return False
        await in_thread(partial(self._uploads.remove, key))
        return True

    async def _keep_bringing(self) -> None:
        """Bring what comes, for ever; what can't be brought is tried again."""
        failures = 0
        while True:
            self._noted.clear()
            pause = LOOK_SECONDS
            try:
                if await self.bring():
                    pause = SOON_SECONDS
                if failures:
                    logger.warning("The object store answers again; it has all images now.")
                failures = 0
            except (StoreError, ConfigurationError, OSError) as error:
                if not failures:
                    logger.warning("Images wait for the object store here: %s", error)
                failures += 1
                pause = min(2.0 ** (failures - 1), LONGEST_PAUSE)
            with contextlib.suppress(asyncio.TimeoutError):
                await within(pause, self._noted.wait())

    def _wake(self) -> None:
        """From any thread: something waits."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._noted.set)
