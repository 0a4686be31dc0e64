"""One visit to the queue: what is reported is written down, and slots that are due are given.

A visit blocks, and touches nothing of the limiter but its waiters' tickets: so it may run in
another thread, and the limiter reads from it afterwards what came of it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from ..database import SqlDatabase
from .pacing import Pacing
from .queue import Queue, Ticket

REPORT_CHANGE = 0.5
"""Seconds by which an expected slot must move to be reported before the next tick."""
OVERDUE = 0.01
"""Who is given a slot so many seconds late wakes the next one, which may have looked in vain."""


@dataclass(frozen=True)
class Deployment:
    """What has a rate limit of its own. `name` is unique for endpoint and deployment; `rpm` is
    requests a minute, None where nobody knows."""

    name: str
    rpm: float | None = None


@dataclass(frozen=True)
class Rhythm:
    """How often a limiter looks at the queue, and when it gives something up, in seconds."""

    look: float
    """Between two looks of a process that waits; each one is a sign of life."""
    look_again: float
    """The same while another process's ticket comes before its own: without a bell always, with
    one while that ticket's slot is due."""
    work_out: float
    """Between two times that everybody's slot is worked out; else only the next one's."""
    passed_over_after: float
    """Others are served before a process that gave no sign of life for so long."""
    dead_after: float
    """Its tickets are dropped. One that only slept too long puts them back in their old places."""
    say_after: float
    """Being locked out for so long is reported to who waits."""
    fail_after: float
    """Being locked out, or without an answer, for so long is an error for who waits."""


@dataclass(eq=False)
class SlotWaiter:
    """One `acquire`: its ticket, the slot it may expect, and how it ended."""

    deployments: tuple[Deployment, ...]
    first: bool
    asked_at: float
    """By the event loop's clock, as `due` and `cooldown_until`."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    ticket: Ticket | None = None
    """Its place in the queue, once it has one. Only visits change it."""
    expected: Deployment | None = None
    slot_at: float = -math.inf
    """When it may expect its slot, or has it, by the queue's clock."""
    due: float = -math.inf
    rpm: float | None = None
    cooldown_until: float = -math.inf
    granted: Deployment | None = None
    out_seconds: float = 0.0
    """How long the queue couldn't be visited."""
    held_by: str = ""
    """Who keeps the file from it, to be reported; "" where there is nothing to report."""
    error: Exception | None = None


@dataclass(frozen=True)
class Change:
    """Something that was reported of a deployment, to be written into its pacing."""

    deployment: Deployment
    apply: Callable[[Pacing, float], None]


@dataclass(frozen=True)
class Expectation:
    """A slot of `waiter`: of which deployment, when by the queue's clock, and until when no
    deployment of its takes calls."""

    waiter: SlotWaiter
    deployment: Deployment
    slot_at: float
    rpm: float | None = None
    cooldown_until: float = -math.inf


class SignsOfLife:
    """How long each other process has given no sign of life.

    Counted are only seconds between two looks of this process, and no more than `longest` of them:
    while a database answers nobody, nobody dies. When a process is seen first, its last sign counts
    as `believed` seconds old at most.
    """

    def __init__(self, longest: float, believed: float) -> None:
        self._longest = longest
        self._believed = believed
        self._looked_at = math.inf
        self._seen: dict[str, tuple[float, float]] = {}

    def look(self, now: float, marks: dict[str, float], owners: Iterable[str]) -> dict[str, float]:
        """Seconds of silence of each of `owners`, with the times of the signs that they gave last.

        One that lies ahead of the clock was given before a reboot.
        """
        step = min(max(0.0, now - self._looked_at), self._longest)
        self._looked_at = now
        seen, self._seen = self._seen, {}
        for owner in owners:
            mark = marks.get(owner, -math.inf)
            before, silence = seen.get(owner, (mark, min(abs(now - mark), self._believed) - step))
            self._seen[owner] = (mark, silence + step if mark == before else 0.0)
        return {owner: silence for owner, (_, silence) in self._seen.items()}


