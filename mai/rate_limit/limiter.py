"""The rate limiter: calls wait here until their deployment may be called.

Every call takes a ticket in one queue, whichever process it comes from: quota.sqlite, or the
database that the machines of a studio share. The first ticket for a deployment is served when
`Pacing` says so; machines take turns. Why no library does this stands in benchmarks/README.md.
Nothing in the queue is worth much: a lost one costs a few refusals. So it is written without
waiting for the disk, and a damaged file, or one of another version, is begun anew.

The file is visited in the event loop, as that takes a millisecond; a database in a thread, as it
may be far away, and wakes who waits by NOTIFY.

Times of the file are `time.perf_counter()`: since Python 3.10 one clock for all processes on Linux,
macOS and Windows, counted from the start of the machine, so that setting the wall clock changes
nothing. It begins anew with a reboot: a stored time that lies ahead of the clock shows that, see
`Pacing.update`. Times of a database are its own clock's: machines' clocks don't matter.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import platform
import random
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from ..database import (
    BusyError,
    DamagedError,
    DatabaseGone,
    DatabaseServer,
    RolledBackError,
    database_at,
)
from ..disk import ignore_error
from ..errors import StoreError
from .bell import Bell
from .pacing import LEAD_MAX, LIMIT_MAX, LIMIT_MIN, Pacing
from .queue import SCHEMA, Deployment
from .visit import Change, Expectation, Rhythm, SignsOfLife, SlotWaiter, Visit

logger = logging.getLogger(__name__)

TICK = 1.0
"""Seconds between two reports to a call that waits."""
TIMER_ERROR = 0.01
"""Seconds by which a timer may come too early."""
ON_SERVER = Rhythm(
    look=2.0,
    look_again=1.0,
    work_out=5.0,
    passed_over_after=5.0,
    dead_after=10.0,
    say_after=1.5,
    fail_after=4.5,
)
"""With a studio's database, which fifty machines ask."""
RETRY_BUSY, RETRY_LOCKED, RETRY_UNWATCHED = 0.02, 0.25, 2.0
"""Seconds until the next try while the queue can't be visited: at first, when a transaction's
milliseconds are all that is likely; later; and where nobody waits for it."""
SAY_SENT_WITHIN = 0.25
"""Seconds until others know that the call of a slot is sent, if nothing else is to be written
before: a visit of its own for each call would be twice the work."""
CONFIRM_AFTER = 3600.0
"""Seconds after which a server's limit that stayed the same is written down again, long before it
expires."""


def in_file(tick: float) -> Rhythm:
    """The rhythm for quota.sqlite. A transaction takes milliseconds: who holds the file for 2 s was
    stopped in the middle of one."""
    return Rhythm(
        look=tick,
        look_again=0.25,
        work_out=tick,
        passed_over_after=3 * tick,
        dead_after=3 * tick,
        say_after=2.0,
        fail_after=10.0,
    )


class CooldownTooLong(Exception):
    """The cooldown of `deployment` is over in `seconds`, which is longer than the caller waits."""

    def __init__(self, seconds: float, deployment: Deployment) -> None:
        super().__init__(f"{deployment.name} takes no calls for another {seconds:.0f} s.")
        self.seconds = seconds
        self.deployment = deployment


