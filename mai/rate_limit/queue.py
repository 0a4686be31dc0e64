"""The queue as the database holds it: tickets, the processes that live, each deployment's pacing.

SQLAlchemy Core speaks to quota.sqlite and to a studio's PostgreSQL. A transaction reads all of it,
and writes what changed at its end: on a slow link each is one round trip, and the queue is locked
for no longer than the one between them.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Float,
    Integer,
    MetaData,
    Select,
    Table,
    Text,
    cast,
    delete,
    extract,
    func,
    insert,
    select,
)

from ..database import Schema, upsert
from .pacing import Pacing

logger = logging.getLogger(__name__)

CHANNEL = "mai_image_rate_limit"
"""Where PostgreSQL tells other machines that they may be earlier than they think: NOTIFY with the
owner whom it concerns, or "" for all."""

METADATA = MetaData()

DEPLOYMENTS = Table(
    "deployments",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("pacing", Text, nullable=False),
)
"""What is known of each deployment: `Pacing` as JSON."""

PROCESSES = Table(
    "processes",
    METADATA,
    Column("owner", Text, primary_key=True),
    Column("alive_at", Float(53), nullable=False),
)
"""The processes that wait; `alive_at` is another one each time that a process gives a sign of
life."""

TICKETS = Table(
    "tickets",
    METADATA,
    Column(
        "id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False
    ),
    Column("first", Integer, key="priority", nullable=False),
    Column("owner", Text, nullable=False),
    Column("deployments", Text, nullable=False),
)
"""Who waits for a slot of any of `deployments` (JSON): the highest priority first, then the lowest
`id`. The file's word `first` is older than the turns that stand in it now, see `Queue.add`."""

SCHEMA = Schema(
    name="The quota file",
    version=2,
    tables=METADATA,
    part="rate_limit",
    synchronous="OFF",
    if_damaged="It is begun anew by itself; if this comes again, the disk may be failing. Remove "
    "the file and queue again.",
    # No longer, as the event loop stands still while it waits for another process.
    busy_seconds=0.02,
    disposable=True,
)

FIRST = 1_000_000_000
"""What the priority of a call that was refused before is higher."""

_TICKETS, _PROCESSES, _DEPLOYMENTS = select(TICKETS), select(PROCESSES), select(DEPLOYMENTS)
_CLOCK = select(cast(extract("epoch", func.clock_timestamp()), Float(53)))
_LOCK = select(
    func.pg_advisory_xact_lock(func.hashtextextended("mai-image rate limits", 0)),
    # Nothing here is worth a wait for the disk.
    func.set_config("synchronous_commit", "off", True),
)

_PACING, _NAMES = TypeAdapter(Pacing), TypeAdapter(list[str])


@dataclass(frozen=True)
class Deployment:
    """What has a rate limit of its own. `name` is unique for endpoint and deployment; `rpm` is
    requests a minute, None where nobody knows."""

    name: str
    rpm: float | None = None


@dataclass(frozen=True)
class Ticket:
    """A place in the queue. `owner` is the process that waits: "machine/process"."""

    id: int
    priority: int
    owner: str
    names: tuple[str, ...]

    @property
    def machine(self) -> str:
        """Whose turn it is; "" in a file, which has one machine."""
        return self.owner.rpartition("/")[0]


