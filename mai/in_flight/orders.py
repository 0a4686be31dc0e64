"""Images that are ordered now and collected by a later run: what became of each.

The store has what landed and the ledger what was perhaps billed; kept here is only who ordered
what, also over a restart, and why an order came to nothing, until its node has told it.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import (
    Billed,
    BlockedError,
    CancelledCall,
    ConnectionLostError,
    MaiError,
    PendingError,
    ServiceError,
)
from ..types import Progress, Request, Result, client_request_id
from .calls import Siblings

if TYPE_CHECKING:
    from ..ledger import Ledger, PerhapsBilled
    from ..store import Store
    from .order_files import Entry

UNDER_WAY, LANDED, FAILED, LEFT = "under way", "landed", "failed", "left"
"""What becomes of an order. A failure is told once, by the node that collects it. One that is left
was withdrawn, or can be taken up again, unpaid: the next run orders it anew."""


@dataclass(eq=False)
class OrderedImage:
    """One image that a node ordered.

    `key` is its request's, `node` the node's id in the prompt with the id `run`, `at` seconds since
    1970. `error` is why it failed or was left. `heard`: the client has said something of it, so its
    budget and its credential are well. `earlier`: a process that has ended ordered it. `old_loss`
    is the row of the newest call of this request that was perhaps billed before, 0 without one.
    """

    key: str
    node: str
    run: str
    profile: str
    model: str
    at: float
    old_loss: int = 0
    state: str = UNDER_WAY
    error: BaseException | None = None
    heard: bool = False
    earlier: bool = False
    future: Future[Result] | None = None

    def hear(self, progress: Progress) -> None:
        """What the client says of the call."""
        self.heard = True


@dataclass
class OrderedRun:
    """What one prompt ordered: how many images are in which state, and why some are not there.

    `at` is when the first was ordered. `failures` counts each text; `earlier`: by a process that
    has ended, so that ComfyUI's history doesn't hold the prompt.
    """

    run: str
    at: float
    earlier: bool
    models: list[str] = field(default_factory=list)
    states: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)

    def add(self, image: OrderedImage) -> None:
        """Count one more image."""
        self.at = min(self.at, image.at)
        if image.model not in self.models:
            self.models.append(image.model)
        self.states[image.state] += 1
        if image.error is not None:
            self.failures[_words(image.error)] += 1


class Orders:
    """The orders of this process, and those that a process before it left. Safe for threads.

    Nothing is read or written before the first use. What has landed is kept from eviction until it
    is collected. Methods block, but for `follow` and `ended`.
    """

    def __init__(self, folder: Path, store: Store, ledger: Ledger) -> None:
        # Imported here: what writes to the disk would add to ComfyUI's start.
        from .order_files import OrderFiles

        self._files = OrderFiles(folder)
        self._store, self._ledger = store, ledger
        self._lock = threading.RLock()
        self._images: dict[tuple[str, str], OrderedImage] = {}
        self._ended: Counter[str] = Counter()
        self._started = False

    def find(self, node: str, keys: Iterable[str]) -> dict[str, OrderedImage]:
        """What a node ordered and nobody has collected yet, of these keys."""
        self._start()
        with self._lock:
            found = {key: self._images[node, key] for key in keys if (node, key) in self._images}
        self._look_after(found.values())
        return found

    def add(
        self, run: str, node: str, profile: str, wanted: Mapping[str, Request]
    ) -> list[OrderedImage]:
        """Write down that a node orders these requests, by their keys: before they are sent."""
        self._start()
        if not wanted:
            return []
        losses = self._losses()
        new = []
        for key, request in wanted.items():
            image = OrderedImage(key, node, run, profile, request.model, time.time())
            if (loss := losses.get(client_request_id(key))) is not None:
                image.old_loss = loss.row
            new.append(image)
        with self._lock:
            for image in new:
                self._put(image)
            self._save()
        return new

    def follow(self, image: OrderedImage, future: Future[Result], siblings: Siblings) -> None:
        """Hear how the call of an order ends; `siblings` are those that it ends with."""
        image.future = future
        future.add_done_callback(lambda done: self._end(image, done, siblings))

    def move(self, images: Iterable[OrderedImage], run: str) -> None:
        """The orders are another prompt's from now on: the one whose history is the newest."""
        moved = [image for image in images if image.run != run]
        with self._lock:
            for image in moved:
                image.run, image.earlier = run, False
            if moved:
                self._save()

    def remove(self, images: Iterable[OrderedImage]) -> None:
        """Forget orders: they are collected, or their failure is told."""
        with self._lock:
            gone = [image for image in images if self._images.get((image.node, image.key)) is image]
            for image in gone:
                del self._images[image.node, image.key]
                self._store.release(image.key)
            if gone:
                self._save()

    def tell(self, error: BaseException) -> None:
        """Forget the orders that came to nothing by this error: a node has told it already."""
        with self._lock:
            self.remove([image for image in self._images.values() if image.error is error])

    def forget(self, run: str) -> int:
        """Forget what a prompt ordered, as the user says; gives how many images that are.

        What waits for its slot is withdrawn; what is sent goes on into the store.
        """
        self._start()
        with self._lock:
            images = [image for image in self._images.values() if image.run == run]
        self.remove(images)
        for image in images:
            if image.future is not None:
                image.future.cancel()
        return len(images)

    def ended(self, node: str) -> int:
        """How many orders of a node have ended since the program began: it only ever grows."""
        return self._ended[node]

    def is_empty(self) -> bool:
        """Whether there is nothing to collect."""
        self._start()
        return not self._images

    def runs(self) -> list[OrderedRun]:
        """All that isn't collected yet by the prompt that ordered it, the newest first."""
        self._start()
        with self._lock:
            images = list(self._images.values())
        self._look_after(images)
        runs: dict[str, OrderedRun] = {}
        for image in images:
            runs.setdefault(image.run, OrderedRun(image.run, image.at, image.earlier)).add(image)
        return sorted(runs.values(), key=lambda run: run.at, reverse=True)

    def close(self) -> None:
        """The program ends: the next one takes these orders over."""
        self._files.close()

    def _start(self) -> None:
        """Take over what processes that have ended left, once."""
        with self._lock:
            if self._started:
                return
            self._started = True
            entries, taken = self._files.read_left()
            for image in filter(None, map(_left_order, entries)):
                self._put(image)
            with taken:
                self._save()

    def _put(self, image: OrderedImage) -> None:
        old = self._images.get((image.node, image.key))
        self._images[image.node, image.key] = image
        self._store.hold(image.key)
        if old is not None:
            self._store.release(old.key)

    def _save(self) -> None:
        self._files.save([_entry(image) for image in self._images.values()])

    def _end(self, image: OrderedImage, future: Future[Result], siblings: Siblings) -> None:
        """Note how a call ended. The future goes: it holds the image's bytes."""
        if future.cancelled():
            error: BaseException | None = siblings.refusal or _withdrawn()
        else:
            error = future.exception()
        free = isinstance(error, CancelledCall) and error.billed is Billed.NO
        with self._lock:
            image.future, image.error = None, error
            resumable = free or isinstance(error, PendingError)
            image.state = LANDED if error is None else LEFT if resumable else FAILED
            self._ended[image.node] += 1
        image.heard = True

    def _look_after(self, images: Iterable[OrderedImage]) -> None:
        """See what became of orders of a process that ended: the store and the ledger know."""
        open_ones = [image for image in images if image.earlier and image.state == LEFT]
        if not open_ones:
            return
        losses = self._losses()
        for image in open_ones:
            call = losses.get(client_request_id(image.key))
            if self._store.has_arrived(image.key):
                image.state = LANDED
            elif call is not None and call.row > image.old_loss:
                image.state, image.error = FAILED, _lost(call)

    def _losses(self) -> dict[str, PerhapsBilled]:
        """The newest call of each request that was perhaps billed and that nobody has settled."""
        newest_last = reversed(self._ledger.doubtful())
        return {call.client_request_id: call for call in newest_last}


