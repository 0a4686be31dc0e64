"""The rate limiter: calls wait here until their deployment may be called.

Every call takes a ticket in one queue, quota.sqlite, whichever process it comes from. The first
ticket for a deployment is served when `Pacing` says so. Why no library does this stands in
benchmarks/README.md. Nothing in the file is worth much: a lost one costs a few refusals. So it is
written without fsync, and a damaged one, or one of another version, is begun anew.

Times are `time.perf_counter()`: since Python 3.10 one clock for all processes on Linux, macOS and
Windows, counted from the start of the machine, so that setting the wall clock changes nothing. It
begins anew with a reboot: a stored time that lies ahead of the clock shows that, see
`Pacing.update`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import os
import sqlite3
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ..database import BusyError, DamagedError, Database, Schema
from ..errors import StoreError
from .pacing import LIMIT_MAX, LIMIT_MIN, Pacing

logger = logging.getLogger(__name__)

TICK = 1.0
"""Seconds between two marks that a process lives, and two reports to a call that waits."""
DEAD_AFTER_TICKS = 3
"""A process without a mark for so many ticks is taken for dead. One that only slept too long puts
its tickets back in their old places."""
TIMER_ERROR = 0.01
"""Seconds by which a timer may come too early."""
REPORT_CHANGE = 0.5
"""Seconds by which an expected slot must move to be reported before the next tick."""
LOOK_AGAIN = 0.25
"""Seconds until a process looks again while another one's ticket comes before its own."""
RETRY_BUSY, RETRY_LOCKED = 0.02, 0.25
"""Seconds until the next try while another process holds the file: at first, when a transaction's
milliseconds are all that is likely, and once it holds it for longer than any transaction takes."""
SAY_LOCKED_AFTER, FAIL_LOCKED_AFTER = 2.0, 10.0
"""Seconds of being locked out after which a call that waits hears of it, and after which it fails.
A transaction takes milliseconds: who holds the file for 2 s was stopped in the middle of one."""
CONFIRM_AFTER = 3600.0
"""Seconds after which a server's limit that stayed the same is written down again, long before it
expires."""

_SCHEMA = Schema(
    name="The quota file",
    version=2,
    statements=(
        "CREATE TABLE deployments (name TEXT PRIMARY KEY, pacing TEXT NOT NULL)",
        "CREATE TABLE processes (owner TEXT PRIMARY KEY, alive_at REAL NOT NULL)",
        "CREATE TABLE tickets (id INTEGER PRIMARY KEY AUTOINCREMENT, first INTEGER NOT NULL,"
        " owner TEXT NOT NULL, deployments TEXT NOT NULL)",
    ),
    synchronous="OFF",
    if_damaged="It is begun anew by itself; if this comes again, the disk may be failing. Remove "
    "the file and queue again.",
    # No longer, as the event loop stands still while it waits for another process.
    busy_seconds=0.02,
    disposable=True,
)

_PACING, _NAMES = TypeAdapter(Pacing), TypeAdapter(list[str])


@dataclass(frozen=True)
class Deployment:
    """What has a rate limit of its own. `name` is unique for endpoint and deployment; `rpm` is
    requests a minute, None where nobody knows."""

    name: str
    rpm: float | None = None


class CooldownTooLong(Exception):
    """The cooldown of `deployment` is over in `seconds`, which is longer than the caller waits."""

    def __init__(self, seconds: float, deployment: Deployment) -> None:
        super().__init__(f"{deployment.name} takes no calls for another {seconds:.0f} s.")
        self.seconds = seconds
        self.deployment = deployment


@dataclass(eq=False)
class _Waiter:
    """One `acquire`: its ticket, the slot it may expect, and how it ended."""

    deployments: tuple[Deployment, ...]
    first: bool
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    ticket: int | None = None
    expected: Deployment | None = None
    expected_at: float = -math.inf
    seconds: float = 0.0
    rpm: float | None = None
    cooldown: float = 0.0
    granted: Deployment | None = None
    granted_at: float = 0.0
    locked_seconds: float = 0.0
    """How long other processes have kept the file from it."""
    held_by: str = ""
    """Who does, to be reported; "" where there is nothing to report."""
    error: Exception | None = None


