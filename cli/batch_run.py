"""Buys the images of a batch, some at a time, and saves each as soon as it comes.

What waits for its slot is nothing yet: a window of calls is submitted, and a new one when one has
ended, so that memory is the same for ten rows and for a million. A killed job can lose only what
the service has at that moment.
"""

from __future__ import annotations

import queue
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from types import FrameType
from typing import Any

from ..mai.bulk import Row
from ..mai.client import Client
from ..mai.errors import (
    Billed,
    BudgetError,
    ConnectError,
    MaiError,
    PaymentError,
    RateLimitError,
    UnavailableError,
)
from ..mai.in_flight import REFUSES_ALL, SENT
from ..mai.types import Progress, Result
from .batch_folder import BatchFolder, SavingError
from .batch_plan import BatchImage, Plan, is_stored
from .progress import Display, Tally, harmless, what_waits
from .wording import in_options

WINDOW = 64
"""Calls that are submitted and not saved yet, as of the largest batch of a node. At 30 s a call
they make 128 images a minute."""

WINDOW_BYTES = 100_000_000
"""Bytes of the references of calls in the window: five photographs a row would be gigabytes."""

SAVERS = 4
"""Threads that write files and draw thumbnails: two wait for the disk while two draw."""

LOOK = 0.2
"""Seconds between looks for Ctrl-C and at what waits."""

IN_A_ROW = 10
"""Calls one after the other that find no connection or no quota, after which the job ends: all
others would fail in the same way."""

_PASSING = (ConnectError, RateLimitError, SavingError, UnavailableError)

Save = Callable[[BatchImage, Result], dict[str, Any]]
"""Saves an image and gives its facts; MaiError where it can't."""


@dataclass(eq=False)
class _Call:
    """An image that is submitted. `reserved` is what it may cost, `paid` what it did when it came,
    also where it can't be saved; `phase` as of Progress."""

    image: BatchImage
    reserved: float
    paid: float = 0.0
    future: Future[Result] | None = None
    progress: Progress | None = None

    @property
    def sent(self) -> bool:
        return self.progress is not None and self.progress.phase in SENT


@dataclass
class BatchEnd:
    """How a run ended. `stopped` is "" where it went through the file, else "money", "refused" or
    "cancelled"; `reason` says why; `perhaps_billed` are images that were left at the service."""

    tally: Tally
    stopped: str = ""
    reason: str = ""
    perhaps_billed: list[BatchImage] = field(default_factory=list)

    def fail(self, reason: str) -> None:
        """Something else went wrong at the end."""
        self.stopped = self.stopped or "refused"
        self.reason = f"{self.reason}; {reason}" if self.reason else reason