class RateLimiter:
    """The queue for all deployments. To be used from one event loop at a time.

    `where` is quota.sqlite, or the studio's database; there machines take turns, and `machine` is
    this one's name ("": its host name). `clock` gives seconds and must be the same for all who
    share the queue, None: the usual one. `tick` is the number of seconds between two reports to
    `on_wait`. After `say_locked_after` seconds of another process holding the file a call that
    waits hears of it, after `fail_locked_after` it fails. `rhythm` replaces all of these times.
    """

    def __init__(
        self,
        where: Path | DatabaseServer,
        *,
        machine: str = "",
        clock: Callable[[], float] | None = None,
        tick: float = TICK,
        say_locked_after: float | None = None,
        fail_locked_after: float | None = None,
        rhythm: Rhythm | None = None,
    ) -> None:
        self._where = where
        self._database = database_at(where, SCHEMA)
        process = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._owner = process
        self._clock = clock or (None if self._database.shared else time.perf_counter)
        rhythm = rhythm or (ON_SERVER if self._database.shared else in_file(tick))
        if say_locked_after is not None:
            rhythm = replace(rhythm, say_after=say_locked_after)
        if fail_locked_after is not None:
            rhythm = replace(rhythm, fail_after=fail_locked_after)
        self._rhythm = rhythm
        self._tick = tick
        # Who had no answer from a database for so long has given up.
        believed = rhythm.passed_over_after if self._database.shared else math.inf
        self._signs = SignsOfLife(2 * rhythm.look, believed)
        self._waiters: dict[SlotWaiter, None] = {}
        """Who waits, in the order of asking."""
        self._held: dict[SlotWaiter, asyncio.TimerHandle] = {}
        """Who has a slot that is due in a moment."""
        self._unsent: dict[str, list[float]] = {}
        """By deployment: the slots that were given here and whose calls aren't sent yet."""
        self._changes: list[Change] = []
        self._unclean = False
        """There may be tickets in the queue for which nobody waits any more."""
        self._must_lock = self._is_urgent = self._is_out = False
        self._lead = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._visit_at = self._slot_visit_at = self._tried_at = -math.inf
        self._reported_at = self._worked_out_at = -math.inf
        self._server_limits: dict[str, tuple[float, float]] = {}
        """By deployment: the requests a minute that were written down last, and when."""
        self._bell: Bell | None = None
        self._thread: ThreadPoolExecutor | None = None
        if isinstance(where, DatabaseServer):
            self._owner = f"{machine or platform.node()}/{process}"
            self._bell = Bell(where, self._owner, self._hear, lambda: bool(self._waiters))
            self._thread = ThreadPoolExecutor(1, "mai-image-rate-limit")

    async def acquire(
        self,
        deployments: Sequence[Deployment],
        on_wait: Callable[[float, float | None], None] | None = None,
        *,
        on_locked: Callable[[str], None] | None = None,
        first: bool = False,
        unsent: bool = False,
        max_cooldown: float = math.inf,
    ) -> Deployment:
        """Wait for a slot on whichever of `deployments` has one first, and give that one.

        Machines take turns; on one machine it is first come, first served, in all processes;
        `first` is for a call that had a slot and was refused: it goes before those that had none
        yet. `on_wait(seconds, rpm)` hears once a second how long it will be, and at how many
        requests a minute (None: unknown). `on_locked(holder)` hears instead that another process
        keeps all others from the quota file ("process 1234"). Cancelling withdraws the ticket. With
        `unsent` the caller says `mark_sent` when the call is sent, or `give_back`; the slot of a
        process that dies before is given to others when it has been silent for `dead_after`.
        CooldownTooLong as soon as no deployment takes calls for more than `max_cooldown` seconds;
        the length of the queue doesn't matter. StoreError where the queue can't be used, or is kept
        from this process for too long; DatabaseGone where the studio's database doesn't answer.
        """
        if not deployments:
            raise ValueError("acquire needs at least one deployment")
        loop = asyncio.get_running_loop()
        waiter = SlotWaiter(tuple(deployments), first, loop.time())
        self._waiters[waiter] = None
        self._start_server()
        try:
            while True:
                await waiter.changed.wait()
                waiter.changed.clear()
                if waiter.error is not None:
                    raise waiter.error
                if waiter.granted is not None:
                    if not unsent:
                        self.mark_sent(waiter.granted)
                    return waiter.granted
                if waiter.held_by:
                    if on_locked is not None:
                        on_locked(waiter.held_by)
                elif waiter.expected is not None:
                    cooldown = waiter.cooldown_until - loop.time()
                    if cooldown > max_cooldown:
                        raise CooldownTooLong(cooldown, waiter.expected)
                    if on_wait is not None:
                        on_wait(max(0.0, waiter.due - loop.time()), waiter.rpm)
        except BaseException:
            if waiter.error is None:
                self._withdraw(waiter)
            raise

    def mark_sent(self, deployment: Deployment) -> None:
        """A call is sent for which this process has a slot, whichever: the oldest is used."""
        slot_at = self._unsent[deployment.name].pop(0)
        owner = self._owner
        self._changes.append(
            Change(deployment, lambda pacing, now: pacing.mark_sent(owner, slot_at), rings=False)
        )
        self._start_server(within=SAY_SENT_WITHIN)

    def give_back(self, deployment: Deployment) -> None:
        """A slot that this process has isn't used."""
        self._withdraw_slot(deployment, self._unsent[deployment.name].pop())

    def cool_down(self, deployment: Deployment, retry_after: float | None) -> None:
        """Report a 429: every call for that deployment, in all processes, waits until it is over.

        `retry_after` is in seconds, None where the answer doesn't say.
        """
        for waiter in [
            each for each in self._held if each.expected and each.expected.name == deployment.name
        ]:
            self._take_slot_back(waiter)
            self._waiters[waiter] = None
        self._change(deployment, lambda pacing, now: pacing.cool_down(now, retry_after))

    def learn(self, deployment: Deployment, limit: float | None) -> None:
        """Take over an answer's x-ratelimit-limit-requests, requests a minute.

        Only where the profile names no limit of its own: that one wins, whichever is less.
        """
        if limit is None or not LIMIT_MIN <= limit <= LIMIT_MAX or deployment.rpm is not None:
            return
        now = (self._clock or time.monotonic)()
        known, written_at = self._server_limits.get(deployment.name, (None, -math.inf))
        if known != limit or not 0 <= now - written_at < CONFIRM_AFTER:
            self._server_limits[deployment.name] = (limit, now)
            self._change(deployment, lambda pacing, now: pacing.learn_limit(now, limit))

    async def close(self) -> None:
        """Write what was reported and withdrawn last, if the queue can be visited."""
        if self._server is not None and not self._server.done():
            self._look()
            await asyncio.wait([self._server], timeout=self._rhythm.look)
            self._server.cancel()
            await asyncio.wait([self._server])

    def _start_server(self, within: float = 0.0) -> None:
        """Have a task of this loop visit the queue, `within` so many seconds; 0.0: at once."""
        loop = asyncio.get_running_loop()
        if self._server is None or self._server.done() or self._server.get_loop() is not loop:
            self._wake, self._is_out = asyncio.Event(), False
            self._loop, self._server = loop, loop.create_task(self._serve())
            self._tried_at, self._visit_at = self._now(), math.inf
        self._visit_at = min(self._visit_at, self._now() + within)
        self._is_urgent = self._is_urgent or not within
        self._wake.set()

    def _look(self) -> None:
        """Have the queue visited at once."""
        self._is_urgent = True
        self._wake.set()

    def _hear(self, is_next: bool) -> None:
        """The bell rings, in its thread; `is_next`: a slot may be due."""

        def look() -> None:
            self._must_lock = self._must_lock or is_next
            self._worked_out_at = -math.inf
            self._look()

        with contextlib.suppress(RuntimeError):  # the loop is closed
            if self._loop is not None:
                self._loop.call_soon_threadsafe(look)

    def _now(self) -> float:
        """Seconds by the event loop's clock."""
        return 0.0 if self._loop is None else self._loop.time()

    def _has_work(self) -> bool:
        return bool(self._waiters or self._changes or self._unclean)

    async def _serve(self) -> None:
        """Visit the queue as long as there is something to do."""
        loop = asyncio.get_running_loop()
        while self._has_work():
            self._wake.clear()
            if self._is_urgent or loop.time() >= self._visit_at - TIMER_ERROR:
                await self._try_to_visit()
            self._report()
            if self._has_work():
                at = min(self._visit_at, self._reported_at + self._tick)
                timer = loop.call_at(loop.time() if self._is_urgent else at, self._wake.set)
                try:
                    await self._wake.wait()
                finally:
                    timer.cancel()

    async def _try_to_visit(self) -> None:
        """One visit; where it fails, what that means to those who wait."""
        visit, began = self._new_visit(), self._now()
        try:
            if self._thread is None:
                self._make(visit)
            else:
                await self._make_in_thread(visit)
                self._lead = min(LEAD_MAX, self._now() - began) if visit.locked else self._lead
        except (BusyError, DatabaseGone, RolledBackError) as error:
            self._unclean = self._unclean or visit.locked
            self._visit_at = self._now() + self._shut_out(error)
        except StoreError as error:
            self._fail(StoreError(f"{error.what} Nothing was sent.", error.hint))
        except Exception as error:
            self._fail(error)
            raise
        else:
            self._take_over(visit)

    def _new_visit(self) -> Visit:
        """A visit for what is to be done now."""
        now, waiters, in_file = self._now(), tuple(self._waiters), self._thread is None
        is_new = any(each.ticket is None for each in waiters)
        is_due = is_new or now >= self._slot_visit_at - TIMER_ERROR
        locked = self._must_lock or is_due or bool(self._changes) or self._unclean or in_file
        is_time = now - self._worked_out_at >= max(self._tick, self._rhythm.work_out) - TIMER_ERROR
        self._is_urgent, self._unclean = False, self._unclean and not locked
        unsent = {name: list(slots) for name, slots in self._unsent.items()}
        for waiter in self._held:
            if waiter.expected is not None:
                unsent.setdefault(waiter.expected.name, []).append(waiter.slot_at)
        return Visit(
            owner=self._owner,
            clock=self._clock,
            rhythm=self._rhythm,
            signs=self._signs,
            waiters=waiters,
            unsent=unsent,
            changes=tuple(self._changes),
            locked=locked,
            report=is_time or any(each.expected is None for each in waiters),
            lead=self._lead,
        )

    def _make(self, visit: Visit) -> None:
        """Make a visit; once more, on a new file, where it is damaged."""
        if self._thread is not None:
            # A busy machine may take seconds for it, which isn't the database's fault.
            with contextlib.suppress(ImportError):  # the database explains it
                import psycopg  # noqa: F401
        visit.has_begun = True
        try:
            visit.make(self._database)
        except DamagedError:
            self._server_limits.clear()
            visit.make(self._database)

    async def _make_in_thread(self, visit: Visit) -> None:
        """Make a visit to a database that may be far away, or gone."""
        try:
            future = asyncio.get_running_loop().run_in_executor(self._thread, self._make, visit)
        except RuntimeError:  # at the interpreter's end no thread starts any more
            self._make(visit)
            return
        future.add_done_callback(ignore_error)  # the wait may be ended before it is
        while not (await asyncio.wait({future}, timeout=RETRY_LOCKED))[0]:
            if visit.has_begun:
                self._shut_out(None)
            else:
                self._tried_at = self._now()
        future.result()

    def _take_over(self, visit: Visit) -> None:
        """What came of a visit. Meanwhile others may have come, or gone."""
        now = self._now()
        self._tried_at, self._is_out = now, False
        self._must_lock = visit.must_lock or (self._must_lock and not visit.locked)
        self._is_urgent = self._is_urgent or visit.must_lock
        self._slot_visit_at = now + max(visit.slot_in, 0.001)
        self._visit_at = min(now + max(visit.delay, 0.001), self._slot_visit_at)
        if visit.report:
            self._reported_at = self._worked_out_at = now
        if visit.locked:
            del self._changes[: len(visit.changes)]
        if self._changes:  # reported during the visit
            self._visit_at = min(self._visit_at, now + SAY_SENT_WITHIN)
        for waiter in self._waiters:
            waiter.out_seconds, waiter.held_by = 0.0, ""
        for slot in visit.expected:
            waiter = slot.waiter
            waiter.expected, waiter.slot_at, waiter.rpm = slot.deployment, slot.slot_at, slot.rpm
            waiter.due = now + slot.slot_at - visit.now
            waiter.cooldown_until = now + slot.cooldown_until - visit.now
            if visit.report:
                waiter.changed.set()
        for slot in visit.granted:
            self._hold(slot, slot.slot_at - visit.now)
        if self._bell is not None and self._waiters:
            self._bell.listen()

    def _hold(self, slot: Expectation, seconds: float) -> None:
        """Give a slot when it is due, in `seconds`."""
        waiter = slot.waiter
        waiter.expected, waiter.slot_at = slot.deployment, slot.slot_at
        if waiter not in self._waiters:  # withdrawn during the visit
            self._withdraw_slot(slot.deployment, slot.slot_at)
        elif seconds > 0 and self._loop is not None:
            self._held[waiter] = self._loop.call_later(seconds, self._give, waiter)
        else:
            self._give(waiter)
        self._waiters.pop(waiter, None)

    def _give(self, waiter: SlotWaiter) -> None:
        assert waiter.expected is not None
        self._held.pop(waiter, None)
        self._unsent.setdefault(waiter.expected.name, []).append(waiter.slot_at)
        waiter.granted = waiter.expected
        waiter.changed.set()

    def _take_slot_back(self, waiter: SlotWaiter) -> None:
        """A slot that isn't due yet goes back."""
        assert waiter.expected is not None
        self._held.pop(waiter).cancel()
        self._withdraw_slot(waiter.expected, waiter.slot_at)

    def _withdraw_slot(self, deployment: Deployment, slot_at: float) -> None:
        """A slot that was counted isn't used."""
        owner = self._owner
        self._change(deployment, lambda pacing, now: pacing.withdraw(owner, slot_at))

    def _withdraw(self, waiter: SlotWaiter) -> None:
        """Take a waiter's ticket back, or a slot that it has and doesn't use."""
        if waiter.granted is not None:
            self.give_back(waiter.granted)
        elif waiter in self._held:
            self._take_slot_back(waiter)
        elif waiter in self._waiters:
            del self._waiters[waiter]
            self._unclean = True
            self._write_soon()

    def _change(self, deployment: Deployment, change: Callable[[Pacing, float], None]) -> None:
        self._changes.append(Change(deployment, change))
        self._write_soon()

    def _write_soon(self) -> None:
        """Have changes written: into a file at once, unless that would only keep the event loop."""
        self._reported_at = self._worked_out_at = -math.inf
        if self._thread is None and not self._is_out:
            visit = self._new_visit()
            try:
                self._make(visit)
                self._take_over(visit)
            except BusyError:
                self._unclean = True
                logger.debug("The quota file is held by another process; it is written later")
            except StoreError as error:
                self._changes.clear()
                logger.warning("%s", error)
        if self._has_work():
            with contextlib.suppress(RuntimeError):  # outside a loop the next acquire does it
                self._start_server()

    def _report(self) -> None:
        """Tell those who wait how long it will be, once a tick."""
        now = self._now()
        if now - self._reported_at >= self._tick - TIMER_ERROR:
            self._reported_at = now
            for waiter in self._waiters:
                if waiter.expected is not None or waiter.held_by:
                    waiter.changed.set()

    def _shut_out(self, error: BusyError | DatabaseGone | RolledBackError | None) -> float:
        """The queue can't be visited, or a visit takes long (None): tell those who wait, and end
        those who wait too long.

        Gives the seconds until the next try.
        """
        now = self._now()
        # A process that was itself stopped meanwhile has not waited so long.
        passed = min(now - self._tried_at, self._rhythm.look + RETRY_LOCKED)
        self._tried_at, self._is_out = now, True
        if isinstance(error, RolledBackError):  # it answered
            for waiter in self._waiters:
                waiter.out_seconds = 0.0
            return random.uniform(RETRY_BUSY, RETRY_LOCKED)
        holder = error.holder if isinstance(error, BusyError) else ""
        delay = RETRY_LOCKED if self._waiters or self._thread is None else RETRY_UNWATCHED
        for waiter in list(self._waiters):
            waiter.out_seconds += min(passed, now - waiter.asked_at)
            if waiter.out_seconds >= self._rhythm.fail_after:
                self._fail_one(waiter, error)
            elif waiter.out_seconds < self._rhythm.say_after:
                delay = RETRY_BUSY if self._thread is None else RETRY_LOCKED
            elif holder and not waiter.held_by:
                waiter.held_by = holder
                waiter.changed.set()
        return delay

    def _fail_one(self, waiter: SlotWaiter, error: StoreError | None) -> None:
        """End a wait; its ticket is taken back when the queue can be visited again."""
        del self._waiters[waiter]
        self._unclean = True
        if isinstance(error, BusyError):
            waiter.error = StoreError(
                f"{error.holder} has held the quota file {self._where} for "
                f"{self._rhythm.fail_after:g} s: no other process can take a slot. Nothing was "
                "sent.",
                "End or continue that process, then queue again.",
            )
        elif isinstance(error, DatabaseGone):
            waiter.error = DatabaseGone(f"{error.what} Nothing was sent.", error.hint, error.detail)
        else:
            waiter.error = DatabaseGone(
                "The studio's database doesn't answer. Nothing was sent.",
                "Check that PostgreSQL runs and can be reached from this machine.",
            )
        waiter.changed.set()

    def _fail(self, error: Exception) -> None:
        """Give everyone who waits the error: nobody may wait for a server that stands still."""
        for waiter in self._waiters:
            waiter.error = error
            waiter.changed.set()
        self._waiters.clear()
        self._changes.clear()
        self._unclean = False
