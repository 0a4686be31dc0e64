"""The store's index: which images there are, how big, and in which order they came and were used.

SQLite, because eviction and the gallery must stay cheap at 100,000 images, in several processes
at once, without a scan of the folders: the total is kept by triggers, the oldest and the newest
come from an index. It is only an index: no look-up of an image reads it, a lost or damaged one is
made anew from the files. Its write lock is also the lock under which files come and go.

Order is by numbers, not by clocks, which may be years ahead and be set back: every image that is
kept or served takes the next one. Only what has no number yet (the files of a lost index, the index
of version 0.1) is put into the order of its times.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..database import Database, Schema, repeat_if_damaged
from ..errors import StoreError
from . import search
from .search import Details, Search

logger = logging.getLogger(__name__)

_TABLES = (
    "CREATE TABLE images (key TEXT PRIMARY KEY, bytes INTEGER NOT NULL,"
    " kept INTEGER NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE INDEX by_kept ON images (kept)",
    "CREATE INDEX by_last_use ON images (used)",
    "CREATE TRIGGER added AFTER INSERT ON images BEGIN"
    " UPDATE facts SET bytes = bytes + NEW.bytes; END",
    "CREATE TRIGGER removed AFTER DELETE ON images BEGIN"
    " UPDATE facts SET bytes = bytes - OLD.bytes; END",
    "CREATE TRIGGER changed AFTER UPDATE OF bytes ON images BEGIN"
    " UPDATE facts SET bytes = bytes + NEW.bytes - OLD.bytes; END",
)
"""`kept` and `used` are numbers of one count: how many images came or were served before."""

_SCHEMA = Schema(
    name="The store's index",
    version=3,
    statements=(
        "CREATE TABLE facts (bytes INTEGER NOT NULL, scanned INTEGER NOT NULL)",
        "INSERT INTO facts VALUES (0, 0)",
        *_TABLES,
        *search.TABLES,
    ),
    # Version 0.1 had times. Its table `pictures` stays until the files are scanned: see _fill.
    upgrades={
        1: (
            *(f"DROP TRIGGER {name}" for name in ("added", "removed", "changed")),
            "UPDATE facts SET bytes = 0, scanned = 0",
            *_TABLES,
        ),
        2: search.TABLES,
    },
    synchronous="NORMAL",
    if_damaged="Remove the file: it is made anew from the images.",
    disposable=True,
)

_NEXT = "(SELECT coalesce(max(used), 0) + 1 FROM images)"

_NO_END = 2**63 - 1
"""Above every number."""

_PATIENCE = 0.01
"""Seconds that serving an image waits for the index, which else learns of the use later."""

Times = dict[str, tuple[int, int, int]]
"""By key: the bytes of an image and its sidecar, when it was kept, when it was last used (ns)."""


class StoreIndex:
    """The index of one store folder. Raises StoreError."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._database = Database(folder / "index.sqlite", _SCHEMA)
        self._verified = False
        self._uses: dict[str, None] = {}
        """Keys whose use is still to be entered, the last one last."""
        self._uses_lock = threading.Lock()

    @contextlib.contextmanager
    def lock(self) -> Iterator[sqlite3.Connection]:
        """Keeps every other thread and process from changing the store's files."""
        if not self._verified:
            self._verify()
        with self._database.write() as sql:
            if not _facts(sql)[1]:
                _fill(sql, self._folder)
            yield sql

    @repeat_if_damaged
    def add(self, key: str, size: int, details: Details) -> int:
        """An image of `size` bytes is kept and used now; gives the bytes of all images."""
        with self.lock() as sql:
            self._enter_uses(sql)
            sql.execute(
                f"INSERT INTO images VALUES (?, ?, {_NEXT}, {_NEXT}) ON CONFLICT (key) DO UPDATE"
                " SET bytes = excluded.bytes, kept = excluded.kept, used = excluded.used",
                (key, size),
            )
            search.add_details(sql, key, details)
            return _facts(sql)[0]

    def delete(self, key: str) -> None:
        """The image is no longer there."""
        with self._database.write() as sql:
            sql.execute("DELETE FROM images WHERE key = ?", (key,))

    def set_used(self, key: str) -> None:
        """The image is served now. Never raises, and hardly waits: a busy index learns it later."""
        with self._uses_lock:
            late = bool(self._uses)
            self._uses.pop(key, None)
            self._uses[key] = None
        try:
            with self._database.write(0.0 if late else _PATIENCE) as sql:
                if _facts(sql)[1]:  # a new index is filled by whoever needs it whole
                    self._enter_uses(sql)
        except StoreError as error:
            logger.debug("The use of an image is entered later: %s", error)

    def total(self) -> int:
        """Bytes of all images and sidecars."""
        with self._database.read() as sql:
            return _facts(sql)[0]

    def oldest(self, count: int) -> list[tuple[str, int]]:
        """(key, bytes), least recently used first."""
        with self._database.read() as sql:
            return sql.execute(
                "SELECT key, bytes FROM images ORDER BY used LIMIT ?", (count,)
            ).fetchall()

    @repeat_if_damaged
    def newest(self, count: int, before: int | None = None) -> list[tuple[int, str]]:
        """(number, key) of images with a number below `before`, newest first."""
        with self._filled() as sql:
            return sql.execute(
                "SELECT kept, key FROM images WHERE kept < ? ORDER BY kept DESC LIMIT ?",
                (_NO_END if before is None else before, count),
            ).fetchall()

    @repeat_if_damaged
    def find(self, wanted: Search, count: int, before: int | None) -> list[tuple[int, str]]:
        """The same of the images that are wanted, as far as they are described."""
        with self._filled() as sql:
            return search.find_images(sql, wanted, count, before)

    @repeat_if_damaged
    def models(self) -> list[str]:
        """The models of all images that are described."""
        with self._filled() as sql:
            return search.models_found(sql)

    @repeat_if_damaged
    def undescribed(self, count: int) -> list[tuple[int, str]]:
        """(number, key) of images without details, newest first."""
        with self._filled() as sql:
            return search.undescribed_images(sql, count)

    @repeat_if_damaged
    def count_undescribed(self) -> int:
        """How many images have no details yet."""
        with self._filled() as sql:
            return search.count_undescribed(sql)

    def describe(self, found: Mapping[str, Details], down_to: int) -> None:
        """Enter the details of images by key; all from the number `down_to` on have theirs then."""
        with self.lock() as sql:
            for key, details in found.items():
                search.add_details(sql, key, details)
            search.set_described(sql, down_to)

    @contextlib.contextmanager
    def _filled(self) -> Iterator[sqlite3.Connection]:
        """The index for reading, filled from the files first where it is new."""
        if not self._verified:
            self._verify()
        with self._database.read() as sql:
            if not _facts(sql)[1]:
                with self.lock():
                    pass
            yield sql

    def close_file(self) -> None:
        """Closes the file; the next use opens it again."""
        self._database.close_file()

    def _enter_uses(self, sql: sqlite3.Connection) -> None:
        """Gives the images that were used since the last time their numbers."""
        with self._uses_lock:
            for key in self._uses:
                sql.execute(f"UPDATE images SET used = {_NEXT} WHERE key = ?", (key,))
            self._uses.clear()

    @repeat_if_damaged
    def _verify(self) -> None:
        """Once a process: a damaged index is begun anew."""
        self._database.verify()
        self._verified = True