@dataclass
class Visit:
    """What one visit is to do, and what came of it.

    `locked` is one that may write: it has the queue for itself. `report` works out everybody's
    slot, not only the next. Slots of the next `lead` seconds are given at once: so long takes a
    visit. `clock` as for Queue.
    """

    owner: str
    clock: Callable[[], float] | None
    rhythm: Rhythm
    signs: SignsOfLife
    waiters: Sequence[SlotWaiter]
    changes: Sequence[Change]
    locked: bool
    report: bool
    lead: float
    has_begun: bool = False
    now: float = 0.0
    granted: list[Expectation] = field(default_factory=list)
    expected: list[Expectation] = field(default_factory=list)
    delay: float = 0.0
    """Seconds to the next look at the queue."""
    slot_in: float = math.inf
    """Seconds to the visit that is to get the next slot."""
    must_lock: bool = False
    """There is something to write, and the queue wasn't locked."""

    def make(self, database: SqlDatabase) -> None:
        """Visit the queue, in one transaction. Raises what the database raises."""
        self.granted, self.expected, self.must_lock = [], [], False
        with database.transaction() as sql:
            queue = Queue(sql, self.owner, self.clock, self.locked)
            self.now = queue.now
            owners = {*queue.marks, *(each.owner for each in queue.tickets.values())}
            silence = self.signs.look(self.now, queue.marks, owners - {self.owner})
            self._put_in_order(queue, silence)
            late = self._give_slots(queue, silence, database.shared)
            if self.locked:
                self._write_slots(queue, late)
            elif self.granted:
                self.granted, self.must_lock = [], True
            if len(self.granted) < len(self.waiters):
                queue.mark_alive()
            queue.write()

    def _put_in_order(self, queue: Queue, silence: dict[str, float]) -> None:
        """Drop the dead and what nobody waits for any more; write what was reported; add who is
        new, and who was taken for dead."""
        dead = {owner for owner, seconds in silence.items() if seconds >= self.rhythm.dead_after}
        wanted = {each.ticket.id for each in self.waiters if each.ticket is not None}
        mine = {each.id for each in queue.tickets.values() if each.owner == self.owner}
        missing = [each for each in self.waiters if not each.ticket or each.ticket.id not in mine]
        if not self.locked:
            self.must_lock = bool(dead or mine - wanted or missing)
            return
        for change in self.changes:
            name = change.deployment.name
            pacing = queue.pacing(name, change.deployment.rpm)
            change.apply(pacing, self.now)
            queue.save(name, pacing)
        queue.remove(mine - wanted)
        queue.forget(dead)
        if (self.changes or dead or mine - wanted) and queue.tickets:
            queue.ring()
        for waiter in missing:
            names = tuple(each.name for each in waiter.deployments)
            waiter.ticket = queue.add(names, waiter.first, waiter.ticket)

    def _give_slots(self, queue: Queue, silence: dict[str, float], has_bell: bool) -> bool:
        """Work out the slots in order: those of this process that are due, and seconds to wait.

        Gives whether one of them comes later than others can have expected.
        """
        waiters = {each.ticket.id: each for each in self.waiters if each.ticket is not None}
        own = {each.name: each for waiter in self.waiters for each in waiter.deployments}
        quiet = {o for o, seconds in silence.items() if seconds >= self.rhythm.passed_over_after}
        tickets = [each for each in queue.in_order() if each.owner not in quiet]
        rates = {
            name: own[name].rpm if name in own else None for each in tickets for name in each.names
        }
        pacings = {name: queue.pacing(name, rpm) for name, rpm in rates.items()}
        self.delay, self.slot_in, late = self.rhythm.look, math.inf, False
        behind: set[str] = set()
        is_overdue = False
        for ticket in tickets:
            name = min(ticket.names, key=lambda each: pacings[each].next_at())
            possible_at = pacings[name].next_at()
            slot_at = max(self.now, possible_at)
            pacings[name].send(slot_at)
            # Ahead of time only where nobody else can be meant.
            lead = self.lead if behind.isdisjoint(ticket.names) else 0.0
            if (waiter := waiters.get(ticket.id)) is None:
                behind.update(ticket.names)
                is_overdue = is_overdue or slot_at <= self.now
            elif slot_at <= self.now + lead:
                self.granted.append(Expectation(waiter, own[name], slot_at))
                late = late or possible_at < self.now - OVERDUE
            else:
                alone = behind.isdisjoint(ticket.names)
                is_blocked = is_overdue and waiter.slot_at <= self.now and waiter.expected
                if alone or not has_bell:
                    self.slot_in = min(self.slot_in, slot_at - lead - self.now)
                elif not is_blocked:
                    self.delay = min(self.delay, slot_at - self.now)
                if behind and (is_blocked or not has_bell):
                    self.delay = min(self.delay, self.rhythm.look_again)
                self._expect(waiter, own[name], slot_at, pacings)
                # Slots of other deployments may be due before the first that isn't.
                rest = min(pacings[each].next_at() for each in own) - self.now
                if not self.report and rest > 0:
                    self.delay = min(self.delay, rest)
                    break
        return late

    def _expect(
        self,
        waiter: SlotWaiter,
        deployment: Deployment,
        slot_at: float,
        pacings: dict[str, Pacing],
    ) -> None:
        """A waiter's slot isn't due yet."""
        self.report = self.report or abs(slot_at - waiter.slot_at) > REPORT_CHANGE
        ends = min(pacings[each.name].cooldown_until for each in waiter.deployments)
        rpm = pacings[deployment.name].rpm
        self.expected.append(Expectation(waiter, deployment, slot_at, rpm, ends))

    def _write_slots(self, queue: Queue, late: bool) -> None:
        for slot in self.granted:
            name = slot.deployment.name
            pacing = queue.pacing(name, slot.deployment.rpm)
            pacing.send(slot.slot_at)
            queue.save(name, pacing)
            assert slot.waiter.ticket is not None
            queue.remove([slot.waiter.ticket.id])
        behind = [each.owner for each in queue.in_order() if each.owner != self.owner]
        if late and behind:
            queue.ring(behind[0])
