"""What a database holds, for both engines: tables, versions, and the errors that mean the same."""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, ParamSpec, Protocol, TypeVar

import sqlalchemy
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from ..disk import UNKNOWN_HOLDER
from ..errors import StoreError

P = ParamSpec("P")
T = TypeVar("T")

REPEAT_SECONDS = 30.0
"""For so long a transaction that the server rolled back is begun again: others' last milliseconds,
and one of a machine that stopped in the middle is ended by the server after 3 s."""


SERVER_ONLY = "server only"
"""In a table's `info`: it is for machines that share a server, and not made in a file."""


class DamagedError(StoreError):
    """The file `path` is no SQLite database, or one that doesn't hold together.

    `begun_anew`: it was disposable and is a new one now, so the transaction may be repeated.
    """

    begun_anew = False

    def __init__(self, what: str, hint: str, path: Path) -> None:
        super().__init__(what, hint)
        self.path = path


class BusyError(StoreError):
    """`holder` ("process 1234 (python)" where it is known) has had the file for too long."""

    def __init__(self, what: str, hint: str, holder: str = UNKNOWN_HOLDER) -> None:
        super().__init__(what, hint)
        self.holder = holder


class DatabaseGone(StoreError, shown_as="Database not reachable"):
    """The studio's database doesn't answer, or doesn't let this machine in.

    `in_doubt`: the transaction was being committed, and nobody knows whether it is. `detail` is
    what the driver said, with hosts: for a terminal and a log, never for a page.
    """

    in_doubt = False

    def __init__(self, what: str, hint: str, detail: str = "") -> None:
        super().__init__(what, hint)
        self.detail = detail


class RolledBackError(StoreError):
    """The server undid the transaction for others' sake: nothing is written, it may be repeated."""


@dataclass(frozen=True, slots=True)
class Schema:
    """What a database holds: `name` for error texts, tables or statements, and its version.

    `tables` are SQLAlchemy's, and make both engines' statements; `statements` stand in their place
    for SQLite alone. `part` names the version's row in PostgreSQL, where several schemas share one
    server. `upgrades` has by version the statements that make the next version of a SQLite file,
    `server_upgrades` of the tables in PostgreSQL, whose names need no prefix.

    `synchronous` is SQLite's: FULL commits only when the disk has it (one fsync a commit: safe
    against a power cut); with less, a commit survives the death of the process, not of the machine.
    `if_damaged` is what the user can do about a damaged file. `busy_seconds` is how long a
    transaction waits for another process's; ours last milliseconds. A `disposable` file that is
    damaged, or of another version, is put aside and begun anew.
    """

    name: str
    version: int
    synchronous: Literal["FULL", "NORMAL", "OFF"]
    if_damaged: str
    statements: Sequence[str] = ()
    tables: sqlalchemy.MetaData | None = None
    part: str = ""
    busy_seconds: float = 10.0
    disposable: bool = False
    upgrades: Mapping[int, Sequence[str]] = field(default_factory=dict)
    server_upgrades: Mapping[int, Sequence[str]] = field(default_factory=dict)


class SqlDatabase(Protocol):
    """One schema's tables on either engine, spoken to through SQLAlchemy Core."""

    place: str
    """Where it is, for error texts: the file's path, or "in the studio's database"."""
    shared: bool
    """Whether several machines use it: then its clock counts, not this machine's."""

    def transaction(
        self, read_only: bool = False, locks: Iterable[str] = (), patience: float | None = None
    ) -> AbstractContextManager[sqlalchemy.Connection]:
        """One transaction: committed at the end, rolled back on any exception.

        Each of `locks` is a name that only one transaction at a time can have, on all machines; it
        is held to the end, and got before anything is read. `patience` is the longest wait in
        seconds, None the usual one.
        """
        ...

    def now(self, sql: sqlalchemy.Connection | None) -> float:
        """Seconds since 1970, by the clock that all who share the database go by; without a
        connection as far as it is known here."""
        ...

    def verify(self) -> None:
        """Raise StoreError where the database can't be used as it is."""
        ...

    def close_file(self) -> None:
        """Let go of the file or the connections; the next use opens them again."""
        ...


_DIALECTS: dict[str, Any] = {"sqlite": sqlite.dialect, "postgresql": postgresql.dialect}
_INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def create_statements(schema: Schema, dialect: str) -> list[str]:
    """What makes a schema's tables and indexes in "sqlite" or "postgresql"."""
    if schema.tables is None:
        raise ValueError(f"{schema.name} has no tables for {dialect}")
    made: list[str] = []
    for table in schema.tables.sorted_tables:
        if dialect == "sqlite" and table.info.get(SERVER_ONLY):
            continue
        indexes = sorted(table.indexes, key=lambda index: str(index.name))
        items: list[Any] = [CreateTable(table), *map(CreateIndex, indexes)]
        made += [str(item.compile(dialect=_DIALECTS[dialect]())) for item in items]
    return made


def upsert(sql: sqlalchemy.Connection, table: sqlalchemy.Table) -> Any:
    """An INSERT that can be given `on_conflict_do_update` and `on_conflict_do_nothing`."""
    return _INSERTS[sql.dialect.name](table)


def repeat_if_damaged(action: Callable[P, T]) -> Callable[P, T]:
    """Decorates what uses a disposable Database: called once more where the file was begun anew."""

    @functools.wraps(action)
    def repeated(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return action(*args, **kwargs)
        except DamagedError as error:
            if not error.begun_anew:
                raise
            return action(*args, **kwargs)

    return repeated


def repeat_if_rolled_back(action: Callable[P, T]) -> Callable[P, T]:
    """Decorates what runs one transaction: called again while the server undoes it for others'
    sake (a deadlock, a lock that isn't free in time), for REPEAT_SECONDS at most."""

    @functools.wraps(action)
    def repeated(*args: P.args, **kwargs: P.kwargs) -> T:
        until = time.monotonic() + REPEAT_SECONDS
        pause = 0.005
        while True:
            try:
                return action(*args, **kwargs)
            except RolledBackError:
                if time.monotonic() > until:
                    raise
            # At random: those that stood in each other's way don't meet again.
            time.sleep(random.uniform(0, pause))
            pause = min(2 * pause, 0.2)

    return repeated
