"""quota.sqlite: the queue of waiting calls and each deployment's pacing, for all processes.

Nothing in it is worth much: a lost file costs a few refusals. So it is written without fsync, and
a damaged one, or one of another version, is begun anew.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..disk import Database, Schema
from .pacing import Pacing

logger = logging.getLogger(__name__)

SCHEMA = Schema(
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
    busy_seconds=0.02,
    disposable=True,
)
"""It waits only so long for another process because the event loop stands still meanwhile."""


class QueueFile:
    """quota.sqlite; all but `transaction` is used inside a transaction."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, SCHEMA)
        self._sql: sqlite3.Connection

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """An immediate transaction; BusyError while another process has one, or StoreError.

        DamagedError where the file was damaged, which is begun anew by the next transaction.
        """
        with self._database.write() as self._sql:
            yield

    def load(self, name: str) -> Pacing:
        """The pacing of a deployment; a new one if there is none, or one that can't be true."""
        query = "SELECT pacing FROM deployments WHERE name = ?"
        row = self._sql.execute(query, (name,)).fetchone()
        if row is None:
            return Pacing()
        try:
            pacing = Pacing(**json.loads(row[0]))
            if not pacing.is_sound():
                raise ValueError("its numbers can't be true")
        except (TypeError, ValueError) as error:
            logger.info("The limit of a deployment is learned anew: %s", error)
            return Pacing()
        return pacing

    def save(self, name: str, pacing: Pacing) -> None:
        """Write a deployment's pacing."""
        values = (name, json.dumps(vars(pacing)))
        self._sql.execute("INSERT OR REPLACE INTO deployments VALUES (?, ?)", values)

    def mark_alive(self, owner: str, now: float, dead_after: float) -> None:
        """Write down that `owner` lives, and drop the tickets of processes that died.

        A process is taken for dead after `dead_after` seconds without such a mark. A mark that lies
        ahead of the clock was made before a reboot.
        """
        self._sql.execute("INSERT OR REPLACE INTO processes VALUES (?, ?)", (owner, now))
        dead = self._sql.execute(
            "DELETE FROM processes WHERE alive_at NOT BETWEEN ? AND ?",
            (now - dead_after, now + dead_after),
        )
        if dead.rowcount:
            self._sql.execute(
                "DELETE FROM tickets WHERE owner NOT IN (SELECT owner FROM processes)"
            )

    def add(self, owner: str, deployments: list[str], first: bool, ticket: int | None) -> int:
        """Put a ticket at the queue's end (`first`: before all that aren't) and give its number.

        With the number that it had before, `ticket`, it goes back to its old place.
        """
        insert = "INSERT OR IGNORE INTO tickets (id, first, owner, deployments) VALUES (?, ?, ?, ?)"
        values = (first, owner, json.dumps(deployments))
        cursor = self._sql.execute(insert, (ticket, *values))
        if not cursor.rowcount:
            cursor = self._sql.execute(insert, (None, *values))
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def remove(self, ticket: int) -> None:
        """Take a ticket out of the queue."""
        self._sql.execute("DELETE FROM tickets WHERE id = ?", (ticket,))

    def tickets(self) -> dict[int, list[str]]:
        """The queue, the next ticket first: the deployments that each may be sent to, by number."""
        query = "SELECT id, deployments FROM tickets ORDER BY first DESC, id"
        return {ticket: _names(text) for ticket, text in self._sql.execute(query)}


def _names(text: object) -> list[str]:
    """The deployments of a ticket; DatabaseError for what only damage can have put there."""
    try:
        names = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        names = None
    if not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
        raise sqlite3.DatabaseError("malformed ticket")
    return names
