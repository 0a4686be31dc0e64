"""Databases that several processes share: SQLite files, and a studio's PostgreSQL.

Both are a `SqlDatabase`: `database_at(where, schema)` gives one for a file's path, or for the
`DatabaseServer` that all machines of a studio use; the ledger and the rate limiter speak SQLAlchemy
Core to it. A `Schema` holds the tables once for both engines, with a version and what upgrades
older ones. `repeat_if_rolled_back` repeats what PostgreSQL undid for others' sake. `Database` is a
SQLite file without SQLAlchemy, which may be disposable (see `repeat_if_damaged`). Every error is a
StoreError: DamagedError for a damaged file, BusyError for one that another process holds,
DatabaseGone for a server that doesn't answer or lets nobody in.
"""

from __future__ import annotations

from .postgres import DatabaseServer, PostgresDatabase, ServerFacts, database_at
from .schema import (
    SERVER_ONLY,
    BusyError,
    DamagedError,
    DatabaseGone,
    RolledBackError,
    Schema,
    SqlDatabase,
    repeat_if_damaged,
    repeat_if_rolled_back,
    upsert,
)
from .sqlite_file import Database, SqliteDatabase

__all__ = [
    "SERVER_ONLY",
    "BusyError",
    "DamagedError",
    "Database",
    "DatabaseGone",
    "DatabaseServer",
    "PostgresDatabase",
    "RolledBackError",
    "Schema",
    "ServerFacts",
    "SqlDatabase",
    "SqliteDatabase",
    "database_at",
    "repeat_if_damaged",
    "repeat_if_rolled_back",
    "upsert",
]
