"""Requests a minute, shared by all nodes, prompts and processes of this machine.

Every call takes a ticket; tickets stand in one queue in quota.sqlite, whoever holds them, and the
first for a deployment goes when `pace.Pacer` says so. Measured in place of it: pyrate-limiter 4.5
with SQLiteBucket. It was left: between two processes it either lets one wait until the other is
done (with its file lock: the second's first call came after the tenth of the first, and the event
loop stood still for 50 ms) or lets 4 calls through where 2 are allowed (without). It has no queue
between processes, tells no waiting time, can't be paused by a 429, and its SQLite bucket counts by
windows only: 26 times the best possible time on a server that allows no burst ("local sliding
window" in benchmarks/quota_simulation.py).

Times are `time.perf_counter()`: since Python 3.10 one clock for all processes on Linux, macOS and
Windows, counted from the start of the machine, so that setting the wall clock changes nothing. It
begins anew with a reboot: a stored time that lies ahead of the clock shows that, see
`Pacer.settle_clock`.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import sqlite3
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..errors import StoreError
from .pacer import Pacer
from .queue_file import BusyError, QueueFile
from .waiting import Deployment, OnWait, Waiter

log = logging.getLogger(__name__)

TICK = 1.0
"""Seconds between two signs of life, and two messages to those who wait."""
TOLERANCE = 0.01
"""Seconds by which a timer may come too early."""
MOVED = 0.5
"""Seconds by which a turn must move to be told before the next tick."""
LOOK = 0.25
"""Seconds after which a process looks again, while another one's ticket is before its own."""
RETRY_BUSY = 0.02
"""Seconds until the next try, while another process holds the file."""
IF_UNUSABLE = "Nothing was sent. Check that the data folder can be written and has room."

__all__ = ["Deployment", "OnWait", "RateLimiter"]


