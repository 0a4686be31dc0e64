"""What couldn't be booked while the studio's database was gone: kept on this machine until it can.

A call that is out when the database goes ends on this machine alone. How it ended lies in a small
SQLite file in the user's folder, on the disk before anything else happens, so that a restart of
ComfyUI loses nothing. Booking the same entry twice changes nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..database import Database, Schema

Kind = Literal["close", "withdraw", "job", "leave"]

_SCHEMA = Schema(
    name="The list of what isn't booked yet",
    version=1,
    statements=(
        "CREATE TABLE entries (id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL,"
        " token TEXT NOT NULL, data TEXT NOT NULL)",
    ),
    synchronous="FULL",
    if_damaged="Calls whose end it holds stay in flight in the ledger until they count as perhaps "
    "billed. Rename the file: a new one is begun.",
)


@dataclass(frozen=True, slots=True)
class Entry:
    """What is to be done to the row `token`: see Ledger's methods of the same names.

    "withdraw" is for a row of which nobody knows whether it was written.
    """

    number: int
    kind: Kind
    token: str
    data: dict[str, object]


class Spool:
    """The entries in the file `path`, which is made with the first one. Safe for processes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = Database(path, _SCHEMA)

    def add(self, kind: Kind, token: str, data: dict[str, object]) -> None:
        """Keep an entry; it is on the disk when this returns. Raises StoreError."""
        with self._file.write() as sql:
            sql.execute(
                "INSERT INTO entries (kind, token, data) VALUES (?, ?, ?)",
                (kind, token, json.dumps(data)),
            )

    def entries(self) -> list[Entry]:
        """What isn't booked yet, the oldest first."""
        if not self._path.exists():
            return []
        with self._file.read() as sql:
            rows = sql.execute("SELECT id, kind, token, data FROM entries ORDER BY id").fetchall()
        return [Entry(number, kind, token, json.loads(data)) for number, kind, token, data in rows]

    def remove(self, entry: Entry) -> None:
        """The entry is booked."""
        with self._file.write() as sql:
            sql.execute("DELETE FROM entries WHERE id = ?", (entry.number,))

    def close_file(self) -> None:
        """Close the file; the next use opens it again."""
        self._file.close_file()