def _entry(image: OrderedImage) -> Entry:
    return {
        "key": image.key,
        "node": image.node,
        "run": image.run,
        "profile": image.profile,
        "model": image.model,
        "at": image.at,
        "old_loss": image.old_loss,
    }


def _left_order(entry: Entry) -> OrderedImage | None:
    """An order of an earlier process; None for an entry that isn't one."""
    texts = [entry.get(name) for name in ("key", "node", "run", "profile", "model")]
    at, loss = entry.get("at"), entry.get("old_loss")
    if not (isinstance(at, float) and isinstance(loss, float)):
        return None
    if not all(isinstance(text, str) for text in texts):
        return None
    key, node, run, profile, model = map(str, texts)
    return OrderedImage(
        key, node, run, profile, model, at, int(loss), LEFT, heard=True, earlier=True
    )


def _withdrawn() -> CancelledCall:
    return CancelledCall("The call was withdrawn before it was sent.", "Queue again.")


def _lost(call: PerhapsBilled) -> ServiceError:
    """The error of an order that went with its process, as far as the ledger knows it."""
    from ..ledger import Outcome

    if call.outcome == Outcome.BLOCKED:
        kind: type[ServiceError] = BlockedError
        what = "The content filter stopped this image before the program was started again."
        hint = "Change the prompt or a reference, or take another seed."
    else:
        kind = ConnectionLostError
        what = "The program ended before this image came, and it was lost."
        hint = "Queue again to buy it."
    return kind(
        what,
        hint,
        status=call.status,
        code=call.code,
        request_id=call.request_id,
        billed=Billed.PERHAPS,
    )


def _words(error: BaseException) -> str:
    """What a page shows of an error: its sentences, without the facts for Microsoft's support."""
    if not isinstance(error, MaiError):
        return "The call failed in a way that was not foreseen; ComfyUI's log says more."
    return f"{error.what} {error.hint}".strip()