def _facts(sql: sqlite3.Connection) -> tuple[int, int]:
    """The bytes of all images, and whether the files were scanned."""
    row = sql.execute("SELECT bytes, scanned FROM facts").fetchone()
    if row is None:
        raise sqlite3.DatabaseError("malformed: it has lost its sums")
    return int(row[0]), int(row[1])


def _fill(sql: sqlite3.Connection, folder: Path) -> None:
    """Fills a new index from the files, and from the index of version 0.1 where it is one.

    `used` begins after `kept`: the next number must be over both.
    """
    images = _scan(folder)
    if sql.execute("SELECT 1 FROM sqlite_master WHERE name = 'pictures'").fetchone():
        for key, old_kept, old_used in sql.execute("SELECT key, kept_at, used_at FROM pictures"):
            if key in images:
                size, _, used_at = images[key]
                images[key] = (size, old_kept, max(old_used, used_at))
        sql.execute("DROP TABLE pictures")
    used = {key: n for n, key in enumerate(sorted(images, key=lambda key: images[key][2]))}
    sql.execute("DELETE FROM images")
    sql.executemany(
        "INSERT INTO images VALUES (?, ?, ?, ?)",
        (
            (key, images[key][0], kept, len(images) + used[key])
            for kept, key in enumerate(sorted(images, key=lambda key: images[key][1]))
        ),
    )
    sql.execute("UPDATE facts SET scanned = 1, undescribed = ?", (len(images),))


def _scan(folder: Path) -> Times:
    """Every key in the folders. Its image's time is when it was kept, its sidecar's the last use.

    An image without its sidecar is counted too, so that it doesn't stay for ever.
    """
    found: Times = {}
    for path in folder.glob("[0-9a-f][0-9a-f]/*.*"):
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
    return found