class BatchRun:
    """One run over the images of a file. `interrupt` may be called by a signal's handler."""

    def __init__(
        self,
        client: Client,
        folder: BatchFolder,
        plan: Plan,
        save: Save,
        display: Display,
        limit_usd: float | None,
    ) -> None:
        self._client = client
        self._folder = folder
        self._plan = plan
        self._save = save
        self._display = display
        self._calls: dict[str, _Call] = {}
        self._waiting: dict[str, list[_Call]] = {}
        self._settled: queue.SimpleQueue[tuple[_Call, dict[str, Any] | BaseException]] = (
            queue.SimpleQueue()
        )
        self._savers = ThreadPoolExecutor(SAVERS, "mai-image-batch")
        self._lost: dict[str, MaiError] = {}
        """Requests of this run that were perhaps billed and brought nothing, by key."""
        self._withdrawn: list[BatchImage] = []
        self._interrupts = 0
        self._left_in_row: dict[str, int] = {}
        self._failures_in_row = 0
        self._tally = Tally(plan.images, to_buy=plan.bought, limit_usd=limit_usd)
        self._end = BatchEnd(self._tally)
        self._began = time.monotonic()

    def interrupt(self) -> None:
        """Send nothing more; the second time, wait for nothing more."""
        self._interrupts += 1

    def run(self, images: Iterable[BatchImage | tuple[Row, MaiError]]) -> BatchEnd:
        """Go through the images; a row that can't be asked for any more has its error instead."""
        try:
            for item in images:
                self._look_for_interrupt()
                if isinstance(item, tuple):
                    self._fail_row(*item)
                elif not self._end.stopped:
                    self._begin(item)
                if self._end.stopped:
                    break
                self._take_all(block=False)
            while self._calls:
                self._take_all(block=True)
            self._wait_for_withdrawn()
        except _EndNowError:
            self._stop(*_CANCELLED)  # both may have come between two looks
            self._end.perhaps_billed = [call.image for call in self._calls.values() if call.sent]
        finally:
            self._savers.shutdown(wait=self._interrupts < 2, cancel_futures=True)
        self._tally.waiting = self._tally.ending = ""
        self._tally.seconds = None
        return self._end

    def _begin(self, image: BatchImage) -> None:
        """Submit an image when there is room and money for it, unless it is there already."""
        if self._folder.has(image):
            self._tally.there += 1
            self._count_of_row(image)
            return
        while image.key in self._calls:  # the same request: it comes out of the store, or fails too
            self._take_all(block=True)
        stored = is_stored(self._client, image) and self._is_whole(image)
        if not stored and (error := self._known_error(image)) is not None:
            self._fail(image, error)
            return
        price = 0.0 if stored else image.estimate
        while not self._has_room(image) or not self._can_pay(price):
            if self._end.stopped:
                return
            if not self._calls:
                self._stop("money", _over_limit(self._tally, price))
                return
            self._take_all(block=True)
        if not self._end.stopped:
            self._submit(image, price)

    def _is_whole(self, image: BatchImage) -> bool:
        """Whether what the store has can be had for nothing; a damaged image is bought again. Read
        where a limit hangs on it."""
        if self._tally.limit_usd is None:
            return True
        return bool(self._client.store.arrived({image.key, image.old_key}))

    def _known_error(self, image: BatchImage) -> MaiError | None:
        """Why an image isn't asked for again: nobody pays for the same request twice by himself."""
        if self._folder.was_blocked(image):
            return self._folder.blocked_error(image)
        lost = self._lost.get(image.key)
        return lost and type(lost)(
            lost.what, "Another row asked for the same.", billed=Billed.NO, code=lost.code
        )

    def _has_room(self, image: BatchImage) -> bool:
        held = sum(call.image.bytes for call in self._calls.values())
        return len(self._calls) < WINDOW and (not self._calls or held + image.bytes <= WINDOW_BYTES)

    def _can_pay(self, price: float) -> bool:
        """Whether the limit holds if this image and all that are out cost their estimates."""
        limit = self._tally.limit_usd
        if limit is None or not price:
            return True
        reserved = sum(call.reserved for call in self._calls.values())
        return _nano(self._tally.usd + reserved + price) <= _nano(limit)

    def _submit(self, image: BatchImage, price: float) -> None:
        call = _Call(image, price)
        self._calls[image.key] = call
        hear = partial(self._hear, call)
        call.future = self._client.submit(image.request, image.row.profile, hear)
        call.future.add_done_callback(partial(self._came, call))

    def _hear(self, call: _Call, progress: Progress) -> None:
        """In the client's thread: what a call is doing."""
        call.progress = progress
        if self._end.stopped and not call.sent and call.future is not None:
            call.future.cancel()

    def _came(self, call: _Call, future: Future[Result]) -> None:
        """In the client's thread: let a saver have it, and keep no image here."""
        call.future = None
        with suppress(RuntimeError):  # the run was ended at once
            self._savers.submit(self._settle, call, future)

    def _settle(self, call: _Call, future: Future[Result]) -> None:
        """In a saver's thread."""
        try:
            result = future.result()
            call.paid = _paid(result, call.image)
            facts = self._save(call.image, result)
            self._settled.put((call, {**facts, "usd": call.paid}))
        except Exception as error:  # noqa: BLE001  whatever it is, the row has failed
            self._settled.put((call, error))

    def _take_all(self, block: bool) -> None:
        """Take note of what has ended; `block` waits for the first a moment."""
        with suppress(queue.Empty):
            call, outcome = self._settled.get(timeout=LOOK) if block else self._settled.get_nowait()
            while True:
                self._take(call, outcome)
                call, outcome = self._settled.get_nowait()
        self._look_for_interrupt()
        calls = list(self._calls.values())
        self._tally.waiting = what_waits(call.progress for call in calls if call.progress)
        self._tally.seconds = self._seconds_left()
        self._display.show(self._tally)

    def _take(self, call: _Call, outcome: dict[str, Any] | BaseException) -> None:
        del self._calls[call.image.key]
        if isinstance(outcome, CancelledError):
            self._withdrawn.append(call.image)
            return
        self._tally.usd += call.paid
        if isinstance(outcome, dict):
            self._failures_in_row = 0
            if outcome["from_store"]:
                self._tally.stored += 1
            else:
                self._tally.bought += 1
            self._folder.add_result(call.image, outcome, outcome.pop("bytes"))
            self._count_of_row(call.image)
            return
        error = outcome if isinstance(outcome, MaiError) else _unforeseen(outcome)
        self._take_error(call, error)

    def _take_error(self, call: _Call, error: MaiError) -> None:
        """Note a failed image, or end the job where all others would fail in the same way."""
        if error.billed is not Billed.NO:
            price = error.cost_usd if error.cost_usd is not None else call.image.estimate
            self._tally.usd += price if call.reserved else 0.0  # else it was paid before
            self._lost[call.image.key] = error
        elif isinstance(error, REFUSES_ALL) and not isinstance(error, SavingError):
            money = isinstance(error, (BudgetError, PaymentError))
            self._stop("money" if money else "refused", str(error))
            return
        self._failures_in_row += 1
        if not isinstance(error, _PASSING) or error.billed is not Billed.NO:
            self._failures_in_row = 0
        self._fail(call.image, error)
        if self._failures_in_row >= IN_A_ROW:
            self._stop("refused", f"{IN_A_ROW} images one after the other failed: {error}")

    def _fail(self, image: BatchImage, error: MaiError) -> None:
        self._tally.failed += 1
        self._folder.add_error(image.row, image.n, image.mark, error)
        self._tell(image.row, error)
        self._count_of_row(image)

    def _fail_row(self, row: Row, error: MaiError) -> None:
        self._tally.failed += row.count
        self._folder.add_error(row, 0, "", error)
        self._tell(row, error)
        self._folder.set_done(row.id)

    def _tell(self, row: Row, error: MaiError) -> None:
        what = harmless(error.what)
        self._display.say(f"line {row.line}, {harmless(row.id)[:60]}: {what[:300]}")

    def _count_of_row(self, image: BatchImage) -> None:
        left = self._left_in_row.pop(image.row.id, image.row.count) - 1
        if left:
            self._left_in_row[image.row.id] = left
        else:
            self._folder.set_done(image.row.id)

    def _stop(self, how: str, reason: str) -> None:
        """Send nothing more. What waits for a slot is withdrawn, what is sent is waited for."""
        if self._end.stopped:
            return
        self._end.stopped, self._end.reason = how, in_options(reason)
        self._tally.ending = "ending: nothing more is sent"
        for call in list(self._calls.values()):
            future = call.future
            if not call.sent and future is not None:
                future.cancel()

    def _look_for_interrupt(self) -> None:
        if self._interrupts > 1:
            raise _EndNowError
        if self._interrupts and not self._end.stopped:
            self._stop(*_CANCELLED)
            if self._calls:
                self._display.say(
                    "Nothing more is sent. Waiting for what the service has; once more ends at "
                    "once, and loses what may be billed."
                )

    def _wait_for_withdrawn(self) -> None:
        """A call that was sent in the moment in which it was withdrawn goes on: wait for its image
        in the store, and save it."""
        while self._end.stopped and any(c.phase in SENT for c in self._client.in_flight()):
            time.sleep(LOOK)
            self._look_for_interrupt()
        for image in self._withdrawn:
            if is_stored(self._client, image):
                self._submit(image, 0.0)
        while self._calls:
            self._take_all(block=True)

    def _seconds_left(self) -> float | None:
        """By the pace so far, but no less than what is left of the plan's time: the first calls
        go faster than the quota lets the others go."""
        tally, planned = self._tally, self._plan.seconds
        if tally.bought < 3:
            return planned
        left = max(0, tally.to_buy - tally.bought - tally.failed)
        pace = (time.monotonic() - self._began) / tally.bought
        return max(left * pace, (planned or 0.0) * left / max(1, tally.to_buy))


_CANCELLED = ("cancelled", "stopped by Ctrl-C or a signal")


class _EndNowError(Exception):
    """Ctrl-C came twice."""


@contextmanager
def interruptible(interrupt: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C, and a signal that ends programs, call `interrupt`; what is ignored stays ignored."""
    before: dict[int, Any] = {}

    def handle(number: int, frame: FrameType | None) -> None:
        interrupt()

    if threading.current_thread() is threading.main_thread():
        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _paid(result: Result, image: BatchImage) -> float:
    """USD that an image cost; its estimate where the answer said nothing of its tokens."""
    return image.estimate if result.cost_usd is None else result.cost_usd


def _over_limit(tally: Tally, price: float) -> str:
    return (
        f"the next image costs up to ${price:.4f}, and ${tally.usd:.4f} of --max-usd "
        f"${tally.limit_usd or 0:g} are spent"
    )


def _nano(usd: float) -> int:
    """Whole nano-dollars, so that sums compare exactly."""
    return round(usd * 1_000_000_000)


def _unforeseen(error: BaseException) -> MaiError:
    return MaiError(
        f"An unforeseen error: {type(error).__name__}: {error}.", "The image may be in the store."
    )