class _Queue:
    """The waiting calls of all processes and each deployment's pacing, in one transaction."""

    def __init__(self, sql: sqlite3.Connection, now: float) -> None:
        self._sql = sql
        self.now = now

    def pacing(self, name: str, deployment: Deployment | None) -> Pacing:
        """A deployment's pacing as of now, with the limit of this process's profile if known.

        It is a new one where there is none, or one that can't be true.
        """
        query = "SELECT pacing FROM deployments WHERE name = ?"
        row = self._sql.execute(query, (name,)).fetchone()
        try:
            pacing = _PACING.validate_json(row[0]) if row else Pacing()
        except ValidationError:
            logger.info("The limit of a deployment is learned anew: its numbers can't be true")
            pacing = Pacing()
        if pacing.update(self.now):
            self.save(name, pacing)
        if deployment is not None:
            pacing.set_limit(deployment.rpm)
        return pacing

    def save(self, name: str, pacing: Pacing) -> None:
        """Write a deployment's pacing."""
        values = (name, json.dumps(vars(pacing)))
        self._sql.execute("INSERT OR REPLACE INTO deployments VALUES (?, ?)", values)

    def mark_alive(self, owner: str, dead_after: float) -> None:
        """Write down that `owner` lives, and drop the tickets of processes that died.

        A process is taken for dead after `dead_after` seconds without such a mark. A mark that lies
        ahead of the clock was made before a reboot.
        """
        self._sql.execute("INSERT OR REPLACE INTO processes VALUES (?, ?)", (owner, self.now))
        dead = self._sql.execute(
            "DELETE FROM processes WHERE alive_at NOT BETWEEN ? AND ?",
            (self.now - dead_after, self.now + dead_after),
        )
        if dead.rowcount:
            self._sql.execute(
                "DELETE FROM tickets WHERE owner NOT IN (SELECT owner FROM processes)"
            )

    def remove(self, ticket: int | None) -> None:
        """Take a ticket out of the queue."""
        self._sql.execute("DELETE FROM tickets WHERE id = ?", (ticket,))

    def tickets(self, owner: str, waiters: Sequence[_Waiter]) -> dict[int, list[str]]:
        """The queue with the tickets of all of these waiters, which belong to `owner`."""
        found = self._read_tickets()
        # New ones, and those of this process that another one took for dead.
        missing = [waiter for waiter in waiters if waiter.ticket not in found]
        for waiter in missing:
            self._add(owner, waiter)
        return self._read_tickets() if missing else found

    def _read_tickets(self) -> dict[int, list[str]]:
        """The queue, the next ticket first: the deployments that each may be sent to, by number.

        DatabaseError for a ticket that only damage can have put there.
        """
        query = "SELECT id, deployments FROM tickets ORDER BY first DESC, id"
        try:
            found = {
                ticket: _NAMES.validate_json(text) for ticket, text in self._sql.execute(query)
            }
        except ValidationError:
            raise sqlite3.DatabaseError("malformed ticket") from None
        if not all(found.values()):
            raise sqlite3.DatabaseError("malformed ticket")
        return found

    def _add(self, owner: str, waiter: _Waiter) -> None:
        """Put a ticket at the queue's end; `first` before all that aren't.

        One that had a number before goes back to its old place.
        """
        insert = "INSERT OR IGNORE INTO tickets (id, first, owner, deployments) VALUES (?, ?, ?, ?)"
        names = [deployment.name for deployment in waiter.deployments]
        values = (waiter.first, owner, json.dumps(names))
        cursor = self._sql.execute(insert, (waiter.ticket, *values))
        if not cursor.rowcount:
            cursor = self._sql.execute(insert, (None, *values))
        waiter.ticket = cursor.lastrowid


_Change = Callable[[_Queue], None]


