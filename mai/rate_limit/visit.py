"""One visit to the queue: what is reported is written down, and slots that are due are given.

A visit blocks, and touches nothing of the limiter but its waiters' tickets: so it may run in
another thread, and the limiter reads from it afterwards what came of it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..database import SqlDatabase
from .pacing import Pacing
from .queue import Deployment, Queue, Ticket

REPORT_CHANGE = 0.5
"""Seconds by which an expected slot must move to be reported before the next tick."""
OVERDUE = 0.01
"""Who is given a slot so many seconds late wakes the next one, which may have looked in vain."""


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
    """Something that was reported of a deployment, to be written into its pacing. `rings`: others
    may come earlier by it, or later, and hear of it at once."""

    deployment: Deployment
    apply: Callable[[Pacing, float], None]
    rings: bool = True


@dataclass(frozen=True)
class Expectation:
    """A slot of `waiter`: of which deployment, and when by the queue's clock."""

    waiter: SlotWaiter
    deployment: Deployment
    slot_at: float
    free_at: float
    """Since when the deployment was free for it; before `slot_at` where nobody came for it."""
    rpm: float | None = None
    cooldown_until: float = -math.inf
    """Until when none of the waiter's deployments takes calls."""


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

    def look(self, queue: Queue, pacings: Iterable[Pacing]) -> dict[str, float]:
        """Seconds of silence of each process that waits, or was given a slot by one of `pacings`.

        A sign of life that lies ahead of the clock was given before a reboot.
        """
        now, marks = queue.now, dict(queue.marks)
        given = [each for pacing in pacings for each in pacing.given.items()]
        for owner, slots in given:
            if slots:
                marks[owner] = max(marks.get(owner, -math.inf), *slots)
        owners = {*marks, *(each.owner for each in queue.tickets.values())}
        step = min(max(0.0, now - self._looked_at), self._longest)
        self._looked_at = now
        seen, self._seen = self._seen, {}
        for owner in owners:
            mark = marks.get(owner, -math.inf)
            before, silence = seen.get(owner, (mark, min(abs(now - mark), self._believed) - step))
            is_new = mark != before  # it came since the last look
            self._seen[owner] = mark, min(step, abs(now - mark)) if is_new else silence + step
        return {owner: silence for owner, (_, silence) in self._seen.items()}