class RateLimiter:
    """The queue for all deployments. To be used from one event loop at a time.

    `clock` gives seconds and must be the same for all who share the file.
    """

    def __init__(
        self, path: Path, *, clock: Callable[[], float] = time.perf_counter, tick: float = TICK
    ) -> None:
        self._file = QueueFile(path)
        self._clock = clock
        self._tick = tick
        self._owner = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._waiters: list[Waiter] = []
        self._late: list[Callable[[float], None]] = []
        self._pump: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._told = -math.inf
        self._heard: dict[str, float] = {}

    async def acquire(
        self, lanes: Sequence[Deployment], on_wait: OnWait | None = None, *, first: bool = False
    ) -> Deployment:
        """Wait for a turn on whichever of `lanes` has one first, and give that lane.

        First come, first served, in all processes; `first` is for a call that had its turn and was
        refused: it goes before those that had none yet. `on_wait(seconds, rpm)` hears at least
        once a second how long it will be, and at which rate (None: unknown). Cancelling withdraws
        the ticket. StoreError where the quota file can't be used.
        """
        if not lanes:
            raise ValueError("acquire needs at least one lane")
        waiter = Waiter(tuple(lanes), first)
        self._waiters.append(waiter)
        self._start_pump()
        try:
            while waiter.lane is None:
                await waiter.changed.wait()
                waiter.changed.clear()
                if waiter.error is not None:
                    raise waiter.error
                if waiter.lane is None and on_wait is not None:
                    on_wait(waiter.seconds, waiter.rpm)
            return waiter.lane
        except BaseException:
            if waiter.error is None:
                self._withdraw(waiter)
            raise

    def cool_down(self, lane: Deployment, retry_after: float | None) -> None:
        """Report a 429: everyone pauses on that lane. `retry_after` in seconds, None: not told."""
        self._later(lane, lambda pacer, now: pacer.refused(now, retry_after))

    def accepted(self, lane: Deployment) -> None:
        """Report a call that was not refused. It changes nothing: answers come half a minute after
        the server counted, so the pace takes for accepted what is not refused at once."""

    def learn(
        self,
        lane: Deployment,
        limit: float | None = None,
        remaining: float | None = None,
        reset: float | None = None,
    ) -> None:
        """Take over x-ratelimit-limit-requests, requests a minute, of any answer.

        A smaller limit of the profile stays. `remaining` and `reset` are not used: an answer's are
        as old as the call is long. (Of a refusal, `reset` may stand in for a Retry-After.)
        """
        if limit is not None and 0 < limit < math.inf and self._heard.get(lane.name) != limit:
            self._heard[lane.name] = limit
            self._later(lane, lambda pacer, now: setattr(pacer, "told", float(limit)))

    def close(self) -> None:
        """Let go of the file; the next use opens it again."""
        self._file.close()

    def _start_pump(self) -> None:
        loop = asyncio.get_running_loop()
        if self._pump is None or self._pump.done() or self._pump.get_loop() is not loop:
            self._wake = asyncio.Event()
            self._pump = loop.create_task(self._run())
        self._wake.set()

    async def _run(self) -> None:
        """Serve this process's tickets as long as there are any."""
        loop = asyncio.get_running_loop()
        while self._waiters:
            self._wake.clear()
            try:
                delay = self._round()
            except BusyError:
                delay = RETRY_BUSY
            except (sqlite3.Error, OSError) as error:
                what = f"The quota file can't be used: {error}."
                self._fail(StoreError(what, IF_UNUSABLE))
            except Exception as error:
                self._fail(error)
                raise
            if self._waiters:
                timer = loop.call_later(delay, self._wake.set)
                try:
                    await self._wake.wait()
                finally:
                    timer.cancel()

    def _fail(self, error: Exception) -> None:
        """Give everyone who waits the error: nobody may wait for a pump that stands still."""
        self._file.close()
        for waiter in self._waiters:
            waiter.error = error
            waiter.changed.set()
        self._waiters.clear()

    def _round(self) -> float:
        """Give out every turn that is due; gives the seconds until the next look."""
        with self._file.transaction():
            now = self._clock()
            self._catch_up(now)
            self._file.sign(self._owner, now)
            turns, delay = self._look(now, self._enrol())
            self._take(turns, now)
        self._late.clear()
        for waiter, lane in turns:
            waiter.lane, waiter.started = lane, now
            self._waiters.remove(waiter)
            waiter.changed.set()
        return delay

    def _enrol(self) -> dict[int, Waiter]:
        """Put this process's tickets in the queue, also those that were taken for dead."""
        standing = {ticket.id for ticket in self._file.queue() if ticket.owner == self._owner}
        mine = {}
        for waiter in self._waiters:
            if waiter.ticket not in standing:
                names = (lane.name for lane in waiter.lanes)
                waiter.ticket = self._file.add(self._owner, names, waiter.first, waiter.ticket)
            assert waiter.ticket is not None
            mine[waiter.ticket] = waiter
        return mine

    def _look(
        self, now: float, mine: Mapping[int, Waiter]
    ) -> tuple[list[tuple[Waiter, Deployment]], float]:
        """Go through the queue in order: this process's turns that are due, and seconds to wait.

        Once a tick, and when a turn moves, it goes through all of it and tells those who wait;
        else to the first of them.
        """
        lanes = {lane.name: lane for waiter in mine.values() for lane in waiter.lanes}
        pacers = {name: self._pacer(lane, now) for name, lane in lanes.items()}
        fresh = any(waiter.turn == -math.inf for waiter in mine.values())
        tell = fresh or not 0 <= now - self._told < self._tick - TOLERANCE
        self._told = now if tell else self._told
        turns: list[tuple[Waiter, Deployment]] = []
        delay, foreign = self._told + self._tick - now, False
        for ticket in self._file.queue():
            for name in set(ticket.lanes) - set(pacers):
                pacers[name] = self._stored(name, now)
            name = min(ticket.lanes, key=lambda each: pacers[each].ready_at())
            turn = max(now, pacers[name].ready_at())
            pacers[name].start(turn)
            waiter = mine.get(ticket.id)
            if waiter is None:
                foreign = True
            elif turn <= now:
                turns.append((waiter, next(lane for lane in waiter.lanes if lane.name == name)))
            else:
                delay = min(delay, turn - now, LOOK if foreign else delay)
                tell = tell or abs(turn - waiter.turn) > MOVED
                if not tell:
                    break
                waiter.tell(turn, now, pacers[name].rpm)
        return turns, max(delay, 0.001)

    def _take(self, turns: Sequence[tuple[Waiter, Deployment]], now: float) -> None:
        """Write down the turns that are taken."""
        for waiter, lane in turns:
            pacer = self._pacer(lane, now)
            pacer.start(now)
            assert waiter.ticket is not None
            self._file.save(lane.name, pacer)
            self._file.remove(waiter.ticket)

    def _pacer(self, lane: Deployment, now: float) -> Pacer:
        pacer = self._stored(lane.name, now)
        pacer.set_limit(lane.rpm)
        return pacer

    def _stored(self, name: str, now: float) -> Pacer:
        pacer = self._file.pacer(name)
        if pacer.settle_clock(now):
            self._file.save(name, pacer)
        return pacer

    def _withdraw(self, waiter: Waiter) -> None:
        """Take a waiter's ticket, or a turn that was given and not used, back."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        ticket, started = waiter.ticket, waiter.started
        if waiter.lane is not None:
            self._later(waiter.lane, lambda pacer, now: pacer.withdraw(started))
        elif ticket is not None:
            self._change(lambda now: self._file.remove(ticket))

    def _later(self, lane: Deployment, change: Callable[[Pacer, float], None]) -> None:
        """Change a lane's pace: at once, or with the next transaction if the file is held."""

        def apply(now: float) -> None:
            pacer = self._pacer(lane, now)
            change(pacer, now)
            self._file.save(lane.name, pacer)

        self._change(apply)

    def _change(self, change: Callable[[float], None]) -> None:
        self._late.append(change)
        self._told = -math.inf
        try:
            with self._file.transaction():
                self._catch_up(self._clock())
            self._late.clear()
        except BusyError:
            log.debug("The quota file is held by another process; the change is made later")
        except (sqlite3.Error, OSError) as error:
            self._late.clear()
            self._file.close()
            log.warning("The quota file can't be written: %s", error)
        self._wake.set()

    def _catch_up(self, now: float) -> None:
        for change in self._late:
            change(now)
