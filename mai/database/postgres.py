"""A studio's PostgreSQL: one server for all machines, one PostgreSQL schema for all of our tables.

psycopg 3 connects; it is imported when the first connection is made. What neither it nor the server
does by itself is done here: a wait for a server that stopped is ended on this side (`statement_
timeout` is the server's own clock, and keepalives are answered by its kernel), a server that was
just found gone isn't asked again for a moment, and a connection that was lost while it was idle is
replaced unseen.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import sqlalchemy
from sqlalchemy.pool import QueuePool

from ..errors import MaiError, StoreError
from .schema import DatabaseGone, RolledBackError, Schema, SqlDatabase, create_statements
from .server_errors import NO_ANSWER, explain, is_lost
from .sqlite_file import SqliteDatabase

if TYPE_CHECKING:
    import psycopg

logger = logging.getLogger(__name__)

SCHEMA_NAME = "mai_image"
"""The PostgreSQL schema that holds everything; the role needs no other."""

ANSWER_SECONDS = 4.0
"""For so long one statement, or a new connection, waits for the server: then it is gone."""

LOCK_SECONDS = 2
"""The server undoes a transaction that waits longer for another's lock; it is begun again."""

IDLE_SECONDS = 5
"""The server ends a transaction whose machine says nothing for so long, as it may hold locks."""

REMEMBER_GONE = 1.0
"""For so long a server that didn't answer isn't asked again: ten calls that wait for each other
hear of it together, not one every ANSWER_SECONDS."""

CONNECTIONS = 8
"""At once from one process, of which one is kept: fifty machines have fifty, and some at times."""

RECYCLE_SECONDS = 300
"""A connection is replaced after so long, which also looks at the schema's version again."""

MIGRATION_SECONDS = 600.0
"""For so long one statement may take that brings tables up to date: they can have many rows."""

TIME_SECONDS = 30.0
"""For so long this machine counts on by itself after it asked for the server's time."""

