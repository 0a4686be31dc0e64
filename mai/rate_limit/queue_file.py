"""quota.sqlite: the queue of calls and each deployment's pace, shared by the machine's processes.

Nothing in it is worth much: a lost file costs a few refusals. So it is written without fsync, and
a damaged one is put aside and begun anew.
"""

from __future__ import annotations

import functools
import json
import logging
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..disk import create_private, make_folder
from .pacer import Pacer

log = logging.getLogger(__name__)

VERSION = 1
BUSY_MS = 20
"""How long a transaction may wait for another process's: the event loop stands still meanwhile."""
DEAD_AFTER = 3.0
"""Seconds without a sign of life after which a process's tickets are dropped. Processes sign once
a second; one that only slept too long puts its tickets back in their old places."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS lanes (name TEXT PRIMARY KEY, pace TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS owners (owner TEXT PRIMARY KEY, beat REAL NOT NULL);
CREATE TABLE IF NOT EXISTS tickets (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    first INTEGER NOT NULL,
    owner TEXT NOT NULL,
    lanes TEXT NOT NULL
);
"""


class BusyError(Exception):
    """Another process holds the file; try again shortly."""


@dataclass(frozen=True)
class Ticket:
    """A place in the queue. `lanes` are the names of those that it may take."""

    id: int
    owner: str
    lanes: tuple[str, ...]


class QueueFile:
    """One connection to quota.sqlite; every method but `transaction` is used inside one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """An immediate transaction. BusyError, or sqlite3.Error and OSError where it can't be."""
        connection = self._open()
        with _busy():
            connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            with _busy():
                connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Let go of the file; the next transaction opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def pacer(self, name: str) -> Pacer:
        """The pace of a lane; a new one for a lane, or a form of state, that isn't known."""
        row = self._execute("SELECT pace FROM lanes WHERE name = ?", (name,)).fetchone()
        if row is None:
            return Pacer()
        try:
            return Pacer.restore(json.loads(row[0]))
        except (TypeError, ValueError, AttributeError) as error:
            log.info("The pace of a deployment is learned anew: %s", error)
            return Pacer()

    def save(self, name: str, pacer: Pacer) -> None:
        """Write a lane's pace."""
        values = (name, json.dumps(pacer.state()))
        self._execute("INSERT OR REPLACE INTO lanes VALUES (?, ?)", values)

    def sign(self, owner: str, now: float) -> None:
        """Give `owner`'s sign of life, and drop the tickets of those that gave none for long.

        A sign from the future is from before a reboot.
        """
        self._execute("INSERT OR REPLACE INTO owners VALUES (?, ?)", (owner, now))
        limits = (now - DEAD_AFTER, now + DEAD_AFTER)
        gone = self._execute("DELETE FROM owners WHERE beat NOT BETWEEN ? AND ?", limits).rowcount
        if gone:
            self._execute("DELETE FROM tickets WHERE owner NOT IN (SELECT owner FROM owners)")

    def add(self, owner: str, lanes: Iterable[str], first: bool, ticket: int | None = None) -> int:
        """Put a ticket at its lanes' end (`first`: before those that never had a turn).

        Gives its number. A number that it had before, `ticket`, puts it back in its old place.
        """
        sql = "INSERT OR IGNORE INTO tickets (id, first, owner, lanes) VALUES (?, ?, ?, ?)"
        facts = (first, owner, json.dumps(list(lanes)))
        cursor = self._execute(sql, (ticket, *facts))
        if not cursor.rowcount:
            cursor = self._execute(sql, (None, *facts))
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def remove(self, ticket: int) -> None:
        """Take a ticket out of the queue."""
        self._execute("DELETE FROM tickets WHERE id = ?", (ticket,))

    def queue(self) -> list[Ticket]:
        """All tickets, the next one first."""
        rows = self._execute("SELECT id, owner, lanes FROM tickets ORDER BY first DESC, id")
        return [Ticket(id, owner, _names(lanes)) for id, owner, lanes in rows]

    @property
    def _db(self) -> sqlite3.Connection:
        assert self._connection is not None, "only inside a transaction"
        return self._connection

    def _execute(self, sql: str, values: tuple[object, ...] = ()) -> sqlite3.Cursor:
        return self._db.execute(sql, values)

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            make_folder(self._path.parent)
            create_private(self._path)
            try:
                self._connection = _connect(self._path)
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError as error:
                aside = self._path.with_name(self._path.name + ".damaged")
                log.warning("The quota file is damaged (%s): put aside as %s", error, aside.name)
                self._path.replace(aside)
                create_private(self._path)
                self._connection = _connect(self._path)
        return self._connection


@functools.lru_cache(maxsize=256)
def _names(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        with _busy():
            connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = OFF")
            if connection.execute("PRAGMA user_version").fetchone()[0] != VERSION:
                _make_tables(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _make_tables(connection: sqlite3.Connection) -> None:
    """Make the tables; those of another version are dropped first: they hold nothing lasting."""
    connection.execute("BEGIN IMMEDIATE")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != VERSION:
        if version:
            for table in ("lanes", "owners", "tickets"):
                connection.execute(f"DROP TABLE IF EXISTS {table}")
        for statement in SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


@contextmanager
def _busy() -> Iterator[None]:
    """Turn SQLite's "locked" into BusyError."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if "locked" in str(error) or "busy" in str(error):
            raise BusyError from error
        raise
