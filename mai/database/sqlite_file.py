"""A small SQLite file that several threads and processes share."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import sqlalchemy
from sqlalchemy.pool import StaticPool

from ..disk import UNKNOWN_HOLDER, create_private, holder, lock_folder, make_folder, replace
from ..errors import StoreError
from .schema import BusyError, DamagedError, Schema, create_statements

logger = logging.getLogger(__name__)

_INHERITED: list[sqlite3.Connection] = []
"""Connections of a parent process: a child must neither use nor close them."""


_NOT_ITS_CONTENTS = ("locked", "busy", "full", "unable to open", "I/O", "interrupted")
"""Words in SQLite's errors that blame other processes or the disk, not what the file holds."""


class Database:
    """One connection behind one lock, in WAL mode, file mode 0600; opened on first use.

    It is opened anew in a forked child, and when the file under its path is another one (deleted
    or replaced while we run). Every SQLite and file error comes out as StoreError. A disposable
    file that is found damaged, at any statement, is put aside; the transaction that met it raises
    DamagedError and finds a new file when it is repeated (see `repeat_if_damaged`).
    """

    def __init__(self, path: Path, schema: Schema) -> None:
        self.path = path
        self._schema = schema
        self._lock = threading.RLock()
        self._depth = 0
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int, int] | None = None
        self._patience = schema.busy_seconds
        """Seconds to wait for other processes, of the transaction that runs now."""
        self._timeout = schema.busy_seconds
        """Seconds that the connection waits."""

    @contextlib.contextmanager
    def read(self, patience: float | None = None) -> Iterator[sqlite3.Connection]:
        """The connection, for this thread alone; for statements that only read."""
        if not self._lock.acquire(timeout=-1 if patience is None else patience):
            raise self._busy()
        self._depth += 1
        try:
            if self._depth == 1:
                self._patience = self._schema.busy_seconds if patience is None else patience
            yield self._open()
        except (sqlite3.Error, DamagedError) as error:
            explained = self._explain(error) if isinstance(error, sqlite3.Error) else error
            # Inside an outer transaction it has to wait until that one is rolled back.
            if isinstance(explained, DamagedError) and self._depth == 1:
                explained.begun_anew = self._begin_anew(explained)
            if explained is error:
                raise
            raise explained from error
        finally:
            self._depth -= 1
            self._lock.release()

    @contextlib.contextmanager
    def write(self, patience: float | None = None) -> Iterator[sqlite3.Connection]:
        """One immediate transaction: committed at the end, rolled back on any exception.

        Inside another one of the same thread it is part of that one. BusyError where other
        processes, or other threads of this one, have the file for `patience` seconds; None waits
        `Schema.busy_seconds` for processes, and for threads as long as it takes.
        """
        with self.read(patience) as connection:
            if connection.in_transaction:
                yield connection
                return
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                yield connection

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

    def _begin_anew(self, damage: DamagedError) -> bool:
        """Puts the file that is open aside; whether the next use finds another one.

        Of several processes that find the damage the first one renames the file. The others see
        that another one lies there, which they may not touch.
        """
        if not self._schema.disposable or damage.path != self.path:
            return damage.begun_anew
        if self._identity is None:  # also the new one is damaged
            return False
        try:
            with self._locked_folder():
                if self._identity == self._identity_now():
                    self._put_aside(damage.what)
        except StoreError as error:
            logger.warning("%s It can't be put aside: %s", damage.what, error)
            return False
        self.close_file()
        return True

    def _put_aside(self, reason: object) -> None:
        """Renames the file to end with ".damaged". The folder is locked; raises StoreError."""
        self.close_file()
        logger.warning("%s is put aside as %s.damaged: %s", self.path, self.path.name, reason)
        # The main file is the last: until it is renamed, whoever opens it finds the damage.
        for end in ("-wal", "-shm", ""):
            path = self.path.with_name(self.path.name + end)
            try:
                replace(path, path.with_name(f"{self.path.name}.damaged{end}"))
            except FileNotFoundError:
                continue
            except OSError as error:
                raise self._not_made(error) from error

    @contextlib.contextmanager
    def _locked_folder(self) -> Iterator[None]:
        """Keeps a disposable file from being put aside by one process while another opens it.

        Else the files that SQLite keeps beside it (-wal, -shm) could be those of the other one.
        """
        if not self._schema.disposable:
            yield
            return
        with contextlib.ExitStack() as stack:
            try:
                make_folder(self.path.parent)
                stack.enter_context(lock_folder(self.path.parent, self._patience))
            except TimeoutError:
                raise self._busy() from None
            except OSError as error:
                raise self._not_made(error) from error
            yield

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None:
            if self._connection.in_transaction or self._identity == self._identity_now():
                if self._timeout != self._patience:
                    milliseconds = round(self._patience * 1000)
                    self._connection.execute(f"PRAGMA busy_timeout={milliseconds}")
                    self._timeout = self._patience
                return self._connection
            self.close_file()
        with self._locked_folder():
            try:
                self._connection = self.connect()
            except sqlite3.Error as error:
                if not self._schema.disposable or not _is_damage(error):
                    raise
                self._put_aside(error)
                self._connection = self.connect()
            self._identity = self._identity_now()
        self._timeout = self._patience
        return self._connection

    def connect(self) -> sqlite3.Connection:
        """A connection to the file, which is made, filled or upgraded first."""
        try:
            make_folder(self.path.parent)
            create_private(self.path)
        except OSError as error:
            raise self._not_made(error) from error
        connection = sqlite3.connect(
            self.path,
            timeout=self._patience,
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
        _use_wal(connection, self._patience)
        connection.execute(f"PRAGMA synchronous={self._schema.synchronous}")
        if self._schema.synchronous == "FULL":
            connection.execute("PRAGMA fullfsync=1")
        version = _version(connection)
        if not version or version in self._schema.upgrades:
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                version = self._bring_up_to_date(connection)
        if self._schema.disposable and version != self._schema.version:
            raise sqlite3.DatabaseError(f"its version is {version}, not {self._schema.version}")
        if version > self._schema.version:
            raise StoreError(
                f"{self.path} was written by a newer MAI Image (its version is {version}, this "
                f"one knows {self._schema.version}).",
                "Update MAI Image everywhere that uses this folder.",
            )

    def _bring_up_to_date(self, connection: sqlite3.Connection) -> int:
        """Fills a new file, or makes an old one's form this one's; gives its version."""
        version = _version(connection)
        while version < self._schema.version:
            statements = self._schema.upgrades.get(version, ())
            if version == 0:
                statements = self._schema.statements or create_statements(self._schema, "sqlite")
            elif not statements:
                break
            for statement in statements:
                connection.execute(statement)
            version = version + 1 if version else self._schema.version
            connection.execute(f"PRAGMA user_version={version}")
        return version

    def _busy(self) -> BusyError:
        who = holder(self.path)
        known = "" if who == UNKNOWN_HOLDER else f", {who},"
        return BusyError(
            f"{self._schema.name} {self.path} has been locked by another process{known} for "
            f"{self._patience:g} s.",
            "End whatever holds it (another ComfyUI, a database viewer, a backup) and queue again.",
            who,
        )

    def _not_made(self, error: OSError) -> StoreError:
        return StoreError(
            f"{self._schema.name} {self.path} can't be made: {error.strerror or error}.",
            "Check that the folder exists, that you may write there, and that the disk has space.",
        )

    def _explain(self, error: sqlite3.Error) -> StoreError:
        """What SQLite's error means to the user."""
        text = str(error)
        name = f"{self._schema.name} {self.path}"
        if "locked" in text or "busy" in text:
            return self._busy()
        if "full" in text:
            return StoreError(
                f"{name} can't be written: the disk is full.", "Free some space and queue again."
            )
        # A damaged header can say that the file is read-only.
        is_readonly = "readonly" in text and not self._schema.disposable
        if is_readonly or "unable to open" in text:
            return StoreError(
                f"{name} can't be written ({text}).",
                "Check that you own the file and its folder and may write there.",
            )
        damaged = "malformed" in text or "not a database" in text
        if damaged or (self._schema.disposable and _is_damage(error)):
            return DamagedError(f"{name} is damaged ({text}).", self._schema.if_damaged, self.path)
        return StoreError(f"{name} can't be used ({text}).", self._schema.if_damaged)


class SqliteDatabase(Database):
    """The same file through SQLAlchemy Core: what one code speaks to SQLite and PostgreSQL."""

    shared = False

    def __init__(self, path: Path, schema: Schema) -> None:
        super().__init__(path, schema)
        self._engine: sqlalchemy.Engine
        self.place = str(path)

    @contextlib.contextmanager
    def transaction(
        self, read_only: bool = False, locks: Iterable[str] = (), patience: float | None = None
    ) -> Iterator[sqlalchemy.Connection]:
        """One transaction: committed at the end, rolled back on any exception.

        It is the only one at a time, in all processes, unless it is `read_only`: so `locks` needs
        nothing more here. `patience` is as for `write`.
        """
        with self.read(patience):
            try:
                with self._engine.begin() as sql:
                    # sqlite3 begins none by itself: see Database.connect.
                    sql.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
                    yield sql
            except sqlalchemy.exc.DBAPIError as error:
                # `read` knows what SQLite's own errors mean.
                raise error.orig or error from None

    def now(self, sql: sqlalchemy.Connection | None) -> float:
        """Seconds since 1970 by this machine's clock."""
        return time.time()

    def connect(self) -> sqlite3.Connection:
        """The one connection to the file, and the engine around it."""
        connection = super().connect()
        self._engine = sqlalchemy.create_engine(
            "sqlite://", creator=lambda: connection, poolclass=StaticPool
        )
        return connection


def _is_damage(error: sqlite3.Error) -> bool:
    """Whether what the file holds can have caused it: a missing table, text that is none."""
    if not isinstance(error, sqlite3.DatabaseError) or isinstance(error, sqlite3.ProgrammingError):
        return False
    return not any(word in str(error) for word in _NOT_ITS_CONTENTS)


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