_VERSIONS = "CREATE TABLE IF NOT EXISTS versions (part text PRIMARY KEY, version integer NOT NULL)"
_MIGRATION = "migration"
_NOW = "SELECT extract(epoch FROM clock_timestamp())::double precision"
_ENCRYPTED = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
_REFUSED = (
    "SELECT tablename FROM pg_tables CROSS JOIN LATERAL (SELECT (quote_ident(schemaname) || '.' ||"
    " quote_ident(tablename))::regclass AS oid) AS named WHERE schemaname = %s AND NOT"
    " (has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT') AND"
    " has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE')) ORDER BY 1"
)


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What `DatabaseServer.look` found.

    `round_trip` is the seconds of one question; `clock_ahead` is by how many seconds the server's
    clock is ahead of this machine's; `version` is that of the tables; `refused` are tables that the
    role may not read and write.
    """

    product: str
    encrypted: bool
    round_trip: float
    clock_ahead: float
    version: int
    refused: tuple[str, ...]


class DatabaseServer:
    """A PostgreSQL server by its URL, which holds no password; nothing connects before its use.

    `password` gives the password anew for each connection (for Entra ID a token). TLS is verified
    (`sslmode=verify-full`, with the authorities in `ca_file`, else certifi's) unless the host is
    this machine or a socket, or the URL says something else. Forked children connect for
    themselves. Safe for threads.
    """

    def __init__(
        self,
        url: str,
        password: Callable[[], str] | None = None,
        *,
        ca_file: Path | None = None,
        schema_name: str = SCHEMA_NAME,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._url = url
        self._password = password
        self._ca_file = ca_file
        self._schema_name = schema_name
        self.answer_seconds = answer_seconds
        self._lock = threading.Lock()
        self._pid = 0
        self._engine: sqlalchemy.Engine | None = None
        self._gone: tuple[float, DatabaseGone] | None = None
        self._time: tuple[float, float] | None = None

    def __repr__(self) -> str:
        return "<DatabaseServer>"

    @property
    def schema_name(self) -> str:
        """The PostgreSQL schema that holds our tables; also a good prefix of LISTEN's channels."""
        return self._schema_name

    def connect(self, answer_within: float | None = None) -> psycopg.Connection[Any]:
        """A connection of its own, in autocommit mode, for LISTEN; whoever asks closes it.

        A statement waits `answer_within` seconds, None: as long as it takes. Blocks for
        `answer_seconds` at most; raises DatabaseGone.
        """
        self._require_not_gone()
        try:
            return self._connect(answer_within)
        except Exception as error:
            raise self._explained(error) from error

    @contextlib.contextmanager
    def transaction(
        self,
        schema: Schema,
        read_only: bool = False,
        locks: Iterable[str] = (),
        patience: float | None = None,
    ) -> Iterator[sqlalchemy.Connection]:
        """One transaction on a schema's tables; see SqlDatabase.transaction.

        RolledBackError: nothing was written, it may be repeated (`repeat_if_rolled_back`).
        DatabaseGone: no answer within `patience`, else `answer_seconds`, a statement.
        """
        self._require_not_gone()
        seconds = self.answer_seconds if patience is None else patience
        state = "connecting"
        try:
            with self._begun(schema, read_only, locks, seconds) as sql:
                state = "begun"
                yield sql
                state = "committing"
                _run(sql, "COMMIT")
        except Exception as error:
            explained = self._explained(error, may_repeat=state == "begun")
            if isinstance(explained, DatabaseGone):
                explained.in_doubt = state == "committing" and not read_only
            if explained is error:
                raise
            raise explained from error

    @contextlib.contextmanager
    def _begun(
        self, schema: Schema, read_only: bool, locks: Iterable[str], seconds: float
    ) -> Iterator[sqlalchemy.Connection]:
        """A connection with a transaction that has its locks and the schema in the right version.

        A connection that was lost while idle is replaced once: nothing was done on it. One on which
        no answer came isn't, as the wait for another would be as long again.
        """
        begin = self._begin_text(read_only, locks, seconds)
        for is_last in (False, True):
            with self._pool().connect() as sql:
                driver = sql.connection.driver_connection
                assert driver is not None
                may_replace = not is_last and bool(sql.info.get("parts"))
                try:
                    driver.answer_within = seconds
                    self._require_version(sql, schema)
                    driver.answer_within = seconds
                    _run(sql, begin)
                    may_replace = False
                    yield sql
                    return
                except Exception as error:
                    if not is_lost(error):
                        raise
                    sql.invalidate(error)
                    if not may_replace or NO_ANSWER in str(error):
                        raise
                    self._pool().dispose()  # what else is idle is lost too

    def now(self, sql: sqlalchemy.Connection | None) -> float:
        """Seconds since 1970 by the server's clock.

        It is asked every TIME_SECONDS on a connection; between two answers this machine counts on
        by itself, which saves a slow link a question in each transaction. None: the server is gone,
        so this machine counts on from the last answer.
        """
        asked = self._time if sql is None else sql.info.get("time")
        if sql is not None and (asked is None or time.monotonic() > asked[0] + TIME_SECONDS):
            begun = time.monotonic()
            server_time = float(sql.exec_driver_sql(_NOW).scalar_one())
            asked = self._time = sql.info["time"] = ((begun + time.monotonic()) / 2, server_time)
        if asked is None:
            return time.time()
        return float(asked[1] + time.monotonic() - asked[0])

    def look(self, schema: Schema) -> ServerFacts:
        """What a person wants to know of the server; makes or upgrades the schema's tables.

        Raises StoreError, DatabaseGone with its `detail`.
        """
        with self.transaction(schema, read_only=True) as sql:
            begun = time.time()
            server_time = float(sql.exec_driver_sql(_NOW).scalar_one())
            ended = time.time()
            encrypted = sql.exec_driver_sql(_ENCRYPTED).scalar()
            product = sql.exec_driver_sql("SHOW server_version").scalar_one()
            refused = sql.exec_driver_sql(_REFUSED, (self._schema_name,)).scalars().all()
            version = _stored_version(sql, self._schema_name, schema)
        return ServerFacts(
            product=f"PostgreSQL {product}",
            encrypted=bool(encrypted),
            round_trip=ended - begun,
            clock_ahead=server_time - (begun + ended) / 2,
            version=version,
            refused=tuple(refused),
        )

    def close(self) -> None:
        """Close the connections that are idle; the next use connects again."""
        with self._lock:
            if self._engine is not None:
                self._engine.dispose(close=self._pid == os.getpid())
            self._engine = None

    def _begin_text(self, read_only: bool, locks: Iterable[str], seconds: float) -> str:
        """All that begins a transaction, in one message: a slow link waits for it once.

        A transaction that only reads sees one moment. One that writes sees at each statement what
        others have committed, so what it reads after it got its locks is true.
        """
        mode = "REPEATABLE READ READ ONLY" if read_only else "READ COMMITTED READ WRITE"
        limit = max(1, round(1000 * seconds) - 500)
        # In one order, so that nobody waits for each other.
        numbers = sorted(map(_lock_number, locks))
        taken = "".join(f"; SELECT pg_advisory_xact_lock({number})" for number in numbers)
        return f"BEGIN ISOLATION LEVEL {mode}; SET LOCAL statement_timeout = {limit}{taken}"

    def _pool(self) -> sqlalchemy.Engine:
        """The engine of this process: a parent's connections are neither used nor closed."""
        with self._lock:
            if self._engine is not None and self._pid != os.getpid():
                self._engine.dispose(close=False)
                self._engine = None
            if self._engine is None:
                _require_driver()
                self._pid = os.getpid()
                self._engine = sqlalchemy.create_engine(
                    "postgresql+psycopg://",
                    creator=lambda: self._connect(self.answer_seconds),
                    isolation_level="AUTOCOMMIT",  # _begin_text begins
                    use_native_hstore=False,
                    poolclass=QueuePool,
                    pool_size=1,
                    max_overflow=CONNECTIONS - 1,
                    pool_timeout=self.answer_seconds,
                    pool_recycle=RECYCLE_SECONDS,
                )
            return self._engine

    def _connect(self, answer_within: float | None) -> psycopg.Connection[Any]:
        """A connection within `answer_seconds`: in a thread, as nothing else ends the wait for a
        name server, a token, or a password on a network drive."""
        _require_driver()
        import psycopg

        made: Future[psycopg.Connection[Any]] = Future()
        arguments: dict[str, Any] = {}

        def work() -> None:
            try:
                arguments.update(self._arguments())
                connection = _impatient_connection().connect(self._url, **arguments)
            except BaseException as error:  # noqa: BLE001  whatever it is, somebody waits for it
                if made.set_running_or_notify_cancel():
                    made.set_exception(error)
                return
            connection.answer_within = answer_within
            if made.set_running_or_notify_cancel():
                made.set_result(connection)
            else:
                connection.close()

        try:
            threading.Thread(target=work, name="mai-image-connects", daemon=True).start()
        except RuntimeError:  # at the interpreter's end no thread starts any more
            work()
        if not wait([made], self.answer_seconds).done and made.cancel():
            if arguments:
                raise psycopg.OperationalError(NO_ANSWER)
            raise DatabaseGone(
                "The password, or token, for the studio's database didn't come in time.",
                "Queue again. If this comes again, `mai-image doctor` says how this machine signs "
                "in to the database.",
            )
        return made.result()

    def _arguments(self) -> dict[str, Any]:
        """libpq's parameters beside the URL."""
        arguments: dict[str, Any] = {
            "autocommit": True,
            "application_name": "mai-image",
            "client_encoding": "utf8",
            "connect_timeout": max(2, round(self.answer_seconds)),
            "gssencmode": "disable",
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 5000,
            "options": f"-c search_path={self._schema_name} -c lock_timeout={LOCK_SECONDS}s"
            f" -c idle_in_transaction_session_timeout={IDLE_SECONDS}s"
            " -c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3",
        }
        if self._password is not None:
            try:
                arguments["password"] = self._password()
            except MaiError as error:
                raise DatabaseGone(
                    f"There is no password for the studio's database. {error.what}", error.hint
                ) from error
        mode = sslmode(self._url)
        arguments["sslmode"] = mode
        if mode.startswith("verify"):
            arguments["sslrootcert"] = str(self._ca_file or _certifi())
        return arguments

    def _require_version(self, sql: sqlalchemy.Connection, schema: Schema) -> None:
        """Have the schema's tables in this version; looked at once a connection."""
        parts = sql.info.setdefault("parts", set())
        if schema.part in parts:
            return
        if _stored_version(sql, self._schema_name, schema) < schema.version:
            self._migrate(sql, schema)
        parts.add(schema.part)

    def _migrate(self, sql: sqlalchemy.Connection, schema: Schema) -> None:
        """Make the tables, or what brings them up to date, one machine at a time."""
        _run(sql, self._begin_text(False, (_MIGRATION,), MIGRATION_SECONDS))
        try:
            if not _schema_is_there(sql, self._schema_name):
                _run(sql, f'CREATE SCHEMA "{self._schema_name}"')
            _run(sql, _VERSIONS)
            version = _stored_version(sql, self._schema_name, schema)
            while version < schema.version:
                if version:
                    statements = _upgrade(schema, version)
                    driver: Any = sql.connection.driver_connection
                    driver.answer_within = MIGRATION_SECONDS
                else:
                    statements = create_statements(schema, "postgresql")
                for statement in statements:
                    _run(sql, statement)
                version = version + 1 if version else schema.version
            sql.execute(
                sqlalchemy.text(
                    "INSERT INTO versions VALUES (:part, :version)"
                    " ON CONFLICT (part) DO UPDATE SET version = excluded.version"
                ),
                {"part": schema.part, "version": version},
            )
            _run(sql, "COMMIT")
        except BaseException:
            with contextlib.suppress(Exception):
                _run(sql, "ROLLBACK")
            raise

    def _require_not_gone(self) -> None:
        """DatabaseGone where it was found gone a moment ago."""
        gone = self._gone
        if gone is not None and time.monotonic() < gone[0]:
            error = gone[1]
            raise DatabaseGone(error.what, error.hint, error.detail)

    def _explained(self, error: Exception, may_repeat: bool = False) -> Exception:
        """The error as a StoreError; a server that is gone is remembered.

        A connection that was lost in the middle of a transaction `may_repeat` it on another one.
        """
        explained = explain(error)
        if not isinstance(explained, DatabaseGone):
            return explained
        if may_repeat and explained is not error and NO_ANSWER not in explained.detail:
            return RolledBackError(explained.what, explained.hint)
        self._gone = (time.monotonic() + REMEMBER_GONE, explained)
        logger.debug("%s", explained.detail)
        return explained


class PostgresDatabase:
    """One schema's tables on a studio's server."""

    shared = True
    place = "in the studio's database"

    def __init__(self, server: DatabaseServer, schema: Schema) -> None:
        self.server = server
        self._schema = schema

    def transaction(
        self, read_only: bool = False, locks: Iterable[str] = (), patience: float | None = None
    ) -> contextlib.AbstractContextManager[sqlalchemy.Connection]:
        """As SqlDatabase says; see also DatabaseServer.transaction."""
        return self.server.transaction(self._schema, read_only, locks, patience)

    def now(self, sql: sqlalchemy.Connection | None) -> float:
        """Seconds since 1970 by the server's clock."""
        return self.server.now(sql)

    def verify(self) -> None:
        """Raise StoreError where the server can't be used, or is of a newer version."""
        with self.transaction(read_only=True) as sql:
            sql.exec_driver_sql("SELECT 1")

    def close_file(self) -> None:
        """Close the connections that are idle."""
        self.server.close()


def database_at(where: Path | DatabaseServer, schema: Schema) -> SqlDatabase:
    """A schema's tables in a SQLite file, or on the server that several machines share."""
    if isinstance(where, DatabaseServer):
        return PostgresDatabase(where, schema)
    return SqliteDatabase(where, schema)


def sslmode(url: str) -> str:
    """How TLS is used: as the URL says, else none on this machine and verified elsewhere."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    host = query.get("host") or parts.hostname or ""
    local = not host or host.startswith("/") or host == "localhost" or _is_loopback(host)
    return query.get("sslmode") or ("prefer" if local else "verify-full")


def _is_loopback(host: str) -> bool:
    return host == "::1" or host.startswith("127.")


@functools.lru_cache(maxsize=1)
def _impatient_connection() -> Any:
    """psycopg's Connection, whose waits for the server end after `answer_within` seconds."""
    import psycopg

    class ImpatientConnection(psycopg.Connection[Any]):
        answer_within: float | None = None

        def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
            if self.answer_within is None:
                return super().wait(gen, *args, **kwargs)
            try:
                return super().wait(_until(gen, self.answer_within), *args, **kwargs)
            except TimeoutError:
                # What the server still says to this statement must not answer the next one.
                self.pgconn.finish()
                raise psycopg.OperationalError(NO_ANSWER) from None

    return ImpatientConnection


def _until(gen: Generator[Any, Any, Any], seconds: float) -> Generator[Any, Any, Any]:
    """What psycopg waits for, ended by TimeoutError; psycopg looks in every 0.1 s."""
    until = time.monotonic() + seconds
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() >= until:
                raise TimeoutError
            wanted = gen.send(ready)
    except StopIteration as end:
        return end.value


def _run(sql: sqlalchemy.Connection, statements: str) -> None:
    """Statements without parameters, in one message; several can't be prepared."""
    driver: Any = sql.connection.driver_connection
    driver.execute(statements, prepare=False)


def _stored_version(sql: sqlalchemy.Connection, schema_name: str, schema: Schema) -> int:
    """The version of the tables, 0 where there are none; StoreError: a newer one."""
    there = "SELECT to_regclass(%s) IS NOT NULL"
    if not sql.exec_driver_sql(there, (f"{schema_name}.versions",)).scalar_one():
        return 0
    query = sqlalchemy.text("SELECT version FROM versions WHERE part = :part")
    version = int(sql.execute(query, {"part": schema.part}).scalar() or 0)
    if version > schema.version:
        raise StoreError(
            f"{schema.name} in the studio's database was written by a newer MAI Image (its version "
            f"is {version}, this one knows {schema.version}).",
            "Update MAI Image on this machine.",
        )
    return version


def _upgrade(schema: Schema, version: int) -> Sequence[str]:
    """The statements that make the next version."""
    if version not in schema.server_upgrades:
        raise StoreError(
            f"{schema.name} in the studio's database has version {version}, and this MAI Image "
            f"doesn't know how to make {schema.version} of it.",
            "Use the MAI Image that wrote it, or restore the database from a backup.",
        )
    return schema.server_upgrades[version]


def _schema_is_there(sql: sqlalchemy.Connection, name: str) -> bool:
    query = "SELECT to_regnamespace(%s) IS NOT NULL"
    return bool(sql.exec_driver_sql(query, (f'"{name}"',)).scalar_one())


def _lock_number(name: str) -> int:
    """The 64 bits by which PostgreSQL knows a lock."""
    digest = hashlib.sha256(f"mai-image {name}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def _require_driver() -> None:
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise DatabaseGone(
            "profiles.toml names a studio's database, and the package that speaks to it can't be "
            "imported.",
            'Install it into ComfyUI\'s Python: `pip install "psycopg[binary]>=3.2"`.',
            str(error),
        ) from error


def _certifi() -> str:
    """The authorities that browsers trust, as httpx uses them."""
    import certifi

    return certifi.where()