class Queue:
    """What one transaction sees of the queue, and has changed of it.

    `clock` gives the time in seconds, None: the server's clock does. Without `locked` others may
    change the queue meanwhile, and only `mark_alive` may be used.
    """

    def __init__(
        self, sql: Connection, owner: str, clock: Callable[[], float] | None, locked: bool
    ) -> None:
        self._sql = sql
        self._owner = owner
        self._on_server = sql.dialect.name == "postgresql"
        locks = [_LOCK] if locked and self._on_server else []
        clocks = [_CLOCK] if clock is None else []
        rows = self._read([*locks, _TICKETS, _PROCESSES, _DEPLOYMENTS, *clocks])[len(locks) :]
        self.now: float = rows[3][0][0] if clock is None else clock()
        self.tickets = {ticket.id: ticket for ticket in map(_ticket, rows[0])}
        self.marks: dict[str, float] = dict(map(tuple, rows[1]))
        if not all(isinstance(mark, float) for mark in self.marks.values()):
            raise sqlite3.DatabaseError("malformed sign of life")
        self._pacings: dict[str, str] = dict(map(tuple, rows[2]))
        self._locked = locked
        self._last = max(self.tickets, default=0)
        self._changed: set[str] = set()
        self._added: dict[int, Ticket] = {}
        self._removed: set[int] = set()
        self._writes: list[Any] = []

    @functools.cached_property
    def _turns(self) -> _Turns:
        return _Turns(self.tickets.values())

    def in_order(self) -> list[Ticket]:
        """All tickets, the next one first."""
        return sorted(self.tickets.values(), key=lambda each: (-each.priority, each.id))

    def pacing(self, name: str, own: Deployment | None) -> Pacing:
        """A copy of a deployment's pacing as of now, with the requests a minute of this process's
        profile; None: it stays with what others know.

        It is a new one where there is none, or one that can't be true.
        """
        text = self._pacings.get(name)
        try:
            pacing = _PACING.validate_json(text) if text is not None else Pacing()
        except ValidationError:
            logger.info("The limit of a deployment is learned anew: its numbers can't be true")
            pacing = Pacing()
        if pacing.update(self.now) and self._locked:
            self.save(name, pacing)
        if own is not None:
            pacing.set_limit(own.rpm)
        return pacing

    def save(self, name: str, pacing: Pacing) -> None:
        """Write a deployment's pacing."""
        self._pacings[name] = json.dumps(vars(pacing))
        self._changed.add(name)

    def add(self, names: tuple[str, ...], first: bool, old: Ticket | None) -> Ticket:
        """Put a ticket of this process into the queue.

        One that was there before goes back to its old place. A new one goes behind those of its own
        machine, and behind the first one of each other machine: so machines take turns, and one
        machine alone is served in the order of asking. `first` before all that aren't.
        """
        if old is None or old.id in self.tickets:
            self._last += 1
            place = Ticket(self._last, 0, self._owner, names)
            turn = self._turns.next_of(place, first)
            old = replace(place, priority=(FIRST if first else 0) - turn)
        self._turns.count(old)
        self.tickets[old.id] = self._added[old.id] = old
        return old

    def remove(self, tickets: Iterable[int]) -> None:
        """Take tickets out of the queue."""
        for ticket in tickets:
            del self.tickets[ticket]
            if self._added.pop(ticket, None) is None:
                self._removed.add(ticket)

    def forget(self, owners: set[str]) -> None:
        """Processes that died give no more signs of life."""
        if known := owners & set(self.marks):
            self._writes.append(delete(PROCESSES).where(PROCESSES.c.owner.in_(known)))

    def mark_alive(self) -> None:
        """This process lives."""
        mark = upsert(self._sql, PROCESSES).values(owner=self._owner, alive_at=self.now)
        update = {"alive_at": mark.excluded.alive_at}
        self._writes.append(mark.on_conflict_do_update(index_elements=["owner"], set_=update))

    def ring(self, owner: str = "") -> None:
        """Have `owner`, or all who wait, look at the queue at once; a file has no such bell."""
        if self._on_server:
            self._writes.append(select(func.pg_notify(CHANNEL, owner)))

    def write(self) -> None:
        """Write all that changed, at once, and give the lock up."""
        if self._changed:
            rows = [{"name": name, "pacing": self._pacings[name]} for name in sorted(self._changed)]
            save = upsert(self._sql, DEPLOYMENTS).values(rows)
            update = {"pacing": save.excluded.pacing}
            self._writes.append(save.on_conflict_do_update(index_elements=["name"], set_=update))
        if self._removed:
            self._writes.append(delete(TICKETS).where(TICKETS.c.id.in_(self._removed)))
        with self._pipeline():
            for statement in self._writes:
                self._sql.execute(statement)
            if self._added:
                self._sql.execute(insert(TICKETS), [_row(each) for each in self._added.values()])
            if self._on_server:
                # With the last statement: nobody waits for the lock while an answer travels.
                self._sql.exec_driver_sql("COMMIT AND CHAIN")

    def _read(self, statements: Sequence[Select[Any]]) -> list[Sequence[Any]]:
        """The rows of each statement, all in one round trip."""
        if not self._on_server:
            return [self._sql.execute(each).all() for each in statements]
        # SQLAlchemy would wait for each one's rows before it sends the next.
        cursors = [self._sql.connection.cursor() for _ in statements]
        with self._pipeline():
            for cursor, statement in zip(cursors, statements, strict=True):
                compiled = statement.compile(self._sql.engine)
                cursor.execute(str(compiled), compiled.params)
        # Not before the pipeline's end, which would be a round trip of its own.
        return [cursor.fetchall() for cursor in cursors]

    def _pipeline(self) -> contextlib.AbstractContextManager[Any]:
        """Statements are sent without waiting for the answers to those before."""
        driver: Any = self._sql.connection.driver_connection
        return driver.pipeline() if self._on_server else contextlib.nullcontext()


class _Turns:
    """The turns of the tickets that wait, of each deployment: in one, each machine has one slot."""

    def __init__(self, tickets: Iterable[Ticket]) -> None:
        self._lowest: dict[tuple[bool, str], int] = {}
        self._highest: dict[tuple[bool, str, str], int] = {}
        for ticket in tickets:
            self.count(ticket)

    def count(self, ticket: Ticket) -> None:
        """A ticket waits."""
        first = ticket.priority > FIRST // 2
        turn = (FIRST if first else 0) - ticket.priority
        for name in ticket.names:
            lowest, highest = (first, name), (first, name, ticket.machine)
            self._lowest[lowest] = min(turn, self._lowest.get(lowest, turn))
            self._highest[highest] = max(turn, self._highest.get(highest, turn))

    def next_of(self, ticket: Ticket, first: bool) -> int:
        """The turn of a new ticket."""
        machine = ticket.machine
        present = max(self._lowest.get((first, name), 0) for name in ticket.names)
        own = max(self._highest.get((first, name, machine), -1) for name in ticket.names)
        return max(present, own + 1)


def _ticket(row: Sequence[Any]) -> Ticket:
    """DatabaseError for a ticket that only damage can have put there."""
    number, priority, owner, text = row
    names = _read_names(text)
    if not names:
        raise sqlite3.DatabaseError("malformed ticket")
    return Ticket(number, priority, owner, names)


@functools.lru_cache(maxsize=256)
def _read_names(text: str | bytes) -> tuple[str, ...]:
    """The deployments of a ticket, of which all of a batch have the same; () for no list."""
    try:
        return tuple(_NAMES.validate_json(text))
    except ValidationError:
        return ()


def _row(ticket: Ticket) -> dict[str, object]:
    names = json.dumps(ticket.names)
    return {"id": ticket.id, "priority": ticket.priority, "owner": ticket.owner} | {
        "deployments": names
    }