@dataclass
class Visit:
    """What one visit is to do, and what came of it.

    `locked` is one that may write: it has the queue for itself. `report` works out everybody's
    slot, not only the next. Slots of the next `lead` seconds are given at once: so long takes a
    visit. `unsent` are this process's slots, by deployment, whose calls aren't sent yet. `clock` as
    for Queue.
    """

    owner: str
    clock: Callable[[], float] | None
    rhythm: Rhythm
    signs: SignsOfLife
    waiters: Sequence[SlotWaiter]
    unsent: Mapping[str, Collection[float]]
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
        self.delay, self.slot_in = self.rhythm.look, math.inf
        self._own = {each.name: each for waiter in self.waiters for each in waiter.deployments}
        with database.transaction() as sql:
            queue = Queue(sql, self.owner, self.clock, self.locked)
            self.now = queue.now
            pacings = self._bring_up_to_date(queue)
            silence = self.signs.look(queue, pacings.values())
            silence.pop(self.owner, None)
            self._clear_away(queue, pacings, silence)
            self._line_up(queue)
            self._work_out_slots(queue, pacings, silence, database.shared)
            if self.locked:
                self._write_slots(queue)
            elif self.granted:
                self.granted, self.must_lock = [], True
            if len(self.granted) < len(self.waiters):
                queue.mark_alive()
            queue.write()

    def _bring_up_to_date(self, queue: Queue) -> dict[str, Pacing]:
        """Write down what was reported. Gives the pacing of each deployment that is waited for."""
        for change in self.changes if self.locked else ():
            name = change.deployment.name
            pacing = queue.pacing(name, change.deployment)
            change.apply(pacing, self.now)
            queue.save(name, pacing)
            if change.rings and queue.tickets:
                queue.ring()
        names = {name for ticket in queue.tickets.values() for name in ticket.names}
        return {name: queue.pacing(name, self._own.get(name)) for name in {*names, *self._own}}

    def _clear_away(
        self, queue: Queue, pacings: dict[str, Pacing], silence: dict[str, float]
    ) -> None:
        """Take out tickets for which nobody waits any more, and take back slots that nobody uses:
        those of the dead, and own ones that came with an answer which this process didn't get."""
        dead = {owner for owner, seconds in silence.items() if seconds >= self.rhythm.dead_after}
        # To be back when the next one is dead, should it stay silent.
        left_to_live = [self.rhythm.dead_after - silence[each] for each in silence.keys() - dead]
        self.delay = min([self.delay, *left_to_live])
        wanted = {each.ticket.id for each in self.waiters if each.ticket is not None}
        tickets = [
            each.id
            for each in queue.tickets.values()
            if each.owner in dead or (each.owner == self.owner and each.id not in wanted)
        ]
        free = set()
        for name, pacing in pacings.items():
            holders = [each for each, slots in pacing.given.items() if slots]
            for holder in {*dead, self.owner}.intersection(holders):
                known = self.unsent.get(name, ()) if holder == self.owner else ()
                if pacing.take_back(holder, but=known):
                    free.add(name)
        if not self.locked:
            self.must_lock = bool(dead or tickets or free)
            return
        queue.remove(tickets)
        if dead:
            queue.forget(dead)
        for name in free:
            queue.save(name, pacings[name])
        if queue.tickets and (tickets or free):
            queue.ring()

    def _line_up(self, queue: Queue) -> None:
        """Add tickets for who is new, and who was taken for dead."""
        there = {each.id for each in queue.tickets.values() if each.owner == self.owner}
        for waiter in self.waiters:
            if waiter.ticket is not None and waiter.ticket.id in there:
                continue
            if not self.locked:
                self.must_lock = True
                return
            names = tuple(each.name for each in waiter.deployments)
            waiter.ticket = queue.add(names, waiter.first, waiter.ticket)

    def _work_out_slots(
        self, queue: Queue, pacings: dict[str, Pacing], silence: dict[str, float], has_bell: bool
    ) -> None:
        """Work out the slots in order: those of this process are given if due, else expected.

        `pacings` go along, as if every slot were used. Processes that are silent are passed over.
        """
        waiters = {each.ticket.id: each for each in self.waiters if each.ticket is not None}
        ahead = _Ahead(set(), False)
        for ticket in queue.in_order():
            if silence.get(ticket.owner, 0.0) >= self.rhythm.passed_over_after:
                continue
            slot = _next_slot(ticket, pacings, self.now)
            # Ahead of time only where nobody else can be meant.
            has_rivals = not ahead.names.isdisjoint(ticket.names)
            due_until = self.now + (0.0 if has_rivals else self.lead)
            if (waiter := waiters.get(ticket.id)) is None:
                ahead.names.update(ticket.names)
                ahead.is_due = ahead.is_due or slot.at <= self.now
            elif slot.at <= due_until:
                deployment = self._own[slot.name]
                self.granted.append(Expectation(waiter, deployment, slot.at, slot.free_at))
            else:
                self._expect(waiter, slot, pacings)
                self._plan_next_visit(waiter, slot, ahead, has_rivals, has_bell)
                if self._is_enough(pacings):
                    break

    def _expect(self, waiter: SlotWaiter, slot: _Slot, pacings: dict[str, Pacing]) -> None:
        """A waiter's slot isn't due yet."""
        self.report = self.report or abs(slot.at - waiter.slot_at) > REPORT_CHANGE
        ends = min(pacings[each.name].cooldown_until for each in waiter.deployments)
        deployment, rpm = self._own[slot.name], pacings[slot.name].rpm
        self.expected.append(Expectation(waiter, deployment, slot.at, slot.free_at, rpm, ends))

    def _plan_next_visit(
        self, waiter: SlotWaiter, slot: _Slot, ahead: _Ahead, has_rivals: bool, has_bell: bool
    ) -> None:
        """When to visit the queue for a slot that isn't due yet."""
        seconds = slot.at - self.now
        is_held_up = ahead.is_due and waiter.slot_at <= self.now and waiter.expected is not None
        if not has_rivals:
            self.slot_in = min(self.slot_in, seconds - self.lead)
        elif not has_bell:
            self.slot_in = min(self.slot_in, seconds)
        elif not is_held_up:
            # The bell rings when the one before has come late.
            self.delay = min(self.delay, seconds)
        if ahead.names and (is_held_up or not has_bell):
            self.delay = min(self.delay, self.rhythm.look_again)

    def _is_enough(self, pacings: dict[str, Pacing]) -> bool:
        """Whether no further ticket can have a slot now, and nobody wants to know when it has."""
        # Slots of other deployments may be due before the first that isn't.
        rest = min(pacings[name].next_at() for name in self._own) - self.now
        if self.report or rest <= 0:
            return False
        self.delay = min(self.delay, rest)
        return True

    def _write_slots(self, queue: Queue) -> None:
        """Write down which slots were given."""
        for slot in self.granted:
            name = slot.deployment.name
            pacing = queue.pacing(name, slot.deployment)
            pacing.send(slot.slot_at, self.owner)
            queue.save(name, pacing)
            assert slot.waiter.ticket is not None
            queue.remove([slot.waiter.ticket.id])
        late = any(slot.free_at < self.now - OVERDUE for slot in self.granted)
        behind = [each.owner for each in queue.in_order() if each.owner != self.owner]
        if late and behind:
            queue.ring(behind[0])


@dataclass(frozen=True)
class _Slot:
    """When a ticket may have a slot of the deployment `name`, which is free since `free_at`."""

    name: str
    at: float
    free_at: float


def _next_slot(ticket: Ticket, pacings: dict[str, Pacing], now: float) -> _Slot:
    """The first slot that a ticket may have, of whichever deployment; its pacing counts it."""
    name = min(ticket.names, key=lambda each: pacings[each].next_at())
    free_at = pacings[name].next_at()
    slot = _Slot(name, max(now, free_at), free_at)
    pacings[name].send(slot.at)
    return slot


@dataclass
class _Ahead:
    """Other processes' tickets that come before one: the deployments that they wait for, and
    whether a slot of theirs is due."""

    names: set[str]
    is_due: bool