class RateLimiter:
    """The queue for all deployments. To be used from one event loop at a time.

    `path` is quota.sqlite. `clock` gives seconds and must be the same for all who share the file;
    `tick` is the number of seconds between two reports to `on_wait`. After `say_locked_after`
    seconds of another process holding the file a call that waits hears of it, after
    `fail_locked_after` it fails.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float] = time.perf_counter,
        tick: float = TICK,
        say_locked_after: float = SAY_LOCKED_AFTER,
        fail_locked_after: float = FAIL_LOCKED_AFTER,
    ) -> None:
        self._path = path
        self._database = Database(path, _SCHEMA)
        self._clock = clock
        self._tick = tick
        self._say_locked_after = say_locked_after
        self._fail_locked_after = fail_locked_after
        self._locked = False
        self._tried_at = 0.0
        self._owner = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._waiters: list[_Waiter] = []
        self._postponed: list[_Change] = []
        self._server: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._reported_at = -math.inf
        self._server_limits: dict[str, tuple[float, float]] = {}
        """By deployment: the requests a minute that were written down last, and when."""

    async def acquire(
        self,
        deployments: Sequence[Deployment],
        on_wait: Callable[[float, float | None], None] | None = None,
        *,
        on_locked: Callable[[str], None] | None = None,
        first: bool = False,
        max_cooldown: float = math.inf,
    ) -> Deployment:
        """Wait for a slot on whichever of `deployments` has one first, and give that one.

        First come, first served, in all processes; `first` is for a call that had a slot and was
        refused: it goes before those that had none yet. `on_wait(seconds, rpm)` hears once a second
        how long it will be, and at how many requests a minute (None: unknown). `on_locked(holder)`
        hears instead that another process keeps all others from the quota file ("process 1234").
        Cancelling withdraws the ticket. CooldownTooLong as soon as no deployment takes calls for
        more than `max_cooldown` seconds; the length of the queue doesn't matter. StoreError where
        the quota file can't be used, or is kept from this process for too long.
        """
        if not deployments:
            raise ValueError("acquire needs at least one deployment")
        waiter = _Waiter(tuple(deployments), first)
        self._waiters.append(waiter)
        self._start_server(asyncio.get_running_loop())
        try:
            while waiter.granted is None:
                await waiter.changed.wait()
                waiter.changed.clear()
                if waiter.error is not None:
                    raise waiter.error
                if waiter.granted is None and waiter.held_by:
                    if on_locked is not None:
                        on_locked(waiter.held_by)
                elif waiter.granted is None and waiter.expected is not None:
                    if waiter.cooldown > max_cooldown:
                        raise CooldownTooLong(waiter.cooldown, waiter.expected)
                    if on_wait is not None:
                        on_wait(waiter.seconds, waiter.rpm)
            return waiter.granted
        except BaseException:
            if waiter.error is None:
                self._withdraw(waiter)
            raise

    def cool_down(self, deployment: Deployment, retry_after: float | None) -> None:
        """Report a 429: every call for that deployment, in all processes, waits until it is over.

        `retry_after` is in seconds, None where the answer doesn't say.
        """
        self._change_pacing(deployment, lambda pacing, now: pacing.cool_down(now, retry_after))

    def learn(self, deployment: Deployment, limit: float | None) -> None:
        """Take over an answer's x-ratelimit-limit-requests, requests a minute.

        Only where the profile names no limit of its own: that one wins, whichever is less.
        """
        if limit is None or not LIMIT_MIN <= limit <= LIMIT_MAX or deployment.rpm is not None:
            return
        now = self._clock()
        known, written_at = self._server_limits.get(deployment.name, (None, -math.inf))
        if known != limit or not 0 <= now - written_at < CONFIRM_AFTER:
            self._server_limits[deployment.name] = (limit, now)
            self._change_pacing(deployment, lambda pacing, now: pacing.learn_limit(now, limit))

    def _start_server(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have a task of this loop serve what waits."""
        if self._server is None or self._server.done() or self._server.get_loop() is not loop:
            self._wake = asyncio.Event()
            self._server = loop.create_task(self._serve())
        self._wake.set()

    async def _serve(self) -> None:
        """Serve this process's tickets and postponed changes as long as there are any."""
        loop = asyncio.get_running_loop()
        self._locked = False
        while self._waiters or self._postponed:
            self._wake.clear()
            try:
                delay = self._grant_slots()
            except BusyError as error:
                delay = self._locked_out(error)
            except StoreError as error:
                self._fail(StoreError(f"{error.what} Nothing was sent.", error.hint))
            except Exception as error:
                self._fail(error)
                raise
            if self._waiters or self._postponed:
                timer = loop.call_later(delay, self._wake.set)
                try:
                    await self._wake.wait()
                finally:
                    timer.cancel()

    def _fail(self, error: Exception) -> None:
        """Give everyone who waits the error: nobody may wait for a server that stands still."""
        for waiter in self._waiters:
            waiter.error = error
            waiter.changed.set()
        self._waiters.clear()
        self._postponed.clear()

    def _locked_out(self, error: BusyError) -> float:
        """Tell those who wait who holds the file, once a tick, and end those who wait too long.

        Gives the seconds until the next try.
        """
        now = self._clock()
        # A process that was itself stopped meanwhile has not waited so long.
        passed = min(max(0.0, now - self._tried_at), self._tick) if self._locked else 0.0
        self._tried_at, self._locked = now, True
        report = not 0 <= now - self._reported_at < self._tick
        self._reported_at = now if report else self._reported_at
        delay = RETRY_LOCKED
        for waiter in list(self._waiters):
            waiter.locked_seconds += passed
            if waiter.locked_seconds >= self._fail_locked_after:
                self._fail_locked(waiter, error.holder)
            elif waiter.locked_seconds < self._say_locked_after:
                delay = RETRY_BUSY
            elif report or not waiter.held_by:
                waiter.held_by = error.holder
                waiter.changed.set()
        return delay

    def _fail_locked(self, waiter: _Waiter, holder: str) -> None:
        """End a wait for the file, and take its ticket back when the file is free."""
        self._waiters.remove(waiter)
        waiter.error = StoreError(
            f"{holder} has held the quota file {self._path} for {self._fail_locked_after:g} s: no "
            "other process can take a slot. Nothing was sent.",
            "End or continue that process, then queue again.",
        )
        waiter.changed.set()
        if (ticket := waiter.ticket) is not None:
            self._postponed.append(lambda queue: queue.remove(ticket))

    def _grant_slots(self) -> float:
        """Make the postponed changes, then grant every slot that is due.

        Gives the seconds until the next look. Once more, on a new file, where it is damaged.
        """
        try:
            delay = self._grant_slots_once()
        except DamagedError:
            self._server_limits.clear()
            delay = self._grant_slots_once()
        self._locked = False
        for waiter in self._waiters:
            waiter.locked_seconds, waiter.held_by = 0.0, ""
        return delay

    def _grant_slots_once(self) -> float:
        with self._database.write() as sql:
            now = self._clock()
            queue = _Queue(sql, now)
            for change in self._postponed:
                change(queue)
            queue.mark_alive(self._owner, DEAD_AFTER_TICKS * self._tick)
            granted, delay = self._go_through(queue, now)
            for waiter, deployment in granted:
                pacing = queue.pacing(deployment.name, deployment)
                pacing.send(now)
                queue.save(deployment.name, pacing)
                queue.remove(waiter.ticket)
        self._postponed.clear()
        for waiter, deployment in granted:
            waiter.granted, waiter.granted_at = deployment, now
            self._waiters.remove(waiter)
            waiter.changed.set()
        return delay

    def _go_through(
        self, queue: _Queue, now: float
    ) -> tuple[list[tuple[_Waiter, Deployment]], float]:
        """Work out everyone's slot, in order: this process's that are due, and seconds to wait.

        Once a tick, and when a slot moves, it goes through all tickets and reports to those who
        wait; else to the first of them.
        """
        tickets = queue.tickets(self._owner, self._waiters)
        waiters: dict[int | None, _Waiter] = {each.ticket: each for each in self._waiters}
        own = {each.name: each for waiter in self._waiters for each in waiter.deployments}
        called = {name for names in tickets.values() for name in names}
        pacings = {name: queue.pacing(name, own.get(name)) for name in called}
        new = any(waiter.expected is None for waiter in self._waiters)
        report = new or not 0 <= now - self._reported_at < self._tick - TIMER_ERROR
        self._reported_at = now if report else self._reported_at
        granted: list[tuple[_Waiter, Deployment]] = []
        delay, behind_others = self._reported_at + self._tick - now, False
        for ticket, names in tickets.items():
            name = min(names, key=lambda each: pacings[each].next_at())
            slot_at = max(now, pacings[name].next_at())
            pacings[name].send(slot_at)
            if (waiter := waiters.get(ticket)) is None:
                behind_others = True
            elif slot_at <= now:
                granted.append((waiter, own[name]))
            else:
                delay = min(delay, slot_at - now, LOOK_AGAIN if behind_others else delay)
                report = report or abs(slot_at - waiter.expected_at) > REPORT_CHANGE
                if not report:
                    break
                waiter.expected, waiter.expected_at = own[name], slot_at
                waiter.seconds, waiter.rpm = slot_at - now, pacings[name].rpm
                ends = min(pacings[each].cooldown_until for each in names)
                waiter.cooldown = max(0.0, ends - now)
                waiter.changed.set()
        return granted, max(delay, 0.001)

    def _withdraw(self, waiter: _Waiter) -> None:
        """Take a waiter's ticket back, or a slot that was granted and not used."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        ticket, granted_at = waiter.ticket, waiter.granted_at
        if waiter.granted is not None:
            self._change_pacing(waiter.granted, lambda pacing, now: pacing.withdraw(granted_at))
        elif ticket is not None:
            self._change(lambda queue: queue.remove(ticket))

    def _change_pacing(
        self, deployment: Deployment, change: Callable[[Pacing, float], None]
    ) -> None:
        def apply(queue: _Queue) -> None:
            pacing = queue.pacing(deployment.name, deployment)
            change(pacing, queue.now)
            queue.save(deployment.name, pacing)

        self._change(apply)

    def _change(self, change: _Change) -> None:
        """Change the file at once, or as soon as the process that holds it lets go."""
        self._postponed.append(change)
        self._reported_at = -math.inf
        try:
            if not self._locked:  # else each try would keep the event loop for nothing
                self._grant_slots()
        except BusyError:
            logger.debug("The quota file is held by another process; the change is made later")
        except StoreError as error:
            self._postponed.clear()
            logger.warning("%s", error)
        self._wake.set()
        if self._postponed:
            with contextlib.suppress(RuntimeError):  # outside a loop the next acquire makes it
                self._start_server(asyncio.get_running_loop())
