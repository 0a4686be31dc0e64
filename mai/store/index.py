"""The store's index: which images there are, how big, and when each was last used.

SQLite, because eviction and the gallery must stay cheap at 100,000 images, in several processes
at once, without a scan of the folders: the total is kept by triggers, the oldest and the newest
come from an index. It is only an index: no look-up of an image reads it, a lost or damaged one is
made anew from the files. Its write lock is also the lock under which files come and go.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from ..disk import DamagedError, Database, Schema

logger = logging.getLogger(__name__)

_SCHEMA = Schema(
    name="The store's index",
    version=1,
    statements=(
        "CREATE TABLE pictures (key TEXT PRIMARY KEY, bytes INTEGER NOT NULL,"
        " kept_at INTEGER NOT NULL, used_at INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE INDEX by_age ON pictures (kept_at)",
        "CREATE INDEX by_use ON pictures (used_at)",
        "CREATE TABLE facts (bytes INTEGER NOT NULL, scanned INTEGER NOT NULL)",
        "INSERT INTO facts VALUES (0, 0)",
        "CREATE TRIGGER added AFTER INSERT ON pictures BEGIN"
        " UPDATE facts SET bytes = bytes + NEW.bytes; END",
        "CREATE TRIGGER removed AFTER DELETE ON pictures BEGIN"
        " UPDATE facts SET bytes = bytes - OLD.bytes; END",
        "CREATE TRIGGER changed AFTER UPDATE OF bytes ON pictures BEGIN"
        " UPDATE facts SET bytes = bytes + NEW.bytes - OLD.bytes; END",
    ),
    synchronous="NORMAL",
    if_damaged="Remove the file: it is made anew from the images.",
)


class StoreIndex:
    """The index of one store folder; times are nanoseconds since 1970. Raises StoreError."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._database = Database(folder / "index.sqlite", _SCHEMA)
        self._checked = False

    def lock(self) -> AbstractContextManager[sqlite3.Connection]:
        """Keeps every other thread and process from changing the store's files."""
        if not self._checked:
            self._check()
        return self._database.write()

    def add(self, key: str, size: int, now: int) -> int:
        """An image of `size` bytes is kept and used now; gives the bytes of all images."""
        with self.lock() as sql:
            sql.execute(
                "INSERT INTO pictures VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET"
                " bytes = excluded.bytes, kept_at = excluded.kept_at, used_at = excluded.used_at",
                (key, size, now, now),
            )
            return int(sql.execute("SELECT bytes FROM facts").fetchone()[0])

    def delete(self, key: str) -> None:
        """The image is no longer there."""
        with self._database.write() as sql:
            sql.execute("DELETE FROM pictures WHERE key = ?", (key,))

    def set_used(self, key: str, used_at: int) -> None:
        """The image's last use was later than the index knew."""
        with self._database.write() as sql:
            sql.execute("UPDATE pictures SET used_at = ? WHERE key = ?", (used_at, key))

    def total(self) -> int:
        """Bytes of all images and sidecars."""
        with self._database.read() as sql:
            return int(sql.execute("SELECT bytes FROM facts").fetchone()[0])

    def oldest(self, count: int) -> list[tuple[str, int, int]]:
        """(key, bytes, last use that the index knows), least recently used first."""
        with self._database.read() as sql:
            return sql.execute(
                "SELECT key, bytes, used_at FROM pictures ORDER BY used_at LIMIT ?", (count,)
            ).fetchall()

    def newest(self, count: int, skip: int = 0) -> list[str]:
        """Keys, newest first."""
        if not self._checked:
            self._check()
        with self._database.read() as sql:
            rows = sql.execute(
                "SELECT key FROM pictures ORDER BY kept_at DESC LIMIT ? OFFSET ?", (count, skip)
            )
            return [key for (key,) in rows]

    def close_file(self) -> None:
        """Closes the file; the next use opens it again."""
        self._database.close_file()

    def _check(self) -> None:
        """Once a process: replaces a damaged index, fills a new one from the files."""
        try:
            self._database.verify()
        except DamagedError as error:
            logger.warning("%s It is made anew.", error.what)
            self._database.put_aside()
        with self._database.write() as sql:
            if not sql.execute("SELECT scanned FROM facts").fetchone()[0]:
                rows = _scan(self._folder)
                sql.executemany("INSERT OR IGNORE INTO pictures VALUES (?, ?, ?, ?)", rows)
                sql.execute("UPDATE facts SET scanned = 1")
        self._checked = True


def _scan(folder: Path) -> Iterator[tuple[str, int, int, int]]:
    """Every key in the folders with its bytes, the time its image was kept and the last use.

    An image without its sidecar is counted too, so that it doesn't stay for ever.
    """
    found: dict[str, tuple[int, int, int]] = {}
    for path in folder.glob("??/*.*"):
        key = path.stem
        if len(key) != 64:
            continue
        try:
            stat = path.lstat()
        except FileNotFoundError:
            continue
        size, kept_at, used_at = found.get(key, (0, 0, 0))
        if path.suffix == ".json":
            used_at = stat.st_mtime_ns
        else:
            kept_at = stat.st_mtime_ns
            used_at = used_at or kept_at
        found[key] = (size + stat.st_size, kept_at, used_at)
    for key, facts in found.items():
        yield key, *facts
