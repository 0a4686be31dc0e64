"""A small SQLite file that several threads and processes share."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import StoreError
from .files import create_private, make_folder, replace

logger = logging.getLogger(__name__)

_INHERITED: list[sqlite3.Connection] = []
"""Connections of a parent process: a child must neither use nor close them."""


class DamagedError(StoreError):
    """The file is no SQLite database, or one that doesn't hold together."""


class BusyError(StoreError):
    """Another process has held the file for `Schema.busy_seconds`."""


@dataclass(frozen=True, slots=True)
class Schema:
    """What a file holds: `name` for error texts, statements that make it, and its version.

    `synchronous` is SQLite's: FULL commits only when the disk has it (one fsync a commit: safe
    against a power cut); with less, a commit survives the death of the process, not of the machine.
    `if_damaged` is what the user can do about a damaged file. `busy_seconds` is how long a
    transaction waits for another process's; ours last milliseconds. A `disposable` file that is
    damaged, or of another version, is put aside and begun anew: where damage is met in the middle
    of use, the transaction raises DamagedError, and the next one has a new file.
    """

    name: str
    version: int
    statements: Sequence[str]
    synchronous: Literal["FULL", "NORMAL", "OFF"]
    if_damaged: str
    busy_seconds: float = 10.0
    disposable: bool = False


class Database:
    """One connection behind one lock, in WAL mode, file mode 0600; opened on first use.

    It is opened anew in a forked child, and when the file under its path is another one (deleted
    or replaced while we run). Every SQLite and file error comes out as StoreError.
    """

    def __init__(self, path: Path, schema: Schema) -> None:
        self.path = path
        self._schema = schema
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int, int] | None = None

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """The connection, for statements that only read."""
        with self._lock:
            try:
                yield self._open()
            except sqlite3.Error as error:
                raise self._explain(error) from error

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One immediate transaction: committed at the end, rolled back on any exception.

        Inside another one of the same thread it is part of that one.
        """
        with self._lock:
            try:
                connection = self._open()
                if connection.in_transaction:
                    yield connection
                    return
                connection.execute("BEGIN IMMEDIATE")
                with connection:
                    yield connection
            except sqlite3.Error as error:
                raise self._begin_anew(error) or self._explain(error) from error

    def verify(self) -> None:
        """Raises DamagedError where the file's pages don't hold together (reads all of them)."""
        with self.read() as connection:
            verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if verdict != "ok":
                raise sqlite3.DatabaseError(f"malformed: {verdict.splitlines()[-1]}")

    def close_file(self) -> None:
        """Closes the file; the next use opens it again."""
        with self._lock:
            if self._connection is not None and self._identity is not None:
                if self._identity[0] == os.getpid():
                    self._connection.close()
                else:
                    _INHERITED.append(self._connection)
            self._connection = None
            self._identity = None

    def put_aside(self) -> None:
        """Renames the file to end with ".damaged", if it can be; the next use begins a new one."""
        self.close_file()
        for end in ("", "-wal", "-shm"):
            path = self.path.with_name(self.path.name + end)
            with contextlib.suppress(OSError):
                replace(path, path.with_name(f"{self.path.name}.damaged{end}"))

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None:
            if self._connection.in_transaction or self._identity == self._identity_now():
                return self._connection
            self.close_file()
        try:
            self._connection = self._connect()
        except sqlite3.DatabaseError as error:
            if self._begin_anew(error) is None:
                raise
            self._connection = self._connect()
        self._identity = self._identity_now()
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        try:
            make_folder(self.path.parent)
            create_private(self.path)
        except OSError as error:
            raise StoreError(
                f"{self._schema.name} {self.path} can't be made: {error.strerror or error}.",
                "Check that the folder exists, that you may write there, and that the disk has "
                "space.",
            ) from error
        connection = sqlite3.connect(
            self.path,
            timeout=self._schema.busy_seconds,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _identity_now(self) -> tuple[int, int, int]:
        """This process, and the file that lies under the path now."""
        try:
            stat = os.stat(self.path)
        except OSError:
            return os.getpid(), -1, -1
        return os.getpid(), stat.st_dev, stat.st_ino

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Sets the journal's mode; fills a new file; refuses one of a newer version."""
        _use_wal(connection, self._schema.busy_seconds)
        connection.execute(f"PRAGMA synchronous={self._schema.synchronous}")
        if self._schema.synchronous == "FULL":
            connection.execute("PRAGMA fullfsync=1")
        if not _version(connection):
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                if not _version(connection):
                    for statement in self._schema.statements:
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version={self._schema.version}")
        version = _version(connection)
        if self._schema.disposable and version != self._schema.version:
            raise sqlite3.DatabaseError(f"its version is {version}, not {self._schema.version}")
        if version > self._schema.version:
            raise StoreError(
                f"{self.path} was written by a newer MAI Image (its version is {version}, this "
                f"one knows {self._schema.version}).",
                "Update MAI Image everywhere that uses this folder.",
            )

    def _begin_anew(self, error: sqlite3.Error) -> DamagedError | None:
        """Puts a disposable file aside, unless a lock, a full disk or its path explains the error.

        None: it stays. Damage has many names: one wrong byte in the header makes a file "readonly"
        or of an "unsupported" format, others break a constraint.
        """
        text = str(error)
        passing = any(word in text for word in ("locked", "busy", "full", "unable to open"))
        if not self._schema.disposable or passing:
            return None
        found = self._identity_now()
        if self._identity in (None, found):  # else another process has begun it anew already
            self.put_aside()
            if self._identity_now() == found:
                return None
            logger.warning("%s is put aside as %s.damaged: %s", self.path, self.path.name, text)
        self.close_file()
        return DamagedError(
            f"{self._schema.name} {self.path} was damaged ({text}) and is begun anew.",
            self._schema.if_damaged,
        )

    def _explain(self, error: sqlite3.Error) -> StoreError:
        """What SQLite's error means to the user."""
        text = str(error)
        name = f"{self._schema.name} {self.path}"
        if "locked" in text or "busy" in text:
            return BusyError(
                f"{name} has been locked by another process for {self._schema.busy_seconds:.0f} s.",
                "End whatever holds it (another ComfyUI, a database viewer, a backup) and queue "
                "again.",
            )
        if "full" in text:
            return StoreError(
                f"{name} can't be written: the disk is full.", "Free some space and queue again."
            )
        if "readonly" in text or "unable to open" in text:
            return StoreError(
                f"{name} can't be written ({text}).",
                "Check that you own the file and its folder and may write there.",
            )
        if "malformed" in text or "not a database" in text:
            return DamagedError(f"{name} is damaged ({text}).", self._schema.if_damaged)
        return StoreError(f"{name} can't be used ({text}).", self._schema.if_damaged)


def _version(connection: sqlite3.Connection) -> int:
    """The version of the file's form; 0 in a new file."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _use_wal(connection: sqlite3.Connection, busy_seconds: float) -> None:
    """Switches to WAL. SQLite doesn't wait for others here, so this does.

    A file system without shared memory stays in the rollback journal, which is as safe.
    """
    until = time.monotonic() + busy_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.02)
