"""quota.sqlite: the queue of waiting calls and each deployment's pacing, for all processes.

Nothing in it is worth much: a lost file costs a few refusals. So it is written without fsync, and
a damaged one, or one of another version, is begun anew.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..disk import create_private, make_folder
from .pacing import Pacing

logger = logging.getLogger(__name__)

VERSION = 2
BUSY_MS = 20
"""How long a transaction may wait for another process's: the event loop stands still meanwhile."""

SCHEMA = """
CREATE TABLE deployments (name TEXT PRIMARY KEY, pacing TEXT NOT NULL);
CREATE TABLE processes (owner TEXT PRIMARY KEY, alive_at REAL NOT NULL);
CREATE TABLE tickets (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    first INTEGER NOT NULL,
    owner TEXT NOT NULL,
    deployments TEXT NOT NULL
);
"""


class BusyError(Exception):
    """Another process holds the file; try again shortly."""


@dataclass(frozen=True)
class Ticket:
    """A place in the queue. `owner` is a process, `deployments` the names it may be sent to."""

    id: int
    owner: str
    deployments: tuple[str, ...]


class QueueFile:
    """One connection to quota.sqlite; all but `transaction` and `close` is used inside one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_open = False
        self._database: sqlite3.Connection

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """An immediate transaction. BusyError, or sqlite3.Error and OSError where it can't be."""
        try:
            if not self._is_open:
                self._database, self._is_open = self._open(), True
            self._database.execute("BEGIN IMMEDIATE")
            yield
            self._database.execute("COMMIT")
        except BaseException as error:
            if self._is_open and self._database.in_transaction:
                self._database.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                raise BusyError from error
            raise

    def close(self) -> None:
        """Close the file; the next transaction opens it again."""
        if self._is_open:
            self._database.close()
            self._is_open = False

    def load(self, name: str) -> Pacing:
        """The pacing of a deployment; a new one if there is none, or one of another form."""
        query = "SELECT pacing FROM deployments WHERE name = ?"
        row = self._database.execute(query, (name,)).fetchone()
        if row is None:
            return Pacing()
        try:
            return Pacing.restore(json.loads(row[0]))
        except (TypeError, ValueError) as error:
            logger.info("The limit of a deployment is learned anew: %s", error)
            return Pacing()

    def save(self, name: str, pacing: Pacing) -> None:
        """Write a deployment's pacing."""
        values = (name, json.dumps(pacing.stored()))
        self._database.execute("INSERT OR REPLACE INTO deployments VALUES (?, ?)", values)

    def mark_alive(self, owner: str, now: float, dead_after: float) -> None:
        """Write down that `owner` lives, and drop the tickets of processes that died.

        A process is taken for dead after `dead_after` seconds without such a mark. A mark that lies
        ahead of the clock was made before a reboot.
        """
        self._database.execute("INSERT OR REPLACE INTO processes VALUES (?, ?)", (owner, now))
        dead = self._database.execute(
            "DELETE FROM processes WHERE alive_at NOT BETWEEN ? AND ?",
            (now - dead_after, now + dead_after),
        )
        if dead.rowcount:
            self._database.execute(
                "DELETE FROM tickets WHERE owner NOT IN (SELECT owner FROM processes)"
            )

    def add(
        self, owner: str, deployments: Iterable[str], first: bool, ticket: int | None = None
    ) -> int:
        """Put a ticket at the queue's end (`first`: before all that aren't) and give its number.

        With the number that it had before, `ticket`, it goes back to its old place.
        """
        insert = "INSERT OR IGNORE INTO tickets (id, first, owner, deployments) VALUES (?, ?, ?, ?)"
        values = (first, owner, json.dumps(list(deployments)))
        cursor = self._database.execute(insert, (ticket, *values))
        if not cursor.rowcount:
            cursor = self._database.execute(insert, (None, *values))
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def remove(self, ticket: int) -> None:
        """Take a ticket out of the queue."""
        self._database.execute("DELETE FROM tickets WHERE id = ?", (ticket,))

    def tickets(self) -> list[Ticket]:
        """The queue, the next one first."""
        query = "SELECT id, owner, deployments FROM tickets ORDER BY first DESC, id"
        return [
            Ticket(id, owner, tuple(json.loads(names)))
            for id, owner, names in self._database.execute(query)
        ]

    def _open(self) -> sqlite3.Connection:
        make_folder(self._path.parent)
        create_private(self._path)
        try:
            return _connect(self._path)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            aside = self._path.with_name(self._path.name + ".damaged")
            logger.warning("The quota file is damaged (%s): put aside as %s", error, aside.name)
            self._path.replace(aside)
            create_private(self._path)
            return _connect(self._path)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")
        if _version(connection) != VERSION:
            _make_tables(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _make_tables(connection: sqlite3.Connection) -> None:
    """Make the tables; those of another version are dropped first: they hold nothing lasting."""
    connection.execute("BEGIN IMMEDIATE")
    if _version(connection) != VERSION:
        tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        for (name,) in connection.execute(tables).fetchall():
            quoted = name.replace('"', '""')
            connection.execute(f'DROP TABLE "{quoted}"')
        for statement in SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
